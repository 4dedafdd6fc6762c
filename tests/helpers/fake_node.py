"""A chain node on a real port that answers what a test gives it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = Callable[[list[Any]], Any]


class Fault(Exception):
    """An error object instead of a result."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message, **({} if data is None else {"data": data})}


@dataclass
class FakeNode:
    """What the node answers, by method; `raw` and `status` stand for a broken one."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    takes_batches: bool = True
    raw: bytes | None = None
    status: int = 200
    posts: list[Any] = field(default_factory=list)

    def set(self, method: str, result: object) -> None:
        def answer(parameters: list[Any]) -> object:
            if isinstance(result, Exception):
                raise result
            return result

        self.answers[method] = answer

    def reply(self, body: Any) -> Any:
        self.posts.append(body)
        if isinstance(body, list):
            if not self.takes_batches:
                return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}}
            return [self._one(request) for request in body]
        return self._one(body)

    def _one(self, request: dict[str, Any]) -> dict[str, Any]:
        head = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            return {**head, "result": self.answers[request["method"]](request["params"])}
        except Fault as fault:
            return {**head, "error": fault.body}


@contextmanager
def serving() -> Iterator[FakeNode]:
    node = FakeNode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = json.dumps(node.reply(body)).encode()
            content = reply if node.raw is None else node.raw
            self.send_response(node.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    node.url = f"http://127.0.0.1:{server.server_address[1]}/v3/secret-key"
    try:
        yield node
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
