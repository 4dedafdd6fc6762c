"""SockJS over XHR as texts, both directions (docs/spec/03, 6.1).

A streaming response is lines of UTF-8, each ended by one LF that the functions here neither take
nor give. Pure: texts in, values out. The sandbox's scheduler uses the second half.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

PRELUDE = "h" * 2048
"""First line of every streaming response: it makes old browsers show what follows."""
OPEN = "o"
HEARTBEAT = "h"

RESPONSE_LIMIT = 128 * 1024
"""Bytes of message frames after which the server ends a streaming response."""


class SockJsError(ValueError):
    """A line or a payload is not what SockJS writes."""


@dataclass(frozen=True, slots=True)
class Prelude:
    """The filler that opens every streaming response."""


@dataclass(frozen=True, slots=True)
class Open:
    """The server has opened the session; in a session already open: it had lost it."""


@dataclass(frozen=True, slots=True)
class HeartbeatFrame:
    """The server lives, and has had nothing to say for 5 s."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Texts from the other side, oldest first."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """The server has closed the session: 3000 `Go away!`, 2010 `Another connection still open`."""

    code: int
    reason: str


Event = Prelude | Open | HeartbeatFrame | Messages | Closed


def decode_line(line: str) -> Event:
    """Read one line of a streaming response; raises `SockJsError`."""
    if line == HEARTBEAT:
        return HeartbeatFrame()
    if line == OPEN:
        return Open()
    if line.startswith("a"):
        return Messages(tuple(_texts(line[1:])))
    if line.startswith("c"):
        return _closed(line[1:])
    if line.strip("h") == "" and line:
        return Prelude()
    raise SockJsError(f"not a SockJS line: {line[:80]!r}")


def encode_send(texts: Sequence[str]) -> str:
    """Return the body of an `xhr_send` request."""
    return json.dumps(list(texts), separators=(",", ":"))


def new_session_path() -> str:
    """Return `/connect/{server}/{session}` of a fresh session, as the Java client makes them."""
    return f"/connect/{secrets.randbelow(1000):03d}/{uuid.uuid4().hex}"


def decode_send(body: str) -> list[str]:
    """Read the body of an `xhr_send` request; raises `SockJsError` (the server answers 500)."""
    return _texts(body)


def encode_messages(texts: Sequence[str]) -> str:
    """Return the line that brings `texts`, everything beyond ASCII escaped as servers do."""
    return "a" + encode_send(texts)


def close_frame(code: int, reason: str) -> str:
    """Return the line that closes a session."""
    return "c" + json.dumps([code, reason], separators=(",", ":"))


def _texts(payload: str) -> list[str]:
    texts = _json(payload)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise SockJsError(f"expected a JSON array of texts, got {payload[:80]!r}")
    return texts


def _closed(payload: str) -> Closed:
    match _json(payload):
        case [int(code), str(reason)]:
            return Closed(code, reason)
    raise SockJsError(f"expected [code, reason], got {payload[:80]!r}")


def _json(payload: str) -> object:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        raise SockJsError(f"not JSON: {payload[:80]!r}") from None
