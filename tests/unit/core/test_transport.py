from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from iexworker.core import transport
from iexworker.core.transport import NoAnswer, Transport
from tests.helpers.scripted_server import Reply, ScriptedServer, running


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Transport]:
    client = Transport(server.url + "/")
    yield client
    client.close()


def test_every_request_carries_the_recorded_headers(
    server: ScriptedServer, client: Transport
) -> None:
    server.on("GET /version", Reply(200, b" 9.2.1\n"))
    server.on("POST /workers/ping", Reply(200))
    assert client.call("GET", "/version").text == "9.2.1"
    assert client.call("POST", "/workers/ping", headers={"Authorization": "Bearer x"}).body == b""
    get, post = server.requests
    assert get.headers["content-type"] == "application/json"
    assert get.headers["accept"] == "*/*"
    assert "content-length" not in get.headers
    assert post.headers["content-length"] == "0"
    assert post.headers["authorization"] == "Bearer x"


def test_a_redirect_is_followed_without_the_token_when_it_leaves_the_host(
    server: ScriptedServer, client: Transport
) -> None:
    with running() as other:
        server.on("GET /x", Reply(302, headers={"Location": other.url + "/y"}))
        other.on("GET /y", Reply(200, b"there"))
        assert client.call("GET", "/x", headers={"Authorization": "Bearer x"}).body == b"there"
        assert "authorization" not in other.requests[0].headers


def test_a_redirect_in_circles_is_no_answer(server: ScriptedServer, client: Transport) -> None:
    server.on("GET /x", Reply(302, headers={"Location": "/x"}))
    with pytest.raises(NoAnswer, match="redirects too often"):
        client.call("GET", "/x")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "closed the connection without an answer"),
        (b"SMTP ready\r\n", "SMTP ready"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "cut off"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://[x\r\nContent-Length: 0\r\n\r\n",
            "cannot be used",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\nContent-Length: 0\r\n\r\n",
            "cannot be used",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz",
            "cannot be unpacked",
        ),
    ],
)
def test_a_broken_answer_is_no_answer(
    server: ScriptedServer, client: Transport, raw: bytes, words: str
) -> None:
    server.on("GET /x", Reply(raw=raw))
    with pytest.raises(NoAnswer, match=words) as caught:
        client.call("GET", "/x")
    assert str(caught.value).startswith(f"scheduler {server.url} (IEXEC_CORE_URL): GET /x: ")
    assert caught.value.exit_code == 69


def test_a_large_answer_is_given_up(
    server: ScriptedServer, client: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "BODY_LIMIT_BYTES", 100_000)
    server.on("GET /plain", Reply(200, bytes(100_001)))
    bomb = gzip.compress(bytes(10_000_000))
    server.on("GET /bomb", Reply(200, bomb, {"Content-Encoding": "gzip"}))
    for path in ("/plain", "/bomb"):
        with pytest.raises(NoAnswer, match="larger than 100000"):
            client.call("GET", path)


def test_a_silent_or_dripping_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        client = Transport(f"http://127.0.0.1:{listener.getsockname()[1]}")
        began_s = time.monotonic()
        with pytest.raises(NoAnswer, match="does not end"):
            client.call("GET", "/", read_timeout_s=0.2)
        with pytest.raises(NoAnswer, match=r"no answer within 0\.1 s"):
            client.call("GET", "/", read_timeout_s=0.1)
        assert time.monotonic() - began_s < 5
        stop.set()
        thread.join()
        client.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "connection refused"),
        ("nowhere", "cannot be used"),
        ("http://a b", "cannot be used"),
        ("http://\ud800", "cannot be used"),
    ],
)
def test_an_address_that_cannot_be_reached_is_named(url: str, words: str) -> None:
    with pytest.raises(NoAnswer, match=words):
        Transport(url).call("GET", "/x")


def test_each_thread_has_one_connection_and_keeps_it(
    server: ScriptedServer, client: Transport
) -> None:
    seen: list[object] = []

    def call() -> None:
        for _ in range(3):
            client.call("GET", "/x")
            seen.append(client._session())

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, seen))) == 2


def test_json_nested_too_deeply_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested"):
        transport.Reply(200, b"[" * 100_000).json()
    assert transport.Reply(200, b" ").json() is None
    assert transport.Reply(200, b"a\n\n b").shown == "a b"
