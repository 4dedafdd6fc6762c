"""The health check of the command line, against real HTTP servers."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from iexworker.healthcheck import LIVENESS, problem

Serve = Callable[[int, bytes], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[http.server.HTTPServer] = []

    def begin(status: int, body: bytes) -> int:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == LIVENESS
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        return server.server_port

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [200, 404])
def test_an_answer_is_a_sign_of_life(serve: Serve, status: int) -> None:
    port = serve(status, b'{"status":"UP"}')
    assert problem("0.0.0.0", port, 5) is None
    assert problem("127.0.0.1", port, 5) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [(b'{"status":"DOWN"}', "HTTP 503, DOWN"), (b"x", "no JSON"), (b"[]", "no object")],
)
def test_a_worker_that_says_it_is_down_is_not_alive(serve: Serve, body: bytes, words: str) -> None:
    assert words in (problem("127.0.0.1", serve(503, body), 5) or "")


def test_a_port_that_nobody_serves_is_not_alive() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "does not answer" in (problem("127.0.0.1", port, 5) or "")


def test_a_server_that_does_not_speak_http_is_not_alive() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "does not answer" in (problem("127.0.0.1", server.getsockname()[1], 0.1) or "")
