"""Keystore files (version 3) as web3j's `WalletUtils` reads them: which fields, in which forms.

What web3j opens, operators have: numbers as texts and texts as numbers (Jackson coerces both), hex
with 0x or of an odd length, field names without quotes, something after the object. To read one of
them otherwise is to refuse a good wallet, or to open a wrong one. Nothing is decrypted here.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iexworker import file_errors
from iexworker.errors import WalletError
from iexworker.poco.hashing import lenient_bytes

WHERE = "IEXEC_WORKER_WALLET_PATH must name an Ethereum keystore file (version 3)"

_MAX_BYTES = 1 << 20
_VERSION = 3
_INT32 = 2**31
_BLANKS = "".join(map(chr, range(33)))
"""What Java's `String.trim` takes away."""
_INTEGER = re.compile(r"[+-]?\d+")
_ADDRESS = re.compile(r"(?:0x)?([0-9a-f]{40})")
_TEXT_OR_NAME = re.compile(r'("(?:[^"\\]|\\.)*")|([A-Za-z0-9_$@#*+-]+)(?=[ \t\r\n]*:)', re.DOTALL)
"""A text, or a field name without quotes (`ALLOW_UNQUOTED_FIELD_NAMES`)."""


@dataclass(frozen=True, slots=True)
class Scrypt:
    """How the key was derived from the password (RFC 7914)."""

    salt: bytes
    n: int
    r: int
    p: int


@dataclass(frozen=True, slots=True)
class Pbkdf2:
    """The same by PBKDF2 with HMAC-SHA256 (RFC 8018)."""

    salt: bytes
    iterations: int


@dataclass(frozen=True, slots=True)
class Keystore:
    """A keystore, read and not opened."""

    derivation: Scrypt | Pbkdf2
    iv: bytes
    ciphertext: bytes
    mac: bytes
    declared: str | None
    """The address that the file gives itself, 0x and lower case; web3j never looks at it."""


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def read(path: Path) -> Keystore:
    """Read a keystore file; raises `WalletError`, one line with the file and what to do."""
    try:
        return parse(_content(path))
    except OSError as error:
        reason = file_errors.why(path, error, given=True)
        raise WalletError(f"wallet {path}: {reason}; {WHERE}") from None
    except WalletError as error:
        raise WalletError(f"wallet {path}: {error}") from None


def parse(content: bytes) -> Keystore:
    """Read the bytes of a keystore file; raises `WalletError`."""
    document = _document(content)
    # As they stand in the file: web3j has one field for both names, and sets it twice.
    names = [name for name in document if name in ("crypto", "Crypto")]
    crypto = document[names[-1]] if names else None
    try:
        if (version := _integer(document, "version")) != _VERSION:
            raise WalletError(f"is of version {version}; {WHERE}")
        for name in ("id", "address"):
            _text(document, name)
        if not isinstance(crypto, dict):
            raise WalletError(f"has no crypto section; {WHERE}")
        return _keystore(crypto, _declared(document))
    except ValueError as error:
        raise WalletError(f"its crypto section cannot be used: {error}; {WHERE}") from None


def declared_address(path: Path) -> str | None:
    """Return the address that a keystore file gives itself, None without one; raises nothing."""
    try:
        return _declared(_document(_content(path)))
    except (OSError, WalletError):
        return None


def _content(path: Path) -> bytes:
    status = path.stat()
    # A pipe would be empty for the process that opens the wallet, a device would never end.
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise WalletError(f"is no regular file, and is read more than once; {WHERE}")
    if status.st_size > _MAX_BYTES:
        raise WalletError(f"is too large for a keystore ({status.st_size} bytes); {WHERE}")
    return path.read_bytes()


def _document(content: bytes) -> Mapping[str, Any]:
    if not content.strip():
        raise WalletError(f"is empty; {WHERE}")
    decoder = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_no_constant)
    try:
        text = content.decode(json.detect_encoding(content)).lstrip(" \t\r\n")
        quoted = _TEXT_OR_NAME.sub(lambda found: found[1] or f'"{found[2]}"', text)
        document, _ = decoder.raw_decode(quoted)
    except (ValueError, RecursionError):
        raise WalletError(f"is not JSON; {WHERE}") from None
    if not isinstance(document, dict):
        raise WalletError(f"is not a JSON object; {WHERE}")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _declared(document: Mapping[str, Any]) -> str | None:
    address = document.get("address")
    match = _ADDRESS.fullmatch(address.lower()) if isinstance(address, str) else None
    return f"0x{match[1]}" if match else None


def _keystore(crypto: Mapping[str, Any], declared: str | None) -> Keystore:
    if (cipher := _text(crypto, "cipher")) != "aes-128-ctr":
        raise WalletError(f"has the cipher {cipher!r}, only aes-128-ctr is supported")
    kdf = _text(crypto, "kdf")
    if kdf not in ("scrypt", "pbkdf2"):
        raise WalletError(f"has the key derivation {kdf!r}, only scrypt and pbkdf2 are supported")
    parameters = _section(crypto, "kdfparams")
    return Keystore(
        derivation=_scrypt(parameters) if kdf == "scrypt" else _pbkdf2(parameters),
        iv=_hex(_section(crypto, "cipherparams"), "iv"),
        ciphertext=_hex(crypto, "ciphertext"),
        mac=_hex(crypto, "mac"),
        declared=declared,
    )


def _scrypt(parameters: Mapping[str, Any]) -> Scrypt:
    # A longer key begins with the same 32 bytes, which are all that is used.
    if (length := _integer(parameters, "dklen")) < 32:
        raise ValueError(f"dklen {length}: expected at least 32")
    n, r, p = (_integer(parameters, name) for name in ("n", "r", "p"))
    return Scrypt(_hex(parameters, "salt"), n, r, p)


def _pbkdf2(parameters: Mapping[str, Any]) -> Pbkdf2:
    _integer(parameters, "dklen")  # has to be a number, and is not looked at
    if (prf := _text(parameters, "prf")) != "hmac-sha256":
        raise ValueError(f"prf {prf!r}: expected 'hmac-sha256'")
    return Pbkdf2(_hex(parameters, "salt"), _integer(parameters, "c"))


def _section(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = fields.get(name)
    if not isinstance(section, dict):
        raise ValueError(f"{name} is missing, or no object")
    return section


def _hex(fields: Mapping[str, Any], name: str) -> bytes:
    text = _text(fields, name)
    if text is None:
        raise ValueError(f"{name} is missing")
    return lenient_bytes(text)


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    """Return a field as Jackson's deserializer of texts does: any scalar, as it is written."""
    value = fields.get(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{name}: expected a text")


def _integer(fields: Mapping[str, Any], name: str) -> int:
    """Return a field as Jackson's deserializer of `int` does: a number cut, a text trimmed."""
    value = fields.get(name)
    try:
        number = _as_integer(value)
    except (ValueError, OverflowError):
        number = _INT32
    if not -_INT32 <= number < _INT32:
        shown = "what it is" if isinstance(value, dict | list) else repr(value)
        raise ValueError(f"{name}: expected a whole number below 2^31, not {shown}")
    return number


def _as_integer(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, _Number):
        return int(value) if _INTEGER.fullmatch(value) else int(float(value))
    if not isinstance(value, str):
        raise ValueError
    text = value.strip(_BLANKS)
    if text in ("", "null"):
        return 0
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)
