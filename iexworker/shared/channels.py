"""Queues between processes that survive the death of either end.

A channel has one writer and one reader, and the interface of `multiprocessing.Queue`. It is a
`SOCK_SEQPACKET` pair made before the first fork and kept by the parent: a message arrives whole
or not at all, a process killed inside `get` or `put` leaves no lock behind, and a process born
again takes up where the dead one stood. A channel only wakes: the truth is on disk, messages are
idempotent, and whoever is born again says `Hello` and is sent what still stands.
"""

from __future__ import annotations

import json
import logging
import queue
import select
import socket
import time
from dataclasses import dataclass, fields

MAX_MESSAGE_BYTES = 64 * 1024
"""What a message may weigh; larger things are files."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """Do this step of this task; what it needs lies in the task folder (scheduling to a slot)."""

    task_id: str
    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop this task, kill its container (scheduling to a slot)."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The step has ended; what it found lies in the task folder (a slot to scheduling)."""

    task_id: str
    step: str
    attempt: int
    ok: bool


@dataclass(frozen=True, slots=True)
class Token:
    """The JWT to ping with (scheduling to heartbeat)."""

    jwt: str


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """The scheduler refused this JWT: a new login is needed (heartbeat to scheduling)."""

    jwt: str


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """The scheduler answered a ping with another session id: it has started anew."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Hello:
    """A process was born, maybe again: send me what still stands."""

    role: str
    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The process does its work from now on (child to parent)."""

    role: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish within `grace_s` seconds and leave (parent to child)."""

    grace_s: float


Message = Order | Cancel | Outcome | Token | TokenRefused | SessionChanged | Hello | Ready | Stop

_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (Order, Cancel, Outcome, Token, TokenRefused, SessionChanged, Hello, Ready, Stop)
}
_TYPES: dict[object, type] = {"str": str, "int": int, "bool": bool, "float": float}


def encode(message: Message) -> bytes:
    """Return the message as it travels; raises `ValueError` past `MAX_MESSAGE_BYTES`."""
    values = [_TYPES[field.type](getattr(message, field.name)) for field in fields(message)]
    data = json.dumps([type(message).__name__, *values]).encode()
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a {type(message).__name__} of {len(data)} bytes: put it in a file")
    return data


def decode(data: bytes) -> Message:
    """Return the message that `encode` wrote; raises `ValueError` for anything else."""
    items = json.loads(data)
    if not isinstance(items, list) or not items or not isinstance(items[0], str):
        raise ValueError("no message of ours")
    kind = _KINDS.get(items[0])
    if kind is None:
        raise ValueError(f"no message of ours: {items[0][:40]}")
    expected = [_TYPES[field.type] for field in fields(kind)]
    if [type(value) for value in items[1:]] != expected:
        raise ValueError(f"{kind.__name__}: wrong fields")
    return kind(*items[1:])


class Channel:
    """A queue with one writer and one reader; both ends stay open in the parent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def __repr__(self) -> str:
        return f"Channel({self.name!r})"

    def fileno(self) -> int:
        """Return the descriptor of the reading end, for `selectors`."""
        return self._reader.fileno()

    def put(self, message: Message, block: bool = True, timeout: float | None = None) -> None:
        """Send a message; raises `queue.Full` when there is no room within `timeout` seconds.

        A full channel means a reader that is dead or stuck: a writer that must go on itself
        uses `put_nowait`.
        """
        data = encode(message)
        deadline = _Deadline(block, timeout)
        while True:
            try:
                self._writer.send(data)
                return
            except BlockingIOError:
                if not deadline.wait(self._writer, select.POLLOUT):
                    raise queue.Full from None

    def put_nowait(self, message: Message) -> None:
        """Send a message or raise `queue.Full` at once."""
        self.put(message, block=False)

    def get(self, block: bool = True, timeout: float | None = None) -> Message:
        """Return the next message; raises `queue.Empty` when none came within `timeout` seconds.

        What is no message of ours is logged and dropped.
        """
        deadline = _Deadline(block, timeout)
        while True:
            try:
                data = self._reader.recv(MAX_MESSAGE_BYTES + 1)
            except BlockingIOError:
                if not deadline.wait(self._reader, select.POLLIN):
                    raise queue.Empty from None
                continue
            if not data:
                raise EOFError(f"the channel {self.name} is closed")
            try:
                return decode(data)
            except ValueError as error:
                log.error("message dropped", extra={"channel": self.name, "error": str(error)})

    def get_nowait(self) -> Message:
        """Return the next message or raise `queue.Empty` at once."""
        return self.get(block=False)

    def empty(self) -> bool:
        """Whether `get_nowait` would raise `queue.Empty`."""
        return not _poll(self._reader, select.POLLIN, 0)

    def close(self) -> None:
        """Close both ends in this process."""
        self._reader.close()
        self._writer.close()

    def __del__(self) -> None:
        """Close with the last reference, as a `multiprocessing` connection does."""
        if hasattr(self, "_writer"):
            self.close()


class _Deadline:
    """How long a blocking call may still wait."""

    def __init__(self, block: bool, timeout: float | None) -> None:
        self._until = 0.0 if not block else None
        if block and timeout is not None:
            self._until = time.monotonic() + timeout

    def wait(self, end: socket.socket, event: int) -> bool:
        """Wait until `end` can be used; False when the time is up."""
        left = None if self._until is None else max(0.0, self._until - time.monotonic())
        return _poll(end, event, left)


def _poll(end: socket.socket, event: int, timeout_s: float | None) -> bool:
    poll = select.poll()
    poll.register(end, event)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))
