"""Stands between a worker and whom it calls over HTTP: shut, answering for them, or adding lines.

Its port is taken from the start, and refuses until `open`.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

_OURS = frozenset({"connection", "content-length", "transfer-encoding", "date", "server"})
_STREAM = "/xhr_streaming"


@dataclass(frozen=True)
class Said:
    """An answer that the middleman gives by itself."""

    body: str
    status: int = 200


class Middleman:
    """Passes calls on to `target`, but for those that it was told to answer."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.calls: list[str] = []
        self._once: dict[str, deque[Said]] = {}
        self._always: dict[str, Said] = {}
        self._streams: list[_Handler] = []
        self._lock = threading.Lock()
        middleman = self

        class Handler(_Handler):
            served = middleman

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.server_bind()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def open(self) -> Middleman:
        """Take calls from now on."""
        self._server.server_activate()
        self._thread.start()
        return self

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def answer(self, call: str, *answers: Said) -> None:
        """Answer calls that begin so (`METHOD /path`) with these, one each, then pass them on."""
        with self._lock:
            self._once[call] = deque(answers)

    def always(self, call: str, answer: Said | None) -> None:
        """Answer calls that begin so with this; with None pass them on again."""
        with self._lock:
            self._always.pop(call, None)
            if answer is not None:
                self._always[call] = answer

    def add(self, line: str) -> None:
        """Add a line to every open event stream."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.chunk(line.encode() + b"\n")

    def own_answer(self, call: str) -> Said | None:
        """Note a call; return our own answer to it, if there is one."""
        with self._lock:
            self.calls.append(call)
            for start, answers in self._once.items():
                if call.startswith(start) and answers:
                    return answers.popleft()
            found = (said for start, said in self._always.items() if call.startswith(start))
            return next(found, None)

    @contextlib.contextmanager
    def streaming(self, handler: _Handler) -> Iterator[None]:
        with self._lock:
            self._streams.append(handler)
        yield
        with self._lock:
            self._streams.remove(handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Middleman

    def setup(self) -> None:
        super().setup()
        self._writing = threading.Lock()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        said = self.served.own_answer(f"{self.command} {self.path}")
        if said is not None:
            self.send_response(said.status)
            self._finish(said.body.encode())
            return
        try:
            self._pass_on(body)
        except (requests.RequestException, OSError):
            self.close_connection = True

    do_GET = do_POST = _serve

    def _pass_on(self, body: bytes) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        url = self.served.target + self.path
        with requests.request(
            self.command, url, data=body, headers=headers, stream=True, timeout=200
        ) as reply:
            self.send_response(reply.status_code)
            for name, value in reply.headers.items():
                if name.lower() not in _OURS:
                    self.send_header(name, value)
            if self.path.endswith(_STREAM):
                self._stream(reply)
            else:
                self._finish(reply.content)

    def _stream(self, reply: requests.Response) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with self.served.streaming(self):
            for piece in reply.iter_content(None):
                self.chunk(piece)
        self.wfile.write(b"0\r\n\r\n")

    def _finish(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def chunk(self, data: bytes) -> None:
        with self._writing, contextlib.suppress(OSError):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

    def log_message(self, *args: Any) -> None:
        """Keep the test's output clean."""
