"""Readers of setting texts, by the rules of the Java worker (docs/spec/02, section 2).

A `Kind` turns a text into a value and raises ValueError when it cannot; texts come verbatim from
the environment. Empty texts never get here: they count as unset.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

_DOCKER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_HEXADECIMAL = re.compile(r"(-?)(?:0[xX]|#)([0-9a-fA-F]+)")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fFdD]?")
_SIMPLE_DURATION = re.compile(r"([+-]?[0-9]+)([a-zA-Z]{0,2})")
_ISO_DURATION = re.compile(
    r"([+-]?)P(?:([+-]?[0-9]+)D)?"
    r"(T(?=[+-]?[0-9])(?:([+-]?[0-9]+)H)?(?:([+-]?[0-9]+)M)?(?:([+-]?)([0-9]+(?:[.,][0-9]{0,9})?)S)?)?",
    re.IGNORECASE,
)
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"([0-9]+)([bkmg]?)")
_GPUS = re.compile(r"all|[0-9A-Za-z-]+(?:,[0-9A-Za-z-]+)*")
_NOT_IN_ADDRESSES = re.compile(r"[\s\x00-\x20\x7f-\x9f\"<>\\`]")
_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_HTTP = ("http", "https")
_TRUE = frozenset(("true", "on", "yes", "1"))
_FALSE = frozenset(("false", "off", "no", "0"))
_LEVELS = {
    "ALL": "DEBUG",
    "TRACE": "DEBUG",
    "DEBUG": "DEBUG",
    "INFO": "INFO",
    "WARN": "WARNING",
    "WARNING": "WARNING",
    "ERROR": "ERROR",
    "FATAL": "CRITICAL",
    "CRITICAL": "CRITICAL",
    "OFF": "CRITICAL",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of setting: how its text is read, and the words for what is expected."""

    name: str
    expected: str
    parse: Callable[[str], Any]


def parse_boolean(text: str) -> bool:
    """Read Spring's words for true and false, in any letter case."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(text)


def parse_integer(text: str) -> int:
    """Read a decimal number, or a hexadecimal one that starts with 0x or #."""
    trimmed = text.strip()
    if match := _HEXADECIMAL.fullmatch(trimmed):
        return int(match[1] + match[2], 16)
    if _INTEGER.fullmatch(trimmed) is None:
        raise ValueError(text)
    return int(trimmed)


def parse_float32(text: str) -> float:
    """Read a Java float: the value is rounded to single precision, as upstream multiplies by it."""
    trimmed = text.strip()
    if _FLOAT.fullmatch(trimmed) is None:
        raise ValueError(text)
    try:
        (value,) = struct.unpack("<f", struct.pack("<f", float(trimmed.rstrip("fFdD"))))
    except OverflowError:
        raise ValueError(text) from None
    return float(value)


def parse_duration_s(text: str) -> float:
    """Read an ISO-8601 duration, or an integer with a unit (none: milliseconds), in seconds."""
    if match := _SIMPLE_DURATION.fullmatch(text):
        unit = _UNIT_S.get(match[2].lower())
        if unit is None:
            raise ValueError(text)
        return int(match[1]) * unit
    return _iso_seconds(text)


def _iso_seconds(text: str) -> float:
    match = _ISO_DURATION.fullmatch(text)
    if match is None or (match[2] is None and match[3] is None):
        raise ValueError(text)
    days, hours, minutes = (int(match[group] or 0) for group in (2, 4, 5))
    seconds = float((match[7] or "0").replace(",", "."))
    total = ((days * 24 + hours) * 60 + minutes) * 60 + (-seconds if match[6] == "-" else seconds)
    return -total if match[1] == "-" else total


def parse_size_bytes(text: str) -> int:
    """Read a size as Docker writes it: a number of bytes, or one with k, m or g."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(text)
    return int(match[1]) << {"": 0, "b": 0, "k": 10, "m": 20, "g": 30}[match[2]]


def _split_address(text: str, schemes: tuple[str, ...]) -> SplitResult:
    """Split an address of one of these schemes; one without a path alone must have a host."""
    # urlsplit drops tabs and line ends before it looks, and would check another text.
    if _NOT_IN_ADDRESSES.search(text):
        raise ValueError(text)
    parts = urlsplit(text)
    if parts.scheme not in schemes:
        raise ValueError(text)
    _ = parts.port  # raises ValueError when it is no port
    if parts.netloc.endswith(":"):
        raise ValueError(text)
    return parts


def _is_host(name: str | None) -> bool:
    """Whether a request can be made to a host of this name, or address."""
    if not name:
        return False
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            return False
    return ":" in name or _HOST.fullmatch(name) is not None


def parse_url(text: str) -> str:
    """Read an http or https URL with a host; the trailing slash is dropped."""
    parts = _split_address(text, _HTTP)
    if not _is_host(parts.hostname) or "?" in text or "#" in text:
        raise ValueError(text)
    return text.rstrip("/")


def parse_node_url(text: str) -> str:
    """Read the URL of a JSON-RPC node: as above, a query (often an API key) is allowed."""
    parts = _split_address(text, _HTTP)
    if not _is_host(parts.hostname) or "#" in text:
        raise ValueError(text)
    return text


def parse_url_list(text: str) -> tuple[str, ...]:
    """Read URLs separated by commas."""
    urls = tuple(parse_url(item.strip()) for item in text.split(",") if item.strip())
    if not urls:
        raise ValueError(text)
    return urls


def parse_docker_host(text: str) -> str:
    """Read the address of a Docker engine, as DOCKER_HOST takes it."""
    parts = _split_address(text, ("unix", "tcp", "http", "https", "ssh"))
    if not (parts.path if parts.scheme == "unix" else _is_host(parts.hostname)):
        raise ValueError(text)
    return text


def parse_address(text: str) -> str | None:
    """Read an address in lower case; `0x0` and the zero address are none."""
    # Here, since the keccak of mixed-case addresses costs more to import than all of this module.
    from iexworker.poco.hashing import is_address

    if text.lower() == "0x0":
        return None
    if not is_address(text):
        raise ValueError(text)
    digits = text.lower().removeprefix("0x")
    return "0x" + digits if digits.strip("0") else None


def parse_ip(text: str) -> str:
    """Read an IPv4 or IPv6 address to listen on."""
    return str(ipaddress.ip_address(text.strip()))


def parse_docker_name(text: str) -> str:
    """Read a name that Docker takes for containers, networks and runtimes."""
    if _DOCKER_NAME.fullmatch(text) is None:
        raise ValueError(text)
    return text


def parse_worker_name(text: str) -> str:
    """Read the worker's name: it starts container names and is a folder's name (255 bytes)."""
    if len(text) > 128:
        raise ValueError(text)
    return parse_docker_name(text)


def parse_bind_path(text: str) -> Path:
    """Read a folder that containers get: made absolute, and without Docker's separator `:`."""
    if ":" in text:
        raise ValueError(text)
    return Path(text).absolute()


def parse_names(text: str) -> frozenset[str]:
    """Read names separated by commas, blanks trimmed."""
    return frozenset(item.strip() for item in text.split(",") if item.strip())


def parse_level(text: str) -> str:
    """Read a Java log level; the value is the Python one."""
    level = _LEVELS.get(text.strip().upper())
    if level is None:
        raise ValueError(text)
    return level


def parse_lenient_level(text: str) -> str:
    """Read a level as logback reads IEXEC_LOG_LEVEL: what it does not know is DEBUG."""
    return _LEVELS.get(text.strip().upper(), "DEBUG")


def parse_gpus(text: str) -> str:
    """Read which GPUs apps get: `all`, or device numbers or UUIDs separated by commas."""
    if _GPUS.fullmatch(text) is None:
        raise ValueError(text)
    return text


def integer(minimum: int, maximum: int, *, name: str = "integer", but: int | None = None) -> Kind:
    """Return a kind of integers between two bounds, `but` one excluded."""

    def parse(text: str) -> int:
        value = parse_integer(text)
        if not minimum <= value <= maximum or value == but:
            raise ValueError(text)
        return value

    limits = f"from {minimum} to {maximum}" + ("" if but is None else f", but not {but}")
    return Kind(name, f"a whole number {limits}", parse)


def choice(*options: str) -> Kind:
    """Return a kind of one word out of a few, in any letter case, punctuation ignored (Spring)."""

    def parse(text: str) -> str:
        word = "".join(filter(str.isalnum, text)).lower()
        for option in options:
            if option.lower() == word:
                return option
        raise ValueError(text)

    return Kind("choice", "one of " + ", ".join(options), parse)


def at_least(kind: Kind, minimum: float, expected: str, *, above: bool = False) -> Kind:
    """Return the kind narrowed to values of at least `minimum` (or above it)."""

    def parse(text: str) -> Any:  # noqa: ANN401 - whatever the narrowed kind gives
        value = kind.parse(text)
        if value < minimum or (above and value == minimum):
            raise ValueError(text)
        return value

    return Kind(kind.name, expected, parse)


TEXT = Kind("text", "a text", str)
PATH = Kind("path", "the path of a file", Path)
BOOLEAN = Kind("boolean", "true or false (also on/off, yes/no, 1/0)", parse_boolean)
PORT = integer(0, 65535, name="port")
FLOAT32 = Kind("float", "a number such as 1.3", parse_float32)
DURATION = at_least(
    Kind("duration", "", parse_duration_s),
    0,
    "an ISO-8601 duration (PT5M) or a number with ns, us, ms, s, m, h or d (5m; no unit: ms)",
)
SIZE = at_least(Kind("size", "", parse_size_bytes), 6 << 20, "a size of 6m or more (b, k, m, g)")
URL = Kind("URL", "an http or https URL, without query", parse_url)
NODE_URL = Kind("URL", "an http or https URL", parse_node_url)
URL_LIST = Kind("URLs", "http or https URLs separated by commas", parse_url_list)
DOCKER_HOST = Kind("Docker address", "unix:///path, or tcp://host:port", parse_docker_host)
ADDRESS = Kind("address", "0x and 40 hex digits (mixed case: with a right checksum)", parse_address)
IP = Kind("IP address", "an IPv4 or IPv6 address", parse_ip)
DOCKER_NAME = Kind("name", "letters, digits, _ . - (first a letter or digit)", parse_docker_name)
WORKER_NAME = Kind(
    "name",
    "at most 128 letters, digits, _ . - (first a letter or digit), since Docker takes no other",
    parse_worker_name,
)
BIND_PATH = Kind("path", "the path of a folder, without ':'", parse_bind_path)
NAMES = Kind("names", "names separated by commas", parse_names)
LEVEL = Kind("log level", "TRACE, DEBUG, INFO, WARN, ERROR or OFF", parse_level)
LENIENT_LEVEL = Kind("log level", LEVEL.expected, parse_lenient_level)
GPUS = Kind("GPUs", "all, or device numbers or UUIDs separated by commas", parse_gpus)
