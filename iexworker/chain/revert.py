"""Why a contract refused a call, in words, out of what nodes make of it (05, section 2.6)."""

from __future__ import annotations

import re

MAX_WORDS = 300
"""Characters of a contract's words that are kept: anybody can deploy one."""

_ERROR_STRING = bytes.fromhex("08c379a0")  # selector of Error(string)
_PANIC = bytes.fromhex("4e487b71")  # selector of Panic(uint256)
_PARITY_TEXT = "VM execution error."
_REVERTED = re.compile(r'"?Reverted (0x[0-9a-fA-F]*)"?')
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})+")
_REVERT_CODES = frozenset({3, -32015})  # geth and its kin; OpenEthereum
_REVERT_WORDS = ("revert", "vm execution error", "out of gas", "outofgas", "invalid opcode")


def is_revert(code: int, text: str) -> bool:
    """Tell whether an error of the node means that the contract refused the call."""
    lowered = text.lower()
    return code in _REVERT_CODES or any(word in lowered for word in _REVERT_WORDS)


def reason(message: str, data: object) -> str:
    """Return the revert text of an error object, else its message."""
    if message == _PARITY_TEXT and isinstance(data, str):
        return _of_reverted(data)
    if isinstance(data, str) and _HEX.fullmatch(data):
        found = decoded(bytes.fromhex(data[2:]))
        if found and found not in message:
            return f"{message}: {found}"
    return _of_reverted(message)


def decoded(data: bytes) -> str:
    """Return the words in a contract's revert data, empty when it gave none."""
    if data[:4] == _ERROR_STRING:
        size = min(int.from_bytes(data[36:68], "big"), MAX_WORDS)
        words = data[68 : 68 + size].decode("utf-8", "replace")
        return "".join(letter if letter.isprintable() else "?" for letter in words)
    if data[:4] == _PANIC:
        return f"panic 0x{int.from_bytes(data[4:36], 'big'):x}"
    text = data.rstrip(b"\0").decode("utf-8", "replace")
    return (text if text.isprintable() else f"0x{data.hex()}")[:MAX_WORDS]


def _of_reverted(text: str) -> str:
    match = _REVERTED.fullmatch(text)
    if match is None or len(match[1]) % 2:
        return text
    return decoded(bytes.fromhex(match[1][2:])) or text
