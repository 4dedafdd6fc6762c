"""Keeps web3 light. All tricks with its import are here; nothing outside `chain/` knows of them.

Importing web3's HTTP provider takes 0.58 s of CPU and 51 MiB as it is, 0.29 s and 41 MiB with both
placeholders (process time and growth of the peak, three runs each, Python 3.11, web3 8):

- py_ecc is for keystores of version 4 (EIP-2335). eth_keyfile imports it, and it computes tables;
  a worker's wallet is of version 3. Without it: 0.21 s less.
- aiohttp is for web3's asynchronous providers, which the worker does not use. Without it: 0.08 s
  and 9 MiB less, the latter for as long as the process lives.

py_ecc also raises Python's recursion limit to 100,000 at import. `json` recurses in C: a text of
ten thousand brackets, which any peer can send, would then overflow the stack and kill the process
instead of raising `RecursionError`. `restore_limit` undoes that.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

BLS12_381_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""Order of the curve's groups (EIP-2333): the largest key of version 4 plus one."""

SAFE_LIMIT = 1000
"""Python's own default, for which its C code is made."""

_SIGNATURES, _CURVE, _CLIENT = "py_ecc.bls", "py_ecc.bls12_381", "aiohttp"


class _WhenUsed:
    """Stands for `py_ecc.bls.G2ProofOfPossession`, and imports it when something of it is asked."""

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(_SIGNATURES).G2ProofOfPossession, name)


class _Client(ModuleType):
    """Stands for aiohttp, of which web3's import needs classes to name in annotations."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_: object, **__: object) -> object:
            raise RuntimeError(f"{_CLIENT}.{name}: web3 was imported without what it is made of")

        # An exception, because web3 may name it where it catches some.
        return type(name, (Exception,), {"__new__": refuse})


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Let what is imported inside find placeholders; a module that is there already stays."""
    placeholders = {name: ModuleType(name) for name in (_SIGNATURES, _CURVE)}
    vars(placeholders[_SIGNATURES])["G2ProofOfPossession"] = _WhenUsed()
    vars(placeholders[_CURVE])["curve_order"] = BLS12_381_ORDER
    placeholders[_CLIENT] = _Client(_CLIENT)
    missing = placeholders.keys() - sys.modules.keys()
    sys.modules.update({name: placeholders[name] for name in missing})
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


def restore_limit() -> None:
    """Set the limit back; to be called after the import of web3 or eth_account."""
    sys.setrecursionlimit(SAFE_LIMIT)
