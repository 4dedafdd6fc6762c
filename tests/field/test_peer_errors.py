"""What is said of a peer that does not serve: which setting, which address, what was tried, what
came back in words, what to do; the same for all of them."""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from iexworker.compute import images
from iexworker.compute.blame import Trouble
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.engine import Engine
from iexworker.compute.pull import pull
from iexworker.core import xhr
from iexworker.errors import DockerError
from iexworker.settings.model import RegistryCredentials
from tests.field.helpers.clients import CLIENTS, call
from tests.field.helpers.faulty_peer import CERTIFICATE, Answer, faulty_peer, http, tls_context

SETTINGS = {
    "scheduler": "IEXEC_CORE_URL",
    "configuration server": "configServerUrl",
    "result proxy": "resultRepositoryURL",
    "event stream": "IEXEC_CORE_URL",
    "chain node": "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS",
    "input": "",
    "Docker engine": "DOCKER_HOST",
}
TRIED = {
    "scheduler": "GET /version",
    "configuration server": "GET /config/chain",
    "result proxy": "GET /v1/results/0x",
    "event stream": "POST /connect/",
    "chain node": "eth_chainId",
    "input": "",
    "Docker engine": "connect",
}
PYTHON = re.compile(
    r"[A-Z]\w+(?:Error|Exception|Disconnected|Timeout|Connection|Pool)\b"
    r"|Errno|IncompleteRead|\(['\"]|\bb'|0x7f|object at|invalid literal|Max retries|_ssl\.c|<class"
    r"|Expecting value|Traceback|Remote end closed|\[SSL"
)
"""Python's own words: class names, tuples, representations."""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(xhr, "SILENCE_S", 0.3)


def in_shape(client: str, said: str, host: str, *words: str) -> None:
    """Hold a message to the shape; `words` are what came back, in words."""
    assert not PYTHON.search(said), said
    assert SETTINGS[client] in said
    assert host in said, said
    assert TRIED[client] in said, said
    for word in words:
        assert re.search(word, said), (word, said)
    if client != "input":
        assert "; " in said, f"nothing on what to do: {said}"
    for secret in ("somebody", "password"):
        assert secret not in said, said


def with_secrets(client: str, url: str) -> str:
    """Return the address with a login in it, which no Docker engine takes."""
    return url if client == "Docker engine" else url.replace("://", "://somebody:password@")


# What never answers


@pytest.mark.parametrize("client", CLIENTS)
def test_a_name_that_nobody_knows_is_told_as_that(client: str) -> None:
    said = call(client, with_secrets(client, "http://core.pool.test:13000"))
    in_shape(
        client, said, "core.pool.test", r"core\.pool\.test (is not known|could not be looked up)"
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_a_port_where_nothing_listens_is_told_as_that(client: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = call(client, with_secrets(client, f"http://127.0.0.1:{port}"))
    in_shape(client, said, f"127.0.0.1:{port}", "connection refused")


# What answers in another tongue


@pytest.mark.parametrize("client", CLIENTS)
def test_plain_http_where_tls_was_spoken_is_recognised(client: str) -> None:
    with faulty_peer(http(b"<html>bad request</html>", "400 Bad Request")) as server:
        said = call(client, with_secrets(client, f"https://127.0.0.1:{server.port}"))
    in_shape(client, said, str(server.port), "plain HTTP", "write (http|tcp)://")


SAYS_SO = {
    "Go": (b"Client sent an HTTP request to an HTTPS server.\n", "400 Bad Request"),
    "nginx": (
        b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
        "400 Bad Request",
    ),
    "Apache": (
        b"<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.</p>",
        "400 Bad Request",
    ),
    "Tomcat": (b"Bad Request\nThis combination of host and port requires TLS.", "400 "),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("server_of", SAYS_SO)
def test_a_server_that_asks_for_tls_in_words_is_understood(client: str, server_of: str) -> None:
    with faulty_peer(http(*SAYS_SO[server_of])) as server:
        said = call(client, with_secrets(client, server.url))
    if client in ("event stream", "input"):
        assert "400" in said  # its body is not read
        return
    in_shape(
        client,
        said,
        str(server.port),
        "wants TLS",
        "https://" if client != "Docker engine" else "DOCKER_TLS_VERIFY",
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_speaks_tls_only_and_hangs_up_is_recognised(client: str) -> None:
    with faulty_peer(tls=tls_context()) as server:
        said = call(client, with_secrets(client, server.url))
    in_shape(client, said, str(server.port), "wants TLS")


@pytest.mark.parametrize("client", CLIENTS)
def test_an_alert_of_tls_is_recognised(client: str) -> None:
    with faulty_peer(b"\x15\x03\x01\x00\x02\x02\x16") as server:
        said = call(client, with_secrets(client, server.url))
    in_shape(client, said, str(server.port), "wants TLS")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_certificate_that_is_not_trusted_is_told_with_the_variable_that_helps(
    client: str,
) -> None:
    with faulty_peer(tls=tls_context()) as server:
        said = call(client, with_secrets(client, f"https://localhost:{server.port}"))
    in_shape(client, said, str(server.port), "certificate", "self-signed", "REQUESTS_CA_BUNDLE")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_certificate_for_another_name_is_told_as_that(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with faulty_peer(tls=tls_context(), host="127.0.0.2") as server:
        said = call(client, f"https://127.0.0.2:{server.port}")
    in_shape(client, said, str(server.port), "certificate", "another name")


# What answers something else


BROKEN: dict[str, tuple[Answer, str]] = {
    "hangs up": (b"", "closed the connection without an answer"),
    "no HTTP": (b"SMTP ready\r\n", "no HTTP"),
    "cut by length": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "cut off"),
    "cut in a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "cut off",
    ),
    "cut between chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "cut off",
    ),
    "a broken chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "cut off|broken",
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("form", BROKEN)
def test_a_broken_answer_is_told_in_our_words(client: str, form: str) -> None:
    answer, words = BROKEN[form]
    with faulty_peer(answer) as server:
        said = call(client, with_secrets(client, server.url))
    in_shape(client, said, str(server.port), words)


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "input"])
@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("503 Service Unavailable", "answered 503 Service Unavailable: later"),
        ("404 Not Found", "answered 404 Not Found: later"),
        ("407 Proxy Authentication Required", "answered 407"),
    ],
)
def test_a_status_is_told_with_its_name_and_the_servers_words(
    client: str, status: str, words: str
) -> None:
    with faulty_peer(http(b"later", status)) as server:
        said = call(client, with_secrets(client, server.url))
    if client == "result proxy" and "404" in status:
        assert said == ""  # no result is stored
        return
    if client == "event stream":
        words = words.removesuffix(": later")  # its body is not read
    in_shape(client, said, str(server.port), words)


@pytest.mark.parametrize("client", ["configuration server", "chain node", "Docker engine"])
def test_a_page_where_json_was_expected_is_told_as_that(client: str) -> None:
    with faulty_peer(http(b"<html>Welcome to nginx</html>")) as server:
        said = call(client, with_secrets(client, server.url))
    in_shape(client, said, str(server.port), "no JSON")


def test_a_peer_that_is_silent_is_told_as_that() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        said = call("event stream", f"http://127.0.0.1:{port}")
    in_shape("event stream", said, str(port), "no answer within")


def test_a_cut_event_stream_is_told_in_our_words() -> None:
    began = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no\n\r\n"
    for cut in (began, began + b"5\r\nab", began + b"\r\n"):
        with faulty_peer(cut) as server:
            session = xhr.XhrSession(server.url, None)  # type: ignore[arg-type]
            events = session.receive()
            next(events)
            with pytest.raises(xhr.SessionLost) as caught:
                next(events)
            session.release()
        assert not PYTHON.search(str(caught.value)), caught.value
        assert "cut off" in str(caught.value) and "IEXEC_CORE_URL" in str(caught.value)


# Proxies on the way


@pytest.mark.parametrize("client", CLIENTS)
def test_a_proxy_that_is_not_there_is_named_with_its_variable(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://me:password@127.0.0.1:1")
    said = call(client, "http://core.pool.test:13000")
    in_shape(
        client, said, "core.pool.test", "http_proxy", r"127\.0\.0\.1:1\b", "connection refused"
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_a_proxy_that_wants_a_login_is_named_with_its_variable(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_peer(http(b"", "407 Proxy Authentication Required")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        said = call(client, "https://core.pool.test:443")
    in_shape(client, said, "core.pool.test", "HTTPS_PROXY", "407", str(proxy.port))


# Docker's socket and registries


def the_engine(address: str) -> str:
    engine = Engine(address, timeout_s=2)
    with pytest.raises(DockerError) as caught:
        engine.ping()
    engine.close()
    return str(caught.value)


def _missing(folder: Path) -> Path:
    return folder / "docker.sock"


def _a_folder(folder: Path) -> Path:
    (folder / "docker.sock").mkdir()
    return folder / "docker.sock"


def _a_file(folder: Path) -> Path:
    (folder / "docker.sock").touch()
    return folder / "docker.sock"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_missing, "there is no such socket"),
        (_a_folder, "a folder"),
        (_a_file, "no socket"),
    ],
)
def test_what_is_wrong_with_dockers_socket_is_told(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    path = make(tmp_path)
    said = the_engine(f"unix://{path}")
    in_shape("Docker engine", said, f"unix://{path}", words)


def test_a_socket_that_is_denied_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", denied)
    said = the_engine("unix:///var/run/docker.sock")
    in_shape("Docker engine", said, "unix:///var/run/docker.sock", "permission denied", "docker")


REASONS = {
    'Get "https://reg.example/v2/": dial tcp: lookup reg.example: no such host': "DNS",
    'Get "https://reg.example/v2/": http: server gave HTTP response to HTTPS client': (
        "insecure-registries"
    ),
    'Get "https://reg.example/v2/": x509: certificate signed by unknown authority': (
        "/etc/docker/certs.d/reg.example"
    ),
    "toomanyrequests: You have reached your unauthenticated pull rate limit": (
        "IEXEC_WORKER_DOCKER_REGISTRY_USERNAME"
    ),
    "unauthorized: incorrect username or password": "IEXEC_WORKER_DOCKER_REGISTRY_PASSWORD",
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_the_engine_says_of_a_registry_comes_with_what_to_do(reason: str) -> None:
    def answer(asked: bytes) -> bytes:
        if b"/images/create" in asked:
            return http(json.dumps({"message": reason}).encode(), "500 Internal Server Error")
        return http(b'{"ApiVersion": "1.47"}')

    cancellation = Cancellation()
    login = (RegistryCredentials("reg.example", "me", "password"),)
    with faulty_peer(answer) as server:
        engine = Engine(f"tcp://127.0.0.1:{server.port}")
        with pytest.raises((Trouble, DockerError)) as caught:
            reference = images.ImageReference.parse("reg.example/app:1")
            pull(engine, reference, login, 10.0, cancellation)
        engine.close()
    cancellation.close()
    said = str(caught.value)
    assert not PYTHON.search(said)
    assert said.startswith("image registry reg.example")
    assert "pull reg.example/app:1" in said
    assert reason in said and REASONS[reason] in said
    assert "password@" not in said


def test_a_login_that_a_registry_refuses_is_told_in_the_same_shape(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(asked: bytes) -> bytes:
        if b"/auth" in asked:
            return http(b'{"message": "incorrect username or password"}', "401 Unauthorized")
        if b"/images/create" in asked:
            return http(b'{"status": "Downloaded"}\n')
        return http(b'{"ApiVersion": "1.47"}')

    cancellation = Cancellation()
    login = (RegistryCredentials("reg.example", "me", "pw"),)
    with faulty_peer(answer) as server, caplog.at_level(logging.INFO, "iexworker"):
        engine = Engine(f"tcp://127.0.0.1:{server.port}")
        reference = images.ImageReference.parse("reg.example/app:1")
        pull(engine, reference, login, 10.0, cancellation)
        engine.close()
    cancellation.close()
    (record,) = [item for item in caplog.records if item.levelname == "ERROR"]
    said = str(vars(record)["error"])
    assert said.startswith("image registry reg.example (IEXEC_WORKER_DOCKER_REGISTRY_USERNAME")
    assert "login: incorrect username or password" in said
    assert not PYTHON.search(said)
