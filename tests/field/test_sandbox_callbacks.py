"""Callback data of any kind ends a task as a real scheduler would, and never the scheduler."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eth_utils.crypto import keccak

from iexworker.poco.hashing import lenient_bytes
from tests.field.helpers.small_sandbox import HandWorker, SmallSandbox
from tests.helpers.minimal_worker import lenient

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("field-sandbox-callbacks")]

LINK = '{ "storage": "ethereum", "location": "0x" }'
MEGABYTES_15 = "0x" + "ab" * 7_500_000


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallSandbox]:
    sandbox = SmallSandbox(tmp_path_factory.mktemp("sandbox"))
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def worker(sandbox: SmallSandbox) -> Iterator[HandWorker]:
    with sandbox.worker() as worker:
        yield worker


def call_back(sandbox: SmallSandbox, worker: HandWorker, data: str, digest: bytes) -> str:
    """Bring a task of a callback deal to its upload, with this callback data."""
    task = sandbox.buy("--callback", "receiver")
    worker.agree(worker.take(task), digest)
    told = worker.update(task, "RESULT_UPLOADED", resultLink=LINK, chainCallbackData=data)
    assert told.status_code == 200
    return task


@pytest.mark.parametrize("data", ["0x123", "hello wörld"])
def test_data_that_is_no_hex_is_read_as_web3j_reads_it(
    sandbox: SmallSandbox, worker: HandWorker, data: str
) -> None:
    task = call_back(sandbox, worker, data, keccak(lenient(data)))

    worker.await_push("PLEASE_COMPLETE")

    receiver = sandbox.chain.contract("TestClient", sandbox.chain.deployed["callbackReceiver"])
    assert receiver.functions.store(bytes.fromhex(task[2:])).call() == lenient(data)
    (words,) = sandbox.trouble(task)
    assert words.startswith(f"the callback-data {data!r} is no text of whole hexadecimal bytes")
    said = sandbox.type("result", task)
    assert said.code == 0
    assert f"0x{lenient(data).hex()}" in said.out


def test_params_of_any_kind_do_not_stop_the_scheduler(sandbox: SmallSandbox) -> None:
    """JSON that is nested too deep, and texts that are no Unicode, are params like others."""
    every = ("[" * 1000, '{"iexec_args":"\\ud800"}', '{"iexec_args":{"a":1}}', "plain")
    tasks = {sandbox.buy("--params", params) for params in every}
    with sandbox.worker("worker2") as worker:
        grants = [worker.ask_until_granted() for _ in tasks]

    assert {one["workerpoolAuthorization"]["chainTaskId"] for one in grants} == tasks
    assert {worker.http.get(f"{worker.url}/tasks/{task}").status_code for task in tasks} == {200}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("0x" + "ab" * 4000, "callback data of 4000 bytes: the transaction needs more gas"),
        (MEGABYTES_15, "callback data of 7500000 bytes: a transaction with 900000 gas cannot"),
    ],
    ids=["4 kB", "15 MB"],
)
def test_data_that_finalize_cannot_take_fails_the_task_in_words_and_others_go_on(
    sandbox: SmallSandbox, worker: HandWorker, data: str, words: str
) -> None:
    task = call_back(sandbox, worker, data, keccak(lenient_bytes(data)))
    other = sandbox.buy()
    worker.take(other)

    worker.await_push("PLEASE_ABORT")

    (told,) = sandbox.trouble(task)
    assert told.startswith("given up by the scheduler: its transaction `finalize` failed: ")
    assert words in told
    worker.tell(other, "COMPUTED")
