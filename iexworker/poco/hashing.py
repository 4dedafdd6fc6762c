"""Hashes and hex texts of the PoCo protocol, pure (docs/spec/05, sections 6.1 to 6.5).

Hex texts that leave this module are lower case with 0x. `H` below is keccak-256.
"""

from __future__ import annotations

import re
import unicodedata

from Crypto.Hash import keccak as _keccak

_HEX_TEXT = re.compile(r"0x[0-9a-fA-F]+")
_ADDRESS = re.compile(r"(?:0x)?([0-9a-fA-F]{40})")
_BEYOND_UTF16 = re.compile("[\U00010000-\U0010ffff]")
_LETTERS = "abcdefABCDEF\uff41\uff42\uff43\uff44\uff45\uff46\uff21\uff22\uff23\uff24\uff25\uff26"
_EIP191_PREFIX = b"\x19Ethereum Signed Message:\n32"


def keccak(*parts: bytes) -> bytes:
    """Return the 32 bytes of keccak-256 over the concatenated parts."""
    return _keccak.new(data=b"".join(parts), digest_bits=256).digest()


def hex_text(data: bytes) -> str:
    """Return the bytes as lower-case hex with 0x."""
    return "0x" + data.hex()


def lenient_bytes(text: str) -> bytes:
    """Read any text as hex the way web3j does; it never fails (6.1).

    A leading `0x` is dropped, a character that is no hex digit counts as -1, and with an odd
    count the first character alone is the first byte.
    """
    digits = text.removeprefix("0x")
    try:
        return bytes.fromhex(digits) if digits.isalnum() else _lenient(digits)
    except ValueError:
        return _lenient(digits)


class _Digits(dict[str, int]):
    """A character's value as Java's Character.digit(character, 16) has it, -1 for no digit.

    Decimal digits of every script count, and the letters of full width.
    """

    def __missing__(self, character: str) -> int:
        value = self[character] = unicodedata.decimal(character, -1)
        return value


_DIGITS = _Digits({letter: 10 + place % 6 for place, letter in enumerate(_LETTERS)})


def _lenient(digits: str) -> bytes:
    # Java counts UTF-16 units: a character that takes two of them is two that are no digits.
    values = [_DIGITS[unit] for unit in _BEYOND_UTF16.sub("\uffff\uffff", digits)]
    head = [values.pop(0)] if len(values) % 2 else []
    pairs = (16 * high + low for high, low in zip(values[::2], values[1::2], strict=True))
    return bytes(value % 256 for value in (*head, *pairs))


def concatenate_and_hash(*values: str) -> str:
    """Return H of the values' bytes in order; each keeps its own length (6.1)."""
    return hex_text(keccak(*(lenient_bytes(value) for value in values)))


def task_id(deal_id: str, index: int) -> str:
    """Return H(deal id ‖ index as uint256); ValueError for a deal id that is not 32 bytes (6.2)."""
    deal = lenient_bytes(deal_id)
    if len(deal) != 32:
        raise ValueError(f"deal id: expected 32 bytes, got {len(deal)} in {deal_id!r}")
    return hex_text(keccak(deal, index.to_bytes(32, "big")))


def result_hash(task: str, digest: str) -> str:
    """Return H(task id ‖ result digest), the hash that consensus compares (6.3)."""
    return concatenate_and_hash(task, digest)


def result_seal(wallet: str, task: str, digest: str) -> str:
    """Return H(wallet ‖ task id ‖ result digest), which ties a contribution to its worker (6.3)."""
    return concatenate_and_hash(wallet, task, digest)


def authorization_hash(wallet: str, task: str, challenge: str) -> str:
    """Return H(wallet ‖ task id ‖ enclave challenge), what the scheduler signs (6.5)."""
    return concatenate_and_hash(wallet, task, challenge)


def message_digest(message_hash: bytes) -> bytes:
    """Return the EIP-191 digest of a 32-byte hash, what a prefixed signature signs (6.4)."""
    if len(message_hash) != 32:
        raise ValueError(f"message hash: expected 32 bytes, got {len(message_hash)}")
    return keccak(_EIP191_PREFIX, message_hash)


def is_bytes32(text: str) -> bool:
    """Whether the text is 0x and hex digits that read as 32 bytes."""
    return _HEX_TEXT.fullmatch(text) is not None and len(lenient_bytes(text)) == 32


def is_nonzero_bytes32(text: str) -> bool:
    """Whether the text is a bytes32 with at least one bit set."""
    return is_bytes32(text) and any(lenient_bytes(text))


def is_signature(text: str) -> bool:
    """Whether the text is 0x and hex digits that read as 65 bytes, not all zero."""
    if _HEX_TEXT.fullmatch(text) is None:
        return False
    data = lenient_bytes(text)
    return len(data) == 65 and any(data)


def is_address(text: str) -> bool:
    """Whether the text is an address: one letter case throughout, or the right EIP-55 mix."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return False
    digits = match[1]
    return digits in (digits.lower(), digits.upper()) or digits == checksum_address(digits)[2:]


def checksum_address(address: str) -> str:
    """Return the EIP-55 form, which web3 wants at its boundary and nobody else uses."""
    digits = address.removeprefix("0x").lower()
    marks = keccak(digits.encode("ascii")).hex()
    mixed = (
        digit.upper() if int(mark, 16) >= 8 else digit
        for digit, mark in zip(digits, marks, strict=False)
    )
    return "0x" + "".join(mixed)
