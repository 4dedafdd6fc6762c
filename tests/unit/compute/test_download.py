from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.compute import download
from iexworker.compute.blame import Blame, Trouble
from iexworker.compute.cancellation import Cancellation, Cancelled
from iexworker.compute.download import Download
from tests.unit.helpers.file_server import FileServer, Handler, file_server

BODY = b"some data"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    made = Cancellation()
    yield made
    made.close()


@pytest.fixture
def fetcher(cancellation: Cancellation) -> Download:
    return Download(time.time() + 60, cancellation, private_allowed=True, free_bytes=0)


def blame_of(fetcher: Download, url: str, target: Path) -> Blame:
    with pytest.raises(Trouble) as caught:
        fetcher.fetch(url, target)
    assert not target.exists()
    return caught.value.blame


def test_a_file_is_written_and_its_hash_returned(
    server: FileServer, fetcher: Download, tmp_path: Path
) -> None:
    url = server.serve("/a?b=c", BODY)
    assert fetcher.fetch(url, tmp_path / "f") == hashlib.sha256(BODY).hexdigest()
    assert (tmp_path / "f").read_bytes() == BODY
    path, headers = server.requests[0]
    assert path == "/a?b=c"
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"


def test_an_empty_body_is_a_file(server: FileServer, fetcher: Download, tmp_path: Path) -> None:
    fetcher.fetch(server.serve("/empty"), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b""


def test_a_packed_body_is_kept_packed(
    server: FileServer, fetcher: Download, tmp_path: Path
) -> None:
    fetcher.fetch(server.serve("/p", b"\x1f\x8b?", Content_Encoding="gzip"), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"\x1f\x8b?"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307])
def test_a_redirect_within_the_scheme_is_followed(
    server: FileServer, fetcher: Download, tmp_path: Path, status: int
) -> None:
    server.serve("/there", BODY)
    url = server.serve("/here", b"moved", status, Location="/there")
    fetcher.fetch(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize(
    ("status", "headers"),
    [(302, {"Location": "https://127.0.0.1/x"}), (302, {}), (308, {"Location": "/there"})],
)
def test_any_other_redirect_gives_its_own_page_as_upstream(
    server: FileServer, fetcher: Download, tmp_path: Path, status: int, headers: dict[str, str]
) -> None:
    fetcher.fetch(server.serve("/here", b"page", status, **headers), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"page"


def test_a_broken_redirect_is_the_networks_fault(
    server: FileServer, fetcher: Download, tmp_path: Path
) -> None:
    url = server.serve("/here", b"", 302, Location="http://[x")
    assert blame_of(fetcher, url, tmp_path / "f") is Blame.NETWORK


def test_redirects_without_end_are_the_requesters_fault(
    server: FileServer, fetcher: Download, tmp_path: Path
) -> None:
    url = server.serve("/loop", b"", 302, Location="/loop")
    assert blame_of(fetcher, url, tmp_path / "f") is Blame.REQUESTER
    assert len(server.requests) == 20


@pytest.mark.parametrize(
    ("status", "blame"),
    [
        (401, Blame.REQUESTER),
        (403, Blame.REQUESTER),
        (404, Blame.REQUESTER),
        (410, Blame.REQUESTER),
        (407, Blame.OURS),
        (429, Blame.OURS),
        (400, Blame.NETWORK),
        (500, Blame.NETWORK),
        (503, Blame.NETWORK),
    ],
)
def test_a_status_says_whose_fault_it_is(
    server: FileServer, fetcher: Download, tmp_path: Path, status: int, blame: Blame
) -> None:
    assert blame_of(fetcher, server.serve("/x", b"no", status), tmp_path / "f") is blame


@pytest.mark.parametrize(
    "url", ["", "plain", "/ipfs/x/y", "ipfs://x", "http://", "http://h:x/", "http://[x"]
)
def test_what_is_no_url_is_the_requesters_fault(
    fetcher: Download, tmp_path: Path, url: str
) -> None:
    assert blame_of(fetcher, url, tmp_path / "f") is Blame.REQUESTER


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "jar:file:/x!/y"])
def test_other_schemes_of_java_are_refused_by_our_policy(
    fetcher: Download, tmp_path: Path, url: str
) -> None:
    assert blame_of(fetcher, url, tmp_path / "f") is Blame.OURS


def test_a_private_address_is_refused_by_our_policy(
    server: FileServer, cancellation: Cancellation, tmp_path: Path
) -> None:
    url = server.serve("/x", BODY)
    strict = Download(time.time() + 60, cancellation, private_allowed=False)
    assert blame_of(strict, url, tmp_path / "f") is Blame.OURS
    assert blame_of(strict, url.replace("127.0.0.1", "localhost"), tmp_path / "f") is Blame.OURS
    assert server.requests == []


def test_a_host_of_the_operators_may_be_private_but_not_lead_elsewhere(
    server: FileServer, cancellation: Cancellation, tmp_path: Path
) -> None:
    strict = Download(time.time() + 60, cancellation, private_allowed=False, free_bytes=0)
    strict.fetch(server.serve("/x", BODY), tmp_path / "f", trusted=True)
    url = server.serve("/away", b"", 302, Location="/x")
    with pytest.raises(Trouble) as caught:
        strict.fetch(url, tmp_path / "f", trusted=True)
    assert caught.value.blame is Blame.OURS


def test_a_refused_connection_is_the_networks_fault(fetcher: Download, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        assert blame_of(fetcher, url, tmp_path / "f") is Blame.NETWORK


def test_a_connection_cut_in_the_middle_is_the_networks_fault(
    server: FileServer, fetcher: Download, tmp_path: Path
) -> None:
    def cut(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True

    server.replies["/cut"] = cut
    assert blame_of(fetcher, server.url + "/cut", tmp_path / "f") is Blame.NETWORK


def test_a_tls_handshake_that_fails_is_ours(
    server: FileServer, fetcher: Download, tmp_path: Path
) -> None:
    url = server.url.replace("http", "https")
    assert blame_of(fetcher, url, tmp_path / "f") is Blame.OURS


def test_a_file_beyond_the_limit_is_refused_by_our_policy(
    server: FileServer, cancellation: Cancellation, tmp_path: Path
) -> None:
    small = Download(time.time() + 60, cancellation, True, most_bytes=3, free_bytes=0)
    assert blame_of(small, server.serve("/x", BODY), tmp_path / "f") is Blame.OURS


def test_a_disk_that_would_fill_up_is_ours(
    server: FileServer, cancellation: Cancellation, tmp_path: Path
) -> None:
    greedy = Download(time.time() + 60, cancellation, True, free_bytes=1 << 62)
    assert blame_of(greedy, server.serve("/x", BODY), tmp_path / "f") is Blame.OURS


def test_a_folder_that_cannot_be_written_is_ours(
    server: FileServer, fetcher: Download, tmp_path: Path
) -> None:
    assert blame_of(fetcher, server.serve("/x", BODY), tmp_path / "no" / "f") is Blame.OURS


def test_nothing_is_asked_past_the_deadline(
    server: FileServer, cancellation: Cancellation, tmp_path: Path
) -> None:
    late = Download(time.time() - 1, cancellation, private_allowed=True)
    assert blame_of(late, server.serve("/x", BODY), tmp_path / "f") is Blame.OURS
    assert server.requests == []


def test_a_cancelled_download_leaves_nothing(
    server: FileServer, cancellation: Cancellation, fetcher: Download, tmp_path: Path
) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        cancellation.cancel()
        try:
            for _ in range(100):
                handler.wfile.write(b"x" * download._CHUNK_BYTES)
        except OSError:
            handler.close_connection = True

    server.replies["/endless"] = endless
    with pytest.raises(Cancelled):
        fetcher.fetch(server.url + "/endless", tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_a_proxy_of_the_environment_is_used(
    server: FileServer, fetcher: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{server.server_port}")
    server.serve("http://example.org/x", BODY)
    fetcher.fetch("http://example.org/x", tmp_path / "f")
    assert server.requests[0][1]["Proxy-Authorization"].startswith("Basic ")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetcher.fetch(server.serve("/direct", BODY), tmp_path / "f")
    assert server.paths() == ["http://example.org/x", "/direct"]


def test_a_proxy_is_not_asked_for_a_private_address(
    server: FileServer, cancellation: Cancellation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    strict = Download(time.time() + 60, cancellation, private_allowed=False, free_bytes=0)
    for host in ("10.0.0.1", "localhost", "[::1]"):
        assert blame_of(strict, f"http://{host}/x", tmp_path / "f") is Blame.OURS
    assert server.requests == []


def test_a_trouble_names_the_url_without_its_secrets(
    server: FileServer, fetcher: Download, tmp_path: Path
) -> None:
    url = server.url.replace("//", "//me:secret@") + "/x?token=secret"
    with pytest.raises(Trouble) as caught:
        fetcher.fetch(url, tmp_path / "f")
    assert "secret" not in str(caught.value)
    assert "/x" in str(caught.value)
