"""Stands on loopback in front of a partner of the worker, and fails as it is told.

A `FaultProxy` passes bytes on, over TCP or a Unix socket, so that HTTP, event streams and Docker's
attached containers go through alike. Each change of mood cuts what stands, as a failing partner
would. An `HttpFaultProxy` reads the calls, too: it can answer some by itself, and add to streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

SLOW_S = 2.0
"""How much later each piece of an answer comes from a slow partner."""
_PIECE = 64 * 1024
_HEAD_END = b"\r\n\r\n"
_STREAM = "/xhr_streaming"
_WHOLE_REQUEST_S = 0.05
_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: what is closed so is reset."""

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""
T = TypeVar("T")


class Mood(enum.Enum):
    """How the partner behaves."""

    WELL = "well"
    GONE = "gone"
    """Connections are refused."""
    SLOW = "slow"
    SILENT = "silent"
    """Connections are taken, and nothing ever comes back."""
    RESETTING = "resetting"
    """The request is passed on and takes effect; the connection is reset before the answer."""
    SAYS_500 = "says 500"
    SAYS_503 = "says 503"
    GARBAGE = "garbage"
    """By turns a page of somebody else's under status 200, and what is no HTTP at all."""


FAULTS = tuple(mood for mood in Mood if mood is not Mood.WELL)


def _http(status: str, kind: str, body: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{body}"
    ).encode()


_SAID = {
    Mood.SAYS_500: itertools.cycle(
        [_http("500 Internal Server Error", "application/json", '{"error":"out of order"}')]
    ),
    Mood.SAYS_503: itertools.cycle([_http("503 Service Unavailable", "text/plain", "")]),
    Mood.GARBAGE: itertools.cycle(
        [
            _http("200 OK", "text/html", "<html><body>Please log in</body></html>"),
            b"\x16\x03\x01\x02\x00 no http \xff\xfe\r\n\r\n",
        ]
    ),
}


class FaultProxy:
    """One partner's double; `turn` may be called from any thread and returns when it is so."""

    def __init__(
        self, target: Address, path: Path | None = None, rewrites: Mapping[str, str] | None = None
    ) -> None:
        self._target = target
        self._path = path
        self._rewrites = {
            old.encode(): new.encode() for old, new in (rewrites or {}).items() if old != new
        }
        # Of one length, or a Content-Length would lie.
        assert all(len(old) == len(new) for old, new in self._rewrites.items())
        self._mood = Mood.WELL
        self._server: asyncio.Server | None = None
        self._standing: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        # Holds the port while nobody listens on it, so that nobody else gets it.
        self._holder = None if path else _bound(0)
        self.port = self._holder.getsockname()[1] if self._holder else 0

    @property
    def url(self) -> str:
        """What a client of HTTP is given."""
        return f"http://127.0.0.1:{self.port}" if self._path is None else f"unix://{self._path}"

    def open(self) -> Self:
        """Begin to serve; until then connections are refused."""
        self._thread.start()
        self._run(self._listen())
        return self

    def close(self) -> None:
        """Cut everything and end."""
        if self._thread.is_alive():
            self._run(self._shut())
            self._run(self._cut())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()
        if self._holder is not None:
            self._holder.close()

    def turn(self, mood: Mood) -> None:
        """Change the mood."""
        self._run(self._turn(mood))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _turn(self, mood: Mood) -> None:
        before, self._mood = self._mood, mood
        if mood is before:
            return
        if mood is Mood.GONE:
            await self._shut()
        if {before, mood} != {Mood.WELL, Mood.SLOW} and mood is not Mood.SILENT:
            await self._cut()
        if self._server is None and mood is not Mood.GONE:
            await self._listen()

    async def _listen(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._connected, self._path)
        else:
            self._server = await asyncio.start_server(self._connected, sock=_bound(self.port))

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cut(self) -> None:
        for task in list(self._standing):
            task.cancel()
        await asyncio.gather(*self._standing, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._standing.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # one of the two ends is gone or cut, so is the other
        finally:
            self._standing.discard(task)
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = _SAID.get(self._mood)
        if said is None:
            far_reader, far_writer = await self._dial()
            try:
                await self._pass_on(reader, writer, far_reader, far_writer)
            finally:
                _reset(far_writer)
            return
        if await _request(reader):
            writer.write(next(said))
            await writer.drain()
            writer.write_eof()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 1)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._up(reader, far_writer))
            group.create_task(self._down(far_reader, writer))

    async def _up(self, reader: asyncio.StreamReader, far: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_PIECE):
            if self._mood is not Mood.SILENT:
                far.write(piece)
                await far.drain()
        far.write_eof()

    async def _down(self, near: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await near.read(_PIECE):
            if self._mood is Mood.RESETTING:
                raise ConnectionResetError
            if self._mood is Mood.SLOW:
                await asyncio.sleep(SLOW_S)
            if self._mood is not Mood.SILENT:
                for old, new in self._rewrites.items():
                    piece = piece.replace(old, new)
                writer.write(piece)
                await writer.drain()
        if self._mood is not Mood.SILENT:
            writer.write_eof()


@dataclass(frozen=True)
class Said:
    """An answer that the proxy gives by itself."""

    body: str
    status: int = 200

    def written(self) -> bytes:
        head = f"HTTP/1.1 {self.status} Said\r\nContent-Length: {len(self.body.encode())}\r\n\r\n"
        return (head + self.body).encode()


class HttpFaultProxy(FaultProxy):
    """Passes calls on, but for those that it was told to answer."""

    def __init__(self, target: Address) -> None:
        super().__init__(target)
        self.calls: list[str] = []
        self._once: dict[str, deque[Said]] = {}
        self._always: dict[str, Said] = {}
        self._streams: set[asyncio.StreamWriter] = set()

    def answer(self, call: str, *answers: Said) -> None:
        """Answer calls that begin so (`METHOD /path`) with these, one each, then pass them on."""
        self._once[call] = deque(answers)

    def always(self, call: str, answer: Said | None) -> None:
        """Answer calls that begin so with this; with None pass them on again."""
        self._always = {start: said for start, said in self._always.items() if start != call}
        if answer is not None:
            self._always[call] = answer

    def add(self, line: str) -> None:
        """Add a line to every open event stream."""
        self._run(self._add(line.encode() + b"\n"))

    async def _add(self, data: bytes) -> None:
        for stream in self._streams:
            stream.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _own_answer(self, call: str) -> Said | None:
        self.calls.append(call)
        for start, answers in self._once.items():
            if call.startswith(start) and answers:
                return answers.popleft()
        found = (said for start, said in self._always.items() if call.startswith(start))
        return next(found, None)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # one of the two has closed
            while True:
                head = await reader.readuntil(_HEAD_END)
                body = await reader.readexactly(int(_field(head, b"content-length") or 0))
                call = b" ".join(head.split(b" ", 2)[:2]).decode()
                said = self._own_answer(call)
                if said is not None:
                    writer.write(said.written())
                else:
                    far_writer.write(head + body)
                    await self._answer_to(call, far_reader, writer)
                await writer.drain()
        far_writer.close()  # in good order: nothing was cut

    async def _answer_to(
        self, call: str, far: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await far.readuntil(_HEAD_END)
        writer.write(head)
        if _field(head, b"transfer-encoding") != b"chunked":
            writer.write(await far.readexactly(int(_field(head, b"content-length") or 0)))
            return
        if call.endswith(_STREAM):
            self._streams.add(writer)
        try:
            while (size := await far.readuntil(b"\r\n")) != b"0\r\n":
                # Whole, so that a line of ours does not come into the middle of a chunk.
                writer.write(size + await far.readexactly(int(size, 16) + 2))
                await writer.drain()
        finally:
            self._streams.discard(writer)
        writer.write(size + await far.readexactly(2))


def _field(head: bytes, name: bytes) -> bytes:
    """Return a field of a message's head, in lower case; empty where there is none."""
    for line in head.lower().split(b"\r\n"):
        found, _, value = line.partition(b":")
        if found == name:
            return value.strip()
    return b""


async def _request(reader: asyncio.StreamReader) -> bytes:
    """Read what has been sent, to its probable end: closing on unread bytes would be a reset."""
    whole = await reader.read(_PIECE)
    with contextlib.suppress(TimeoutError):
        while piece := await asyncio.wait_for(reader.read(_PIECE), _WHOLE_REQUEST_S):
            whole += piece
    return whole


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; over TCP the other end is told by a reset."""
    found = writer.get_extra_info("socket")
    if found is not None and found.family == socket.AF_INET and not writer.is_closing():
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()


def _bound(port: int) -> socket.socket:
    """Return a socket that is bound; several may be, connections go to the one that listens."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    os.set_inheritable(made.fileno(), False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made
