from __future__ import annotations

import base64
import dataclasses
import json
import logging
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from iexworker.poco.models import DealParams, Profile, TaskDescription
from iexworker.results import proxy as proxy_module
from iexworker.results.proxy import (
    ProxyError,
    ResultProxy,
    Upload,
    link_text,
    proxy_url,
    upload_and_link,
)
from tests.helpers.scripted_server import Reply, Request, ScriptedServer, running

WIRE = Path(__file__).parents[2] / "wire"
TASK = "0x65bc5e94ed4486a940bd6cc0013c418efad58a0a52a3d08cee89faaa21970426"
HASH = "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN"
TOKEN, RESULTS = "POST /v1/results/token", "POST /v1/results"
FIND = f"GET /v1/results/{TASK}/ipfshash"
LINK = f'{{ "storage": "ipfs", "location": "/ipfs/{HASH}" }}'
TAGS = {None: 0, "scone": 3, "gramine": 5, "tdx": 9}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running() as server:
        server.on(TOKEN, Reply(200, b"jwt"))
        server.on(RESULTS, Reply(200, f"/ipfs/{HASH}".encode()))
        server.on(FIND, Reply(200, HASH.encode()))
        yield server


@pytest.fixture
def proxy(server: ScriptedServer) -> Iterator[ResultProxy]:
    proxy = ResultProxy(server.url)
    yield proxy
    proxy.close()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "iexec_out.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("computed.json", '{"deterministic-output-path":"/iexec_out/result.txt"}')
    return path


def upload_of(archive: Path, profile: Profile = Profile.V9) -> Upload:
    return Upload(TASK, profile, archive, image="app:1", cmd="x")


def description(
    storage: str | None = "ipfs", *, tee: str | None = None, callback: str = ""
) -> TaskDescription:
    return TaskDescription(
        task_id=TASK,
        deal_id="0x" + "1" * 64,
        index=0,
        app_address="0x" + "2" * 40,
        app_type="DOCKER",
        app_image="app:1",
        app_enclave="",
        dataset_address="",
        dataset_uri="",
        dataset_checksum="",
        workerpool_address="0x" + "3" * 40,
        workerpool_owner="0x" + "4" * 40,
        requester="0x" + "5" * 40,
        beneficiary="0x" + "5" * 40,
        callback=callback,
        tag=f"0x{TAGS[tee]:064x}",
        trust=1,
        category=0,
        worker_stake=0,
        bot_first_index=0,
        bot_size=1,
        start_time_s=0,
        max_execution_time_s=60,
        contribution_deadline_s=420,
        final_deadline_s=600,
        params=DealParams(storage_provider=storage),
    )


def link_of(
    proxy: ResultProxy,
    upload: Upload,
    task: TaskDescription,
    waits: list[float] | None = None,
    again: list[ProxyError] | None = None,
) -> str:
    return upload_and_link(
        proxy,
        upload,
        task,
        lambda: proxy.token({}, "0x00"),
        block_time_s=5.0,
        again=([] if again is None else again).append,
        wait=([] if waits is None else waits).append,
    )


@pytest.mark.parametrize(
    ("name", "profile"), [("8.5", Profile.V8), ("9.2", Profile.V9)], ids=["8.5", "9.2"]
)
def test_the_recorded_upload_is_sent_field_by_field(
    server: ScriptedServer, proxy: ResultProxy, tmp_path: Path, name: str, profile: Profile
) -> None:
    events = json.loads((WIRE / f"{name}-resultproxy.json").read_text())["events"][:3]
    token, stored, found = events
    for event in events:
        server.on(event["request"], Reply(event["status"], event["response"].encode()))
    signature = token["headers"]["authorization"]
    assert proxy.token(token["body"], signature) == token["response"]
    archive = tmp_path / "iexec_out.zip"
    archive.write_bytes(base64.b64decode(stored["body"]["zip"]))
    upload = Upload(
        stored["body"]["chainTaskId"],
        profile,
        archive,
        image="127.0.0.1:5000/iexec/app:1.0.0",
        cmd="x",
    )
    assert proxy.upload(token["response"], upload) == stored["response"]
    assert proxy.ipfs_hash(upload.task_id) == found["response"]
    for sent, event in zip(server.requests, events, strict=True):
        assert f"{sent.method} {sent.path}" == event["request"]
        assert sent.json == event["body"]
        assert list(sent.json or ()) == list(event["body"] or ())
        for header, value in event["headers"].items():
            assert sent.headers[header] == value


@pytest.mark.parametrize("size", [0, 1, 2, 3, 48 * 1024, 48 * 1024 + 1, 300_000])
def test_an_archive_of_any_size_is_sent_whole_under_its_length(
    server: ScriptedServer, proxy: ResultProxy, tmp_path: Path, size: int
) -> None:
    archive = tmp_path / "a.zip"
    content = bytes(index * 7 % 251 for index in range(size))
    archive.write_bytes(content)
    proxy.upload("jwt", upload_of(archive))
    (sent,) = server.requests
    assert int(sent.headers["content-length"]) == len(sent.body)
    assert "transfer-encoding" not in sent.headers
    assert base64.b64decode(sent.json["zip"], validate=True) == content


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_a_refusal_carries_its_status(
    server: ScriptedServer, proxy: ResultProxy, archive: Path, status: int
) -> None:
    for call in (TOKEN, RESULTS, FIND):
        server.on(call, Reply(status, b"why"))
    methods: tuple[Callable[[], object], ...] = (
        lambda: proxy.token({}, "0x"),
        lambda: proxy.upload("jwt", upload_of(archive)),
        lambda: proxy.ipfs_hash(TASK),
    )
    for method in methods:
        with pytest.raises(ProxyError, match=f"answered {status} [A-Z][A-Za-z ]+: why") as caught:
            method()
        assert caught.value.status == status


def test_no_answer_is_an_error_without_a_status(server: ScriptedServer, proxy: ResultProxy) -> None:
    server.on(FIND, Reply(raw=b""))
    with pytest.raises(ProxyError) as caught:
        proxy.ipfs_hash(TASK)
    assert caught.value.status is None


@pytest.mark.parametrize("text", [b"", b"two words", b"a\nb"])
def test_what_is_no_token_is_an_error(
    server: ScriptedServer, proxy: ResultProxy, text: bytes
) -> None:
    server.on(TOKEN, Reply(200, text))
    with pytest.raises(ProxyError, match="no token") as caught:
        proxy.token({}, "0x")
    assert caught.value.status is None  # somebody else's page is no refusal: it is tried again


def test_a_hash_is_none_when_none_is_recorded(server: ScriptedServer, proxy: ResultProxy) -> None:
    server.on(FIND, Reply(404), Reply(200), Reply(200, b'<a href="x">'))
    assert proxy.ipfs_hash(TASK) is None
    assert proxy.ipfs_hash(TASK) is None
    with pytest.raises(ProxyError, match="no hash"):
        proxy.ipfs_hash(TASK)


def test_a_missing_archive_is_an_error_of_the_disk(proxy: ResultProxy, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        proxy.upload("jwt", upload_of(tmp_path / "none.zip"))


def test_a_standard_result_is_uploaded_and_linked(
    server: ScriptedServer, proxy: ResultProxy, archive: Path
) -> None:
    assert link_of(proxy, upload_of(archive), description()) == LINK
    assert [f"{sent.method} {sent.path}" for sent in server.requests] == [TOKEN, RESULTS, FIND]
    assert server.requests[1].headers["authorization"] == "jwt"


@pytest.mark.parametrize("storage", ["ipfs", "dropbox", "IPFS", "s3", "", None])
def test_a_standard_result_has_its_link_on_ipfs_whatever_provider_the_deal_names(
    server: ScriptedServer, proxy: ResultProxy, archive: Path, storage: str | None
) -> None:
    assert link_of(proxy, upload_of(archive), description(storage)) == LINK
    assert [f"{sent.method} {sent.path}" for sent in server.requests] == [TOKEN, RESULTS, FIND]


def test_a_callback_needs_no_upload(
    server: ScriptedServer, proxy: ResultProxy, archive: Path
) -> None:
    address = "0x" + "9" * 40
    link = link_of(proxy, upload_of(archive), description(callback=address, tee="scone"))
    assert link == f'{{ "storage": "ethereum", "location": "{address}" }}'
    assert server.requests == []


@pytest.mark.parametrize("tee", ["scone", "gramine", "tdx"])
def test_the_result_of_an_enclave_is_only_looked_up(
    server: ScriptedServer, proxy: ResultProxy, archive: Path, tee: str
) -> None:
    upload = upload_of(archive)
    assert link_of(proxy, upload, description(tee=tee)) == LINK
    dropbox = f'{{ "storage": "dropbox", "location": "/results/{TASK}" }}'
    assert link_of(proxy, upload, description("dropbox", tee=tee)) == dropbox
    assert link_of(proxy, upload, description(None, tee=tee)) == LINK
    server.on(FIND, Reply(404))
    assert link_of(proxy, upload, description(tee=tee)) == ""
    assert server.calls("POST") == []


def test_profile_8_knows_no_tdx(server: ScriptedServer, proxy: ResultProxy, archive: Path) -> None:
    assert link_of(proxy, upload_of(archive, Profile.V8), description(tee="tdx")) == LINK
    assert len(server.calls(RESULTS)) == 2


def test_an_upload_refused_before_the_reveal_is_seen_is_tried_again(
    server: ScriptedServer, proxy: ResultProxy, archive: Path
) -> None:
    server.on(RESULTS, Reply(401), Reply(raw=b""), Reply(503), Reply(200))
    server.on(FIND, Reply(404), Reply(404), Reply(404), Reply(200, HASH.encode()))
    waits: list[float] = []
    again: list[ProxyError] = []
    assert link_of(proxy, upload_of(archive), description(), waits, again) == LINK
    assert waits == [10.0, 10.0, 10.0]
    assert [error.status for error in again] == [401, None, 503]
    assert len(server.calls(TOKEN)) == 4


@pytest.mark.parametrize("reply", [Reply(400), Reply(401), Reply(raw=b"")])
def test_an_upload_whose_answer_was_lost_is_found_at_the_proxy(
    server: ScriptedServer, proxy: ResultProxy, archive: Path, reply: Reply
) -> None:
    server.on(RESULTS, reply)
    waits: list[float] = []
    assert link_of(proxy, upload_of(archive), description(), waits) == LINK
    assert waits == []


@pytest.mark.parametrize(("status", "tries"), [(401, 4), (500, 4), (400, 1), (413, 1)])
def test_an_upload_that_stays_refused_is_an_error(
    server: ScriptedServer,
    proxy: ResultProxy,
    archive: Path,
    status: int,
    tries: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "iexworker.results")
    server.on(RESULTS, Reply(status))
    server.on(FIND, Reply(404), Reply(500))
    again: list[ProxyError] = []
    with pytest.raises(ProxyError) as caught:
        link_of(proxy, upload_of(archive), description(), again=again)
    assert caught.value.status == status
    assert len(again) == tries - 1  # the last is raised
    assert len(server.calls(TOKEN)) == tries
    assert len(caplog.records) == tries


def test_an_upload_without_a_hash_is_an_error(
    server: ScriptedServer, proxy: ResultProxy, archive: Path
) -> None:
    server.on(FIND, Reply(404))
    with pytest.raises(ProxyError, match="no hash"):
        link_of(proxy, upload_of(archive), description())


@pytest.mark.parametrize(
    ("profile", "of_deal", "expected"),
    [
        (Profile.V8, "http://deal", "http://core"),
        (Profile.V9, "http://deal", "http://deal"),
        (Profile.V9, " ", "http://core"),
        (Profile.V9, None, "http://core"),
    ],
)
def test_the_deal_names_the_proxy_in_profile_9_only(
    profile: Profile, of_deal: str | None, expected: str
) -> None:
    assert proxy_url(profile, of_deal, "http://core") == expected


def test_the_link_has_the_spaces_that_go_on_the_chain() -> None:
    assert link_text("ipfs", "/ipfs/Qm") == '{ "storage": "ipfs", "location": "/ipfs/Qm" }'


def test_a_digest_is_sent_where_there_is_one(
    server: ScriptedServer, proxy: ResultProxy, archive: Path
) -> None:
    proxy.upload("jwt", dataclasses.replace(upload_of(archive), digest="0x12"))
    assert server.requests[0].json["deterministHash"] == "0x12"


_MEASURE = """
import resource, sys
from pathlib import Path
from iexworker.poco.models import Profile
from iexworker.results.proxy import ResultProxy, Upload
url, archive = sys.argv[1:]
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
proxy = ResultProxy(url)
assert proxy.ipfs_hash("0x00") is None
idle = peak()
proxy.upload("jwt", Upload("0x01", Profile.V9, Path(archive), "app", None))
print(peak() - idle)
"""


def test_a_large_archive_is_streamed_not_held(tmp_path: Path) -> None:
    received: dict[str, Any] = {}

    class Sink(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._finish(404)

        def do_POST(self) -> None:
            left = received["length"] = int(self.headers["content-length"])
            while left:
                left -= len(self.rfile.read(min(left, 1 << 20)))
            self._finish(200)

        def _finish(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    archive = tmp_path / "sparse.zip"
    with archive.open("wb") as file:
        file.truncate(256 * 1024 * 1024)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        command = [sys.executable, "-c", _MEASURE, url, str(archive)]
        grown_kib = int(subprocess.run(command, capture_output=True, check=True).stdout)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert received["length"] > 256 * 1024 * 1024 * 4 / 3
    assert grown_kib < 64 * 1024


def test_the_wait_for_a_stored_archive_ends(
    server: ScriptedServer, proxy: ResultProxy, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_module, "UPLOAD_READ_TIMEOUT_S", 0.1)
    release = Event()

    def late(_: Request) -> Reply:
        release.wait(10)
        return Reply(200)

    server.on(RESULTS, late)
    with pytest.raises(ProxyError, match=r"no answer within 0\.1 s"):
        proxy.upload("jwt", upload_of(archive))
    release.set()
