from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from iexworker.errors import SandboxError
from iexworker.sandbox.network.network import Network
from iexworker.sandbox.proxy import result


def archive(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.mkdir("folder")
        for name, data in files.items():
            made.writestr(name, data)
    return content.getvalue()


class Store(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ipfs/Qm1" else 404)
        self.end_headers()
        self.wfile.write(b"content")

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with HTTPServer(("127.0.0.1", 0), Store) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.server_address[1]
        yield Network(str(tmp_path), "9", "127.0.0.1", 1, 1, 1, int(port), 1)
        server.shutdown()
        thread.join()


def test_a_result_is_fetched_by_its_location(network: Network) -> None:
    assert result.fetch(network, "/ipfs/Qm1") == b"content"


def test_a_result_that_is_not_there_is_said_so(network: Network) -> None:
    with pytest.raises(SandboxError, match="answers 404 for /ipfs/Qm2"):
        result.fetch(network, "/ipfs/Qm2")


def test_each_file_is_shown_with_its_size_and_text() -> None:
    shown = result.show(archive(a=b"hello\n", b=b"\0\1", c=b"x" * 5000))

    assert "--- a (6 bytes)\nhello" in shown
    assert "--- b (2 bytes)\n(not a text)" in shown
    assert "--- folder/" in shown
    assert shown.endswith("x\n...")


def test_an_archive_is_unpacked_into_its_folder_only(tmp_path: Path) -> None:
    result.unpack(archive(**{"a": b"1", "../b": b"2"}), tmp_path / "in")

    assert {path.name for path in (tmp_path / "in").iterdir()} == {"a", "b", "folder"}
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_what_is_no_archive_is_said_so() -> None:
    with pytest.raises(SandboxError, match="no ZIP archive"):
        result.show(b"secret")


def test_a_store_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    silent = Network(str(tmp_path), "9", "127.0.0.1", 1, 1, 1, 1, 1)

    with pytest.raises(SandboxError, match=r"127.0.0.1:1 does not answer: .*logs server --dir"):
        result.fetch(silent, "/ipfs/Qm1")


def test_no_proxy_stands_before_the_store(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert result.fetch(network, "/ipfs/Qm1") == b"content"


def test_what_a_result_holds_cannot_steer_the_terminal() -> None:
    shown = result.show(archive(**{"a\x1b[2J": "one\x1b[31m\r\ntwo\té\n".encode()}))

    assert shown.endswith("--- a?[2J (17 bytes)\none?[31m\ntwo\té")


@pytest.mark.parametrize("show", [True, False])
def test_a_file_that_cannot_be_unpacked_is_said_so(show: bool, tmp_path: Path) -> None:
    secret = bytearray(archive(a=b"hello"))
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        secret[secret.rindex(mark) + place] |= 1  # encrypted

    with pytest.raises(SandboxError, match=r"a file of the result cannot be unpacked: .*password"):
        result.show(bytes(secret)) if show else result.unpack(bytes(secret), tmp_path)


def test_a_damaged_file_is_no_archive() -> None:
    torn = archive(a=b"hello").replace(b"hello", b"hallo")

    with pytest.raises(SandboxError, match="no ZIP archive"):
        result.show(torn)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SandboxError, match=r"file.*: give --output another folder"):
        result.unpack(archive(a=b"1"), tmp_path / "file")
