"""Inputs are asked for as Java workers ask, byte for byte, whatever their URLs look like."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3.util.connection

from iexworker.compute.blame import Blame, Patience, Trouble
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.download import Download
from iexworker.compute.folders import TaskFolder
from iexworker.compute.inputs import Inputs
from iexworker.poco.models import DealParams, Profile, TaskDescription
from tests.helpers.task_descriptions import TASK, description
from tests.vectors.helpers.loader import raw_cases

BODY = b"some data"
DATASET = "0x" + "0d" * 20
PROFILES = (Profile.V8, Profile.V9)

Expected = dict[str, Any]


class RawServer:
    """Keeps the bytes of each request and answers it; every port of this machine leads here."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.ports: list[int] = []
        self.redirect: bytes | None = None
        """The `Location` of the first answer; None: the first answer is the file, too."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def connect(self, address: tuple[str, int], *args: Any, **more: Any) -> socket.socket:
        """Stand for urllib3's `create_connection`."""
        assert address[0] in ("127.0.0.1", "::ffff:127.0.0.1")
        self.ports.append(address[1])
        return socket.create_connection(self._socket.getsockname(), 5)

    def close(self) -> None:
        with socket.create_connection(self._socket.getsockname()):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = connection.recv(65536)
            if not piece:
                return
            request += piece
        self.requests.append(request)
        status, extra = b"200 OK", b""
        if self.redirect is not None and len(self.requests) == 1:
            status, extra = b"302 Found", b"Location: " + self.redirect + b"\r\n"
        length = str(len(BODY)).encode()
        connection.sendall(
            b"HTTP/1.1 "
            + status
            + b"\r\n"
            + extra
            + b"Content-Length: "
            + length
            # So that the next request comes on its own connection.
            + b"\r\nConnection: close\r\n\r\n"
            + BODY
        )

    def asked(self, number: int) -> Expected:
        """Return what a vector tells of a request."""
        line, *headers = self.requests[number].split(b"\r\n")
        host = next(header for header in headers if header.lower().startswith(b"host: "))
        return {
            "port": self.ports[number],
            "line": line.decode("latin-1"),
            "host": host[len("host: ") :].decode("latin-1"),
        }


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    running = RawServer()
    monkeypatch.setattr(urllib3.util.connection, "create_connection", running.connect)
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield running
    running.close()


@pytest.fixture
def download() -> Iterator[Download]:
    cancellation = Cancellation()
    yield Download(time.time() + 60, cancellation, private_allowed=True, free_bytes=0)
    cancellation.close()


def cases(vector: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in raw_cases(vector)]


@pytest.mark.parametrize("case", cases("field-urls"))
def test_a_url_text_is_read_and_sent_as_java_reads_and_sends_it(
    server: RawServer, download: Download, tmp_path: Path, case: dict[str, Any]
) -> None:
    expected = case["expected"]
    if "error" in expected:
        with pytest.raises(Trouble) as caught:
            download.fetch(case["input"], tmp_path / "f")
        assert server.requests == []
        # A name without an address: the resolver of a machine without a network is our trouble.
        unknown = expected["error"] == "java.net.UnknownHostException"
        assert (caught.value.blame is Blame.REQUESTER) is not unknown
    else:
        download.fetch(case["input"], tmp_path / "f")
        assert server.asked(0) == expected
        assert (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize("case", cases("field-redirects"))
def test_a_redirect_leads_where_it_leads_java(
    server: RawServer, download: Download, tmp_path: Path, case: dict[str, Any]
) -> None:
    server.redirect = case["input"]["location"].encode("latin-1")
    url = "http://127.0.0.1:21999" + case["input"]["from"]
    expected = case["expected"]
    if "error" in expected:
        with pytest.raises(Trouble):
            download.fetch(url, tmp_path / "f")
        assert len(server.requests) == 1
    else:
        download.fetch(url, tmp_path / "f")
        followed = server.asked(1) if len(server.requests) > 1 else {"page": True}
        assert followed == expected


@pytest.mark.parametrize("case", cases("field-proxied-urls"))
def test_a_proxy_is_asked_as_java_asks_it(
    server: RawServer,
    download: Download,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: dict[str, Any],
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download.fetch(case["input"], tmp_path / "f")
    assert server.asked(0) == {"port": 3128, **case["expected"]}


class Repeating(RawServer):
    """Redirects for ever."""

    def _answer(self, connection: socket.socket) -> None:
        request = connection.recv(65536)
        if not request:
            return
        self.requests.append(request)
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n"
            b"Connection: close\r\n\r\n"
        )


def test_java_gives_up_at_the_twentieth_answer_that_is_a_redirect(
    monkeypatch: pytest.MonkeyPatch, download: Download, tmp_path: Path
) -> None:
    server = Repeating()
    monkeypatch.setattr(urllib3.util.connection, "create_connection", server.connect)
    with pytest.raises(Trouble):
        download.fetch("http://127.0.0.1:21999/", tmp_path / "f")
    server.close()
    assert len(server.requests) == 20


TRIMMED = [" {}/f.txt", "{}/f.txt ", "{}/f.txt\n", "\t{}/f.txt", "URL:{}/f.txt", "{}/f.txt#x"]


def fetch(
    task: TaskDescription,
    profile: Profile,
    download: Download,
    folder: Path,
    gateways: tuple[str, ...] = (),
) -> TaskFolder:
    """Do what the step `data` does; return the task's folder."""
    made = TaskFolder(folder / TASK)
    patience = Patience(2e9, 60.0, lambda _: None, lambda: True, network_s=0.0)
    Inputs(made, download, patience, gateways).fetch(task, profile)
    return made


@pytest.mark.parametrize("text", TRIMMED)
@pytest.mark.parametrize("profile", PROFILES)
def test_an_input_file_is_had_whatever_surrounds_its_url_and_named_by_the_text_as_it_is(
    server: RawServer, download: Download, tmp_path: Path, text: str, profile: Profile
) -> None:
    url = text.format("http://127.0.0.1:21999")
    task = description(params=DealParams(input_files=(url,)))
    folder = fetch(task, profile, download, tmp_path)
    name = url.rpartition("/")[2]
    if profile is Profile.V9:
        name = "0x" + hashlib.sha256(url.encode()).hexdigest()
    assert {path.name: path.read_bytes() for path in folder.input.iterdir()} == {name: BODY}


@pytest.mark.parametrize("text", TRIMMED)
@pytest.mark.parametrize("profile", PROFILES)
def test_a_dataset_is_had_whatever_surrounds_its_url(
    server: RawServer, download: Download, tmp_path: Path, text: str, profile: Profile
) -> None:
    task = description(
        dataset_address=DATASET,
        dataset_uri=text.format("http://127.0.0.1:21999"),
        dataset_checksum="0x" + hashlib.sha256(BODY).hexdigest(),
        params=DealParams(),
    )
    folder = fetch(task, profile, download, tmp_path)
    assert (folder.input / DATASET).read_bytes() == BODY


@pytest.mark.parametrize("profile", PROFILES)
def test_a_dataset_with_slashes_behind_its_hash_is_asked_of_the_gateways_as_it_is(
    server: RawServer, download: Download, tmp_path: Path, profile: Profile
) -> None:
    """java-multiaddr 1.4 takes them off before it looks; the text goes behind the gateway's."""
    location = "/ipfs/QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ//"
    task = description(
        dataset_address=DATASET,
        dataset_uri=location,
        dataset_checksum="0x" + hashlib.sha256(BODY).hexdigest(),
        params=DealParams(),
    )
    fetch(task, profile, download, tmp_path, ("http://127.0.0.1:21999",))
    assert server.asked(0)["line"] == f"GET {location} HTTP/1.1"


def test_a_server_that_chooses_by_the_headers_chooses_as_for_java(
    server: RawServer, download: Download, tmp_path: Path
) -> None:
    download.fetch("http://127.0.0.1:21999/f", tmp_path / "f")
    headers = server.requests[0].split(b"\r\n")[1:-2]
    # Recorded from OpenJDK 17.0.15, which also sends `User-Agent: Java/17.0.15`.
    assert b"Accept: text/html, image/gif, image/jpeg, */*; q=0.2" in headers
    assert not [header for header in headers if header.lower().startswith(b"accept-")]
