"""What the sandbox's log knows of a task's trouble, `sandbox tasks` and `sandbox result` tell."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.field.helpers.small_sandbox import HandWorker, SmallSandbox
from tests.helpers.live_worker import eventually
from tests.helpers.minimal_worker import archive

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("field-sandbox-reasons")]

RESULT = b"hello\n"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallSandbox]:
    sandbox = SmallSandbox(tmp_path_factory.mktemp("sandbox"))
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def worker(sandbox: SmallSandbox) -> Iterator[HandWorker]:
    with sandbox.worker() as worker:
        yield worker


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in files.items():
            made.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def sparse() -> bytes:
    """An archive whose directory says that its one file unpacks to 3 GiB."""
    made = bytearray(archive(RESULT))
    entry = made.index(b"PK\1\2")
    struct.pack_into("<I", made, entry + 24, 3 << 30)
    return bytes(made)


def upload(
    sandbox: SmallSandbox, worker: HandWorker, grant: dict[str, Any], content: bytes, token: str
) -> int:
    body = {"chainTaskId": grant["chainTaskId"], "zip": base64.b64encode(content).decode()}
    url, headers = f"{sandbox.network.proxy_url}/v1/results", {"Authorization": token}
    return requests.post(url, json=body, headers=headers, timeout=30).status_code


def test_why_the_proxy_refuses_a_result_is_told_until_it_takes_one(
    sandbox: SmallSandbox, worker: HandWorker
) -> None:
    task = sandbox.buy()
    grant = worker.take(task)
    forged = grant | {"enclaveChallenge": "0x" + "11" * 20}
    assert worker.token(sandbox.network.proxy_url, forged).status_code == 401
    words = sandbox.trouble(task)
    assert words == [
        "worker1: the result proxy gives no token: the enclave challenge does not fit the "
        "deal's tag"
    ]
    token = worker.token(sandbox.network.proxy_url, grant).text
    assert upload(sandbox, worker, grant, archive(RESULT), token) == 401
    assert "the task is ACTIVE on chain, not REVEALING" in sandbox.trouble(task)[0]
    worker.agree(grant, hashlib.sha256(RESULT).digest())
    for content, reason in (
        (archive(b"other\n"), "the archive's digest is not what was contributed"),
        (zipped(result_txt=RESULT), "the archive has no computed.json"),
        (b"no zip", "the archive cannot be read: File is not a zip file"),
        (sparse(), "the archive unpacks to more than 2147483648 bytes"),
    ):
        assert upload(sandbox, worker, grant, content, token) == 401
        words = sandbox.trouble(task)
        assert words == [f"worker1: the result proxy refuses the result: {reason}"]

    worker.tell(task, "RESULT_UPLOAD_FAILED")
    assert sandbox.trouble(task)[0].startswith(
        "worker1: the result proxy refuses the result: "
        "the archive unpacks to more than 2147483648 bytes"
    )
    assert "unpacks to more than 2147483648 bytes" in sandbox.type("result", task).out


def test_a_refusal_that_was_made_good_is_no_trouble_any_more(
    sandbox: SmallSandbox, worker: HandWorker
) -> None:
    task = sandbox.buy()
    grant = worker.take(task)
    worker.agree(grant, hashlib.sha256(RESULT).digest())
    token = worker.token(sandbox.network.proxy_url, grant).text
    assert upload(sandbox, worker, grant, b"no zip", token) == 401
    assert upload(sandbox, worker, grant, archive(RESULT), token) == 200
    link = '{ "storage": "ipfs", "location": "/ipfs/Qm" }'
    assert worker.update(task, "RESULT_UPLOADED", resultLink=link).status_code == 200
    worker.await_push("PLEASE_COMPLETE")

    assert sandbox.trouble(task) == []


@pytest.mark.parametrize(
    ("status", "details", "code", "words"),
    [
        ("COMPUTED", {}, 202, "the scheduler refuses COMPUTED: it may not follow CREATED"),
        (
            "CONTRIBUTE_FAILED",
            {"cause": "STAKE_TOO_LOW"},
            202,
            "the worker's stake is too low for the deal's price (STAKE_TOO_LOW)",
        ),
        (
            "START_FAILED",
            {"cause": "MERCURY_IN_RETROGRADE"},
            400,
            "the scheduler cannot read a status update: cause: unknown 'MERCURY_IN_RETROGRADE'",
        ),
        ("START_FAILED", {"exitCode": "x"}, 400, "exitCode: expected a number"),
    ],
)
def test_why_the_scheduler_refuses_an_update_is_told(
    sandbox: SmallSandbox,
    worker: HandWorker,
    status: str,
    details: dict[str, object],
    code: int,
    words: str,
) -> None:
    task = sandbox.buy()
    worker.ask_until_granted()
    assert worker.update(task, status, **details).status_code == code

    (told,) = sandbox.trouble(task)
    assert words in told
    assert worker.update(task, "ABORTED").status_code == 200
    assert words in sandbox.trouble(task)[0]


def test_the_result_of_a_failed_app_is_its_exit_code_and_what_it_wrote(
    sandbox: SmallSandbox, worker: HandWorker
) -> None:
    task = sandbox.buy()
    worker.take(task)
    said = sandbox.type("result", task)
    assert (said.code, "worker1: COMPUTING" in said.out) == (69, True)
    assert said.err == f"iexworker: task {task} is ACTIVE and has no result yet\n"
    logs = {"stdout": "begun\n", "stderr": "no such file: \x1b[31mx\n"}
    worker.update(task, "COMPUTED", exitCode=3, computeLogs=logs)
    worker.update(task, "ABORTED")

    said = sandbox.type("result", task)

    assert said.code == 69
    assert "worker1: the app ended with exit code 3 (APP_COMPUTE_FAILED)" in said.lines
    assert "--- worker1: stdout (6 bytes)\nbegun\n" in said.out
    assert "--- worker1: stderr (21 bytes)\nno such file: ?[31mx\n" in said.out
    assert f"task {task} is ACTIVE and has no result" in said.err
    assert not sandbox.type("result", task, "-o", "/nowhere").out.count("unpacked")


def test_a_task_that_nobody_has_taken_says_so_when_its_result_is_asked_for(
    sandbox: SmallSandbox,
) -> None:
    task = sandbox.buy()
    eventually(lambda: sandbox.trouble(task), "the scheduler has heard of the task")

    said = sandbox.type("result", task)

    assert (said.code, said.out) == (69, "no worker has taken it yet\n")
