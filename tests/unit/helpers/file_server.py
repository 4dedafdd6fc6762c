"""A real HTTP server on a free port whose paths a test decides."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import Any


class Handler(http.server.BaseHTTPRequestHandler):
    """One request, handed to what the test has set for its path."""

    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers))
        reply = self.server.replies.get(self.path)
        if reply is None:
            self.answer(404, b"absent")
        else:
            reply(self)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Keep the test's output clean."""


Reply = Callable[[Handler], None]


class FileServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: dict[str, Reply] = {}
        self.requests: list[tuple[str, Message]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def serve(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
        """Have `path` answer so; return its URL."""
        self.replies[path] = lambda handler: handler.answer(status, body, **headers)
        return self.url + path

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@contextmanager
def file_server() -> Iterator[FileServer]:
    """Serve until the block ends."""
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Waits:
    """A pause that takes no time and counts, with a clock that it drives."""

    now_s: float = 1_000_000.0
    pauses: list[float] = field(default_factory=list)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def now(self) -> float:
        return self.now_s
