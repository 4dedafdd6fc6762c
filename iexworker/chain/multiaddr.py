"""Where an asset is, out of the bytes that its contract holds (05, section 3.4)."""

from __future__ import annotations

_IPFS = b"\xa5\x03"  # protocol 421, as a varint
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def text(data: bytes) -> str:
    """Return `/ipfs/<hash>` for a binary IPFS multiaddr, else the bytes as UTF-8."""
    if data[:2] == _IPFS and len(data) > 3 and data[2] == len(data) - 3:
        return "/ipfs/" + base58(data[3:])
    return data.decode("utf-8", "replace")


def base58(data: bytes) -> str:
    """Return the bytes in Bitcoin's base 58; each leading zero byte is a `1`."""
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits
