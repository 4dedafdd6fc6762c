"""A Docker engine on a Unix socket that answers, and has nothing."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

_ANSWERS: dict[str, Any] = {
    "version": {"Version": "27.0", "ApiVersion": "1.41", "MinAPIVersion": "1.24"},
    "info": {"Runtimes": {"runc": {"path": "runc"}}},
    "json": [],
    "_ping": "OK",
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps(_ANSWERS.get(self.path.partition("?")[0].split("/")[-1], {})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Api-Version", "1.41")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def fake_engine(socket_path: Path) -> Iterator[None]:
    """Serve on this path until the end."""
    with _Server(str(socket_path), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
