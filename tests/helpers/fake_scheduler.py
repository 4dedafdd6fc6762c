"""The SockJS side of a scheduler on a real port, driven line by line by a test."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from iexworker.core import sockjs, stomp

PATH = re.compile(r"/connect/[0-9]{3}/([0-9a-f]{32})/(xhr_streaming|xhr_send)")
CONNECTED = stomp.encode(stomp.Frame("CONNECTED", {"version": "1.2", "heart-beat": "0,0"}))
END = None
"""Ends the response in good order."""
RESET = "reset"
"""Cuts the connection in the middle."""


@dataclass
class Session:
    name: str
    lines: queue.Queue[str | None] = field(default_factory=queue.Queue)
    received: queue.Queue[stomp.Frame] = field(default_factory=queue.Queue)
    posts: int = 0
    cookies: list[str | None] = field(default_factory=list)

    def expect(self, command: str) -> stomp.Frame:
        frame = self.received.get(timeout=10)
        assert frame.command == command
        return frame

    def push(self, body: str, destination: str = "/topic/task/0x01") -> None:
        headers = {"destination": destination, "subscription": "0", "message-id": "1"}
        message = stomp.encode(stomp.Frame("MESSAGE", headers, body))
        self.lines.put(sockjs.encode_messages([message]))


class FakeScheduler:
    """Opens each new session and answers CONNECT by itself, unless told otherwise."""

    def __init__(self) -> None:
        self.sessions: queue.Queue[Session] = queue.Queue()
        self.known: dict[str, Session] = {}
        self.infos = 0
        self.info_status = 200
        self.streaming_status = 200
        self.send_status = 204
        self.answers_connect = True
        self.opens = True
        scheduler = self

        class Handler(_Handler):
            fake = scheduler

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def session(self) -> Session:
        return self.sessions.get(timeout=10)

    def close(self) -> None:
        for session in self.known.values():
            session.lines.put(RESET)
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeScheduler

    def do_GET(self) -> None:
        self.fake.infos += 1
        self._finish(self.fake.info_status, b'{"entropy":1,"websocket":false}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        match = PATH.fullmatch(self.path)
        assert match is not None
        if match[2] == "xhr_send":
            self._receive(match[1], body)
        elif self.fake.streaming_status != 200:
            self._finish(self.fake.streaming_status, b"")
        else:
            with contextlib.suppress(OSError):
                self._stream(match[1])

    def _receive(self, name: str, body: str) -> None:
        session = self.fake.known[name]
        session.cookies.append(self.headers.get("cookie"))
        assert self.headers["content-type"] == "application/json"
        assert self.headers.get("origin") is None
        if self.fake.send_status != 204:
            self._finish(self.fake.send_status, b"")
            return
        for text in sockjs.decode_send(body):
            frame = stomp.decode(text)
            if frame.command == "CONNECT" and self.fake.answers_connect:
                session.lines.put(sockjs.encode_messages([CONNECTED]))
            session.received.put(frame)
        self._finish(204, b"")

    def _stream(self, name: str) -> None:
        session = self.fake.known.get(name)
        new = session is None
        if session is None:
            session = self.fake.known[name] = Session(name)
        session.posts += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/javascript;charset=UTF-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Set-Cookie", "route=a; Path=/")
        self.end_headers()
        self._chunk(sockjs.PRELUDE)
        if new:
            if self.fake.opens:
                self._chunk(sockjs.OPEN)
            self.fake.sessions.put(session)
        while (line := session.lines.get(timeout=30)) is not END:
            if line == RESET:
                self.close_connection = True
                return
            self._chunk(line)
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, line: str) -> None:
        data = line.encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _finish(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def running() -> Iterator[FakeScheduler]:
    scheduler = FakeScheduler()
    try:
        yield scheduler
    finally:
        scheduler.close()
