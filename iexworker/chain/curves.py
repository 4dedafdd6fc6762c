"""Keeps the curves of Ethereum's consensus layer out of the import of web3 until they are used.

web3 brings eth_keyfile, which imports py_ecc for keystores of version 4 (EIP-2335); that computes
tables for 0.3 s, half of the whole import, and a worker's wallet is of version 3.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

BLS12_381_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""Order of the curve's groups (EIP-2333): the largest key of version 4 plus one."""

_SIGNATURES, _CURVE = "py_ecc.bls", "py_ecc.bls12_381"


class _WhenUsed:
    """Stands for `py_ecc.bls.G2ProofOfPossession`, and imports it when something of it is asked."""

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(_SIGNATURES).G2ProofOfPossession, name)


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Let what is imported inside find placeholders; does nothing where the real ones are there."""
    if _SIGNATURES in sys.modules or _CURVE in sys.modules:
        yield
        return
    placeholders = {_SIGNATURES: ModuleType(_SIGNATURES), _CURVE: ModuleType(_CURVE)}
    vars(placeholders[_SIGNATURES])["G2ProofOfPossession"] = _WhenUsed()
    vars(placeholders[_CURVE])["curve_order"] = BLS12_381_ORDER
    sys.modules.update(placeholders)
    try:
        yield
    finally:
        for name in placeholders:
            del sys.modules[name]
