"""docs/spec/03, 1 and 2.2: HTTP as the real scheduler's container speaks it, over real sockets."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest
import requests

from iexworker.sandbox.endpoint import (
    HttpError,
    Request,
    Response,
    Routes,
    Server,
    as_json,
    as_text,
    timestamp,
)


def echo(request: Request) -> Response:
    return as_json({"got": request.json(), "who": request.parts["who"]})


def fail(request: Request) -> Response:
    raise RuntimeError("the test's own")


def refuse(request: Request) -> Response:
    raise HttpError(401, with_body=False)


def stream(request: Request) -> Response:
    return Response(200, "application/javascript", stream=iter([b"one\n", b"two\n"]))


def need(request: Request) -> Response:
    return as_text(request.parameter("name") + request.header("x-name"))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    routes = Routes(
        (
            ("GET", "/text", lambda _: as_text("é")),
            ("POST", "/echo/{who}", echo),
            ("GET", "/need", need),
            ("POST", "/fail", fail),
            ("GET", "/refuse", refuse),
            ("POST", "/stream", stream),
            ("GET", "/nothing", lambda _: Response(204)),
            ("GET", "/empty", lambda _: Response()),
        )
    )
    server = Server("127.0.0.1", 0, routes)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def test_a_text_has_its_length_and_a_charset(url: str) -> None:
    answer = requests.get(f"{url}/text", timeout=5)
    assert answer.text == "é"
    assert answer.headers["Content-Type"] == "text/plain;charset=UTF-8"
    assert answer.headers["Content-Length"] == "2"
    assert answer.headers["Connection"] == "keep-alive"


def test_json_is_chunked_and_compact(url: str) -> None:
    answer = requests.post(f"{url}/echo/me", json={"a": "é"}, timeout=5)
    assert answer.content == '{"got":{"a":"é"},"who":"me"}'.encode()
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Transfer-Encoding"] == "chunked"


def test_a_body_may_come_in_chunks(url: str) -> None:
    headers = {"Content-Type": "application/json;charset=UTF-8"}
    answer = requests.post(
        f"{url}/echo/me", data=iter([b'{"a"', b":1}"]), headers=headers, timeout=5
    )
    assert answer.json()["got"] == {"a": 1}


@pytest.mark.parametrize(
    ("method", "path", "status", "phrase"),
    [
        ("GET", "/need", 400, "Bad Request"),
        ("GET", "/need?name=x", 400, "Bad Request"),
        ("GET", "/nowhere", 404, "Not Found"),
        ("POST", "/text", 405, "Method Not Allowed"),
        ("POST", "/fail", 500, "Internal Server Error"),
    ],
)
def test_an_error_has_springs_body(
    url: str, method: str, path: str, status: int, phrase: str
) -> None:
    answer = requests.request(method, url + path, timeout=5)
    assert answer.status_code == status
    body = answer.json()
    assert list(body) == ["timestamp", "status", "error", "path"]
    assert body | {"timestamp": 0} == {
        "timestamp": 0,
        "status": status,
        "error": phrase,
        "path": path.partition("?")[0],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", body["timestamp"])
    closes = status in (400, 500)
    assert answer.headers["Connection"] == ("close" if closes else "keep-alive")


def test_a_wrong_method_is_told_the_right_ones(url: str) -> None:
    assert requests.put(f"{url}/text", timeout=5).headers["Allow"] == "GET"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_bad(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert requests.post(f"{url}/echo/me", data=body, headers=headers, timeout=5).status_code == 400


def test_a_body_of_another_type_is_not_taken(url: str) -> None:
    assert requests.post(f"{url}/echo/me", data="{}", timeout=5).status_code == 415


def test_a_refusal_has_no_body(url: str) -> None:
    answer = requests.get(f"{url}/refuse", timeout=5)
    assert (answer.status_code, answer.content) == (401, b"")
    assert "Content-Type" not in answer.headers


def test_a_connection_is_kept_and_a_stream_ends_within_it(url: str) -> None:
    with requests.Session() as session:
        assert session.post(f"{url}/stream", timeout=5).text == "one\ntwo\n"
        assert session.get(f"{url}/nothing", timeout=5).status_code == 204
        assert session.get(f"{url}/empty", timeout=5).content == b""
        assert session.head(f"{url}/text", timeout=5).content == b""
        assert session.get(f"{url}/text", timeout=5).text == "é"


@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: x\r\n\r\n",
        b"Content-Length: 5\r\n\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_broken_body_is_bad_and_ends_the_connection(url: str, sent: bytes) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(b"POST /echo/me HTTP/1.1\r\nHost: x\r\n" + sent)
        raw.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer


def test_trailers_after_chunks_are_skipped(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    head = b"POST /echo/me HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    body = b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(head + body + b"GET /text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_leaves_a_stream_does_no_harm(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(b"POST /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert requests.get(f"{url}/text", timeout=5).status_code == 200


def test_a_date_is_written_as_jackson_writes_it() -> None:
    assert timestamp(1_800_000_000) == "2027-01-15T08:00:00.000+00:00"
    assert timestamp(1_800_000_000.0449) == "2027-01-15T08:00:00.045+00:00"
    assert json.loads(as_json({"a": None}).body) == {"a": None}
