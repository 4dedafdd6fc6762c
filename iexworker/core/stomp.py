"""STOMP 1.2 frames as texts, both directions (https://stomp.github.io/stomp-specification-1.2.html).

The worker sends CONNECT, SUBSCRIBE, UNSUBSCRIBE and DISCONNECT and reads CONNECTED, MESSAGE and
ERROR (docs/spec/03, 6.2); the sandbox's scheduler does the reverse. Pure: texts in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

COMMANDS = frozenset(
    (
        *("CONNECT", "STOMP", "CONNECTED", "SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK"),
        *("BEGIN", "COMMIT", "ABORT", "DISCONNECT", "MESSAGE", "RECEIPT", "ERROR"),
    )
)

_UNESCAPED_COMMANDS = frozenset(("CONNECT", "CONNECTED"))
_ESCAPES = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"}
_MEANINGS = {escape: character for character, escape in _ESCAPES.items()}
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(r"[0-9]{1,10}")


class StompError(ValueError):
    """A text is no STOMP frame, or a frame cannot be written as one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; of a repeated header the first value counts, as the specification says."""

    command: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


def encode(frame: Frame) -> str:
    """Return the text of `frame`, its closing NUL included; headers keep their order.

    A body gets a `content-length` (octets of UTF-8) when the headers have none. Raises
    `StompError` for what no text can carry: an unknown command, a NUL in a header, a line end in
    a header of CONNECT or CONNECTED (these two know no escapes), a `content-length` that lies.
    """
    if frame.command not in COMMANDS:
        raise StompError(f"unknown command {frame.command!r}")
    headers = dict(frame.headers)
    length = str(len(_octets(frame.body)))
    if frame.body:
        headers.setdefault("content-length", length)
    if headers.get("content-length", length) != length:
        raise StompError(f"content-length {headers['content-length']!r}, but the body has {length}")
    escaped = frame.command not in _UNESCAPED_COMMANDS
    lines = [_header_line(key, value, escaped) for key, value in headers.items()]
    text = "\n".join([frame.command, *lines, "", frame.body]) + "\0"
    _octets(text)
    return text


def decode(text: str) -> Frame:
    r"""Read the one frame in `text`; raises `StompError`.

    Lines may end with `\n` or `\r\n`; line ends before the command and after the NUL are skipped.
    Without `content-length` the body ends at the first NUL.
    """
    octets = _octets(text).lstrip(b"\r\n")
    blank = _BLANK_LINE.search(octets)
    if blank is None:
        raise StompError("no blank line after the headers")
    command, *lines = (
        line.removesuffix("\r") for line in octets[: blank.start()].decode().split("\n")
    )
    if command not in COMMANDS:
        raise StompError(f"unknown command {command[:40]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        key, value = _header(line, escaped=command not in _UNESCAPED_COMMANDS)
        headers.setdefault(key, value)
    return Frame(command, headers, _body(octets[blank.end() :], headers.get("content-length")))


def _octets(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise StompError(f"half a surrogate pair at {error.start}") from None


def _header_line(key: str, value: str, escaped: bool) -> str:
    if not key or "\0" in key + value:
        raise StompError(f"header {key[:40]!r}: an empty name, or a NUL")
    if escaped:
        return f"{_escape(key)}:{_escape(value)}"
    if ":" in key or re.search(r"[\r\n]", key + value):
        raise StompError(f"header {key[:40]!r}: a colon or a line end that cannot be escaped")
    return f"{key}:{value}"


def _escape(text: str) -> str:
    return re.sub(r"[\\\r\n:]", lambda match: _ESCAPES[match[0]], text)


def _header(line: str, escaped: bool) -> tuple[str, str]:
    key, colon, value = line.partition(":")
    if not (key and colon) or "\0" in line:
        raise StompError(f"no header: {line[:40]!r}")
    return (_unescape(key), _unescape(value)) if escaped else (key, value)


def _unescape(text: str) -> str:
    def meaning(match: re.Match[str]) -> str:
        if match[0] not in _MEANINGS:
            raise StompError(f"unknown escape {match[0]!r}")
        return _MEANINGS[match[0]]

    return re.sub(r"\\.?", meaning, text, flags=re.DOTALL)


def _body(octets: bytes, length: str | None) -> str:
    if length is None:
        end = octets.find(b"\0")
    elif _LENGTH.fullmatch(length):
        end = int(length)
    else:
        raise StompError(f"content-length: expected a number, got {length[:40]!r}")
    if end < 0 or octets[end : end + 1] != b"\0":
        raise StompError("no NUL at the end of the body")
    if octets[end + 1 :].strip(b"\r\n"):
        raise StompError("text after the frame")
    return octets[:end].decode()  # a NUL is never inside a character
