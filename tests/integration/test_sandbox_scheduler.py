"""The sandbox's scheduler and proxy on a real chain, driven over HTTP by a worker made by hand."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from iexworker.sandbox.chain import chain as sandbox_chain
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.chain.deals import Purchase, buy
from iexworker.sandbox.network.network import Network
from iexworker.sandbox.network.processes import Child
from tests.helpers.minimal_worker import MinimalWorker
from tests.helpers.sandbox_server import CATEGORIES, TIMERS, SandboxServer, make_network

pytestmark = pytest.mark.chain

PROFILES = [
    pytest.param(name, marks=pytest.mark.xdist_group(f"sandbox-{name}")) for name in ("9", "8")
]
RESULT = b"hello\n"
Grant = dict[str, Any]
LINK = '{ "storage": "ipfs", "location": "%s" }'
BEFORE_COMPUTED = (
    ("STARTING", "STARTED", "PLEASE_DOWNLOAD_APP"),
    ("APP_DOWNLOADING", "APP_DOWNLOADED", "PLEASE_DOWNLOAD_DATA"),
    ("DATA_DOWNLOADING", "DATA_DOWNLOADED", "PLEASE_COMPUTE"),
)


@pytest.fixture(scope="module", params=PROFILES)
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Network, Child]]:
    network = make_network(tmp_path_factory.mktemp("network"), request.param, timers=TIMERS)
    child = sandbox_chain.start(network, CATEGORIES)
    try:
        yield network, child
    finally:
        child.stop()


@pytest.fixture(scope="module")
def server(node: tuple[Network, Child]) -> Iterator[SandboxServer]:
    server = SandboxServer(node[0])
    yield server
    server.stop()


@pytest.fixture(scope="module")
def network(node: tuple[Network, Child], server: SandboxServer) -> Network:
    return node[0]


@pytest.fixture(scope="module")
def chain(network: Network) -> LocalChain:
    return LocalChain.open(network.deployed_path)


def purchase(chain: LocalChain, **more: object) -> str:
    """Buy one task; return its id."""
    params = json.dumps({"iexec_args": "x", "iexec_result_storage_provider": "ipfs"})
    image = "127.0.0.1:5000/iexec/app:1.0.0"
    return buy(chain, Purchase(image=image, params=params, **more)).task_ids[0]  # type: ignore[arg-type]  # names are the fields'


def join(network: Network, chain: LocalChain, role: str) -> MinimalWorker:
    worker = MinimalWorker(chain, role, network.scheduler_url)
    worker.login()
    worker.register(slots=8)
    worker.listen()
    return worker


@pytest.fixture
def workers(network: Network, chain: LocalChain) -> Iterator[list[MinimalWorker]]:
    """Three workers that ping; they leave at the end, so that the next test's are new."""
    joined = [join(network, chain, f"worker{number}") for number in (1, 2, 3)]
    yield joined
    for one in joined:
        one.leave()


@pytest.fixture
def worker(workers: list[MinimalWorker]) -> MinimalWorker:
    return workers[0]


def compute(worker: MinimalWorker, task: str) -> None:
    for before, after, answer in BEFORE_COMPUTED:
        assert worker.tell(task, before, after) == answer
    worker.tell(task, "COMPUTING")
    computed = worker.update(task, "COMPUTED", computeLogs={"stdout": "done\n"}, exitCode=0)
    assert computed.json() == "PLEASE_CONTRIBUTE"


def take(worker: MinimalWorker, task: str) -> Grant:
    """Get exactly this task and compute it."""
    grant: Grant = worker.ask_until_granted()["workerpoolAuthorization"]
    assert grant["chainTaskId"] == task
    worker.subscribe(task)
    compute(worker, task)
    return grant


def contribute(worker: MinimalWorker, grant: Grant, result: bytes = RESULT) -> int:
    """Contribute on chain, then tell; return the block."""
    task = grant["chainTaskId"]
    assert worker.tell(task, "CONTRIBUTING") == "PLEASE_CONTINUE"
    receipt = worker.contribute(grant, result)
    assert worker.update(task, "CONTRIBUTED", chainReceipt=receipt).json() == "PLEASE_WAIT"
    return int(str(receipt["blockNumber"]))


def reveal(worker: MinimalWorker, task: str, result: bytes = RESULT) -> None:
    worker.tell(task, "REVEALING")
    receipt = worker.reveal(task, result)
    assert worker.update(task, "REVEALED", chainReceipt=receipt).json() == "PLEASE_WAIT"


def upload(network: Network, worker: MinimalWorker, grant: Grant) -> str:
    """Upload and tell; return the location."""
    task = grant["chainTaskId"]
    worker.tell(task, "RESULT_UPLOADING")
    answer = worker.upload(network.proxy_url, grant, RESULT)
    assert answer.status_code == 200
    told = worker.update(task, "RESULT_UPLOADED", resultLink=LINK % answer.text)
    assert told.json() == "PLEASE_WAIT"
    return answer.text


def shown(network: Network, task: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{network.scheduler_url}/tasks/{task}", timeout=5).json()
    return found


def await_state(network: Network, task: str, role: str, name: str) -> dict[str, Any]:
    """Wait until a task, or one of its replicates, has a state in its history."""
    for _ in range(300):
        found = shown(network, task)
        lists = [found["dateStatusList"], *(one["statusUpdateList"] for one in found["replicates"])]
        chosen = lists[:1] if role == "task" else lists[1:]
        if any(one["status"] == name for each in chosen for one in each):
            return found
        threading.Event().wait(0.1)
    raise AssertionError(f"{name} did not come: {found}")


def test_a_task_runs_from_the_deal_to_completed(
    network: Network, chain: LocalChain, worker: MinimalWorker
) -> None:
    task = purchase(chain)
    grant = take(worker, task)
    assert ("dealId" in grant) is (network.profile == "9")
    block = contribute(worker, grant)
    push = worker.await_push("PLEASE_REVEAL")
    assert push["taskNotificationExtra"]["blockNumber"] == block
    assert push["workersAddress"] == [worker.wallet]
    reveal(worker, task)
    worker.await_push("PLEASE_UPLOAD")
    location = upload(network, worker, grant)
    assert worker.await_push("PLEASE_COMPLETE")["workersAddress"] == []
    assert worker.tell(task, "COMPLETING", "COMPLETED") == "PLEASE_WAIT"
    assert chain.task_status(task) == "COMPLETED"
    assert requests.get(network.proxy_url + location, timeout=5).content.startswith(b"PK")
    found = shown(network, task)
    assert found["currentStatus"] == "COMPLETED"
    assert found["resultLink"] == LINK % location
    assert found["initializationBlockNumber"] > 0


def test_what_the_chain_does_not_show_is_refused(
    network: Network, chain: LocalChain, worker: MinimalWorker
) -> None:
    grant = take(worker, purchase(chain))
    task = grant["chainTaskId"]
    assert worker.upload(network.proxy_url, grant, RESULT).status_code == 401
    contribute(worker, grant)
    worker.await_push("PLEASE_REVEAL")
    assert worker.upload(network.proxy_url, grant, RESULT).status_code == 401
    reveal(worker, task)
    worker.await_push("PLEASE_UPLOAD")
    assert worker.upload(network.proxy_url, grant, b"another result").status_code == 401
    link = LINK % "/ipfs/Qm"
    worker.tell(task, "RESULT_UPLOADING")
    assert worker.update(task, "RESULT_UPLOADED", resultLink=link).status_code == 202
    assert worker.update(task, "RESULT_UPLOADING").status_code == 208
    assert worker.upload(network.proxy_url, grant, RESULT).status_code == 200
    assert worker.upload(network.proxy_url, grant, RESULT).status_code == 401
    assert worker.update(task, "RESULT_UPLOADED", resultLink=link).status_code == 200
    worker.await_push("PLEASE_COMPLETE")


def test_two_workers_agree_at_trust_3_and_a_third_is_not_asked(
    network: Network, chain: LocalChain, workers: list[MinimalWorker]
) -> None:
    task = purchase(chain, trust=3)
    first, second, third = workers
    grants = [take(first, task), take(second, task)]
    assert third.ask().status_code == 204
    for worker, grant in zip((first, second), grants, strict=True):
        contribute(worker, grant)
    for worker in (first, second):
        assert set(worker.await_push("PLEASE_REVEAL")["workersAddress"]) == {
            first.wallet,
            second.wallet,
        }
    reveal(second, task)
    assert second.await_push("PLEASE_UPLOAD")["workersAddress"] == [second.wallet]
    upload(network, second, grants[1])
    found = await_state(network, task, "task", "RESULT_UPLOADED")
    assert found["currentStatus"] == "RESULT_UPLOADED"
    reveal(first, task)
    second.await_push("PLEASE_COMPLETE")
    first.tell(task, "COMPLETING", "COMPLETED")
    assert chain.task_status(task) == "COMPLETED"


def test_a_worker_that_is_outvoted_is_told_to_abort(
    network: Network, chain: LocalChain, workers: list[MinimalWorker]
) -> None:
    task = purchase(chain, trust=3)
    wrong, second, third = workers
    grants = [take(wrong, task), take(second, task)]
    contribute(wrong, grants[0], b"wrong")
    contribute(second, grants[1])
    grants.append(take(third, task))
    contribute(third, grants[2])
    fourth = join(network, chain, "worker4")
    contribute(fourth, take(fourth, task))
    abort = wrong.await_push("PLEASE_ABORT", skip=("PLEASE_REVEAL",))
    assert wrong.wallet in abort["workersAddress"]
    assert abort["taskAbortCause"] == "CONSENSUS_REACHED"
    aborted = wrong.update(task, "ABORTED", cause="CONSENSUS_REACHED")
    assert (aborted.status_code, aborted.content) == (200, b"")
    fourth.leave()


def test_without_consensus_a_task_fails_at_its_contribution_deadline(
    network: Network, chain: LocalChain, workers: list[MinimalWorker]
) -> None:
    task = purchase(chain, trust=5, category=len(CATEGORIES) - 1)
    for number, worker in enumerate(workers[:2]):
        contribute(worker, take(worker, task), b"different %d" % number)
    found = await_state(network, task, "task", "FAILED")
    assert found["dateStatusList"][-2]["status"] == "CONTRIBUTION_TIMEOUT"
    timeout = workers[0].await_push("PLEASE_ABORT")
    assert timeout["taskAbortCause"] == "CONTRIBUTION_TIMEOUT"
    assert workers[0].await_push("PLEASE_ABORT")["workersAddress"] == []
    assert workers[0].computing() == []


def test_who_does_not_reveal_in_time_fails_and_the_task_ends_at_its_final_deadline(
    network: Network, chain: LocalChain, worker: MinimalWorker
) -> None:
    task = purchase(chain, category=len(CATEGORIES) - 1)
    contribute(worker, take(worker, task))
    worker.await_push("PLEASE_REVEAL")
    await_state(network, task, "replicate", "FAILED")
    assert worker.update(task, "REVEALING").status_code == 202
    await_state(network, task, "task", "FAILED")
    assert worker.await_push("PLEASE_ABORT")["taskAbortCause"] == "UNKNOWN"


def test_what_a_worker_did_not_tell_is_found_on_chain(
    network: Network, chain: LocalChain, worker: MinimalWorker
) -> None:
    grant = take(worker, purchase(chain))
    task = grant["chainTaskId"]
    worker.tell(task, "CONTRIBUTING")
    worker.contribute(grant, RESULT)
    worker.await_push("PLEASE_REVEAL")
    assert worker.update(task, "CONTRIBUTED").status_code == 208
    worker.tell(task, "REVEALING")
    worker.reveal(task, RESULT)
    worker.await_push("PLEASE_UPLOAD")
    upload(network, worker, grant)
    worker.await_push("PLEASE_COMPLETE")


def test_a_worker_that_is_lost_may_return(
    network: Network, chain: LocalChain, worker: MinimalWorker
) -> None:
    grant = take(worker, purchase(chain))
    task = grant["chainTaskId"]
    worker.stop_pinging()
    await_state(network, task, "replicate", "WORKER_LOST")
    missed = {one["chainTaskId"]: one["taskNotificationType"] for one in worker.interrupted()}
    assert missed[task] == "PLEASE_CONTRIBUTE"
    contribute(worker, grant)
    worker.await_push("PLEASE_REVEAL")
    reveal(worker, task)
    worker.await_push("PLEASE_UPLOAD")
    upload(network, worker, grant)
    worker.await_push("PLEASE_COMPLETE")
    states = [one["status"] for one in shown(network, task)["replicates"][0]["statusUpdateList"]]
    assert states[9:12] == ["WORKER_LOST", "RECOVERING", "CONTRIBUTING"]


def test_a_callback_reaches_its_contract(
    network: Network, chain: LocalChain, worker: MinimalWorker
) -> None:
    data = "0x" + "00" * 31 + "2a"
    task = purchase(chain, callback="receiver")
    grant = take(worker, task)
    worker.tell(task, "CONTRIBUTING")
    digest = bytes(chain.web3.keccak(hexstr=data))
    receipt = worker.contribute_digest(grant, digest)
    assert worker.update(task, "CONTRIBUTED", chainReceipt=receipt).json() == "PLEASE_WAIT"
    worker.await_push("PLEASE_REVEAL")
    worker.tell(task, "REVEALING")
    receipt = worker.reveal_digest(task, digest)
    assert worker.update(task, "REVEALED", chainReceipt=receipt).json() == "PLEASE_WAIT"
    worker.await_push("PLEASE_UPLOAD")
    worker.tell(task, "RESULT_UPLOADING")
    link = '{ "storage": "ethereum", "location": "0x" }'
    assert worker.update(task, "RESULT_UPLOADED", resultLink=link).status_code == 202
    told = worker.update(task, "RESULT_UPLOADED", resultLink=link, chainCallbackData=data)
    assert told.status_code == 200
    worker.await_push("PLEASE_COMPLETE")
    receiver = chain.contract("TestClient", chain.deployed["callbackReceiver"])
    stored = receiver.functions.store(bytes.fromhex(task[2:])).call()
    assert stored.hex() == data[2:]


def test_everything_but_tokens_and_sessions_outlives_a_kill(
    network: Network, chain: LocalChain, server: SandboxServer
) -> None:
    worker = join(network, chain, "worker4")
    task = purchase(chain)
    grant = take(worker, task)
    contribute(worker, grant)
    worker.await_push("PLEASE_REVEAL")
    token = worker.token(network.proxy_url, grant).text
    server.kill()
    worker.leave()
    server.start()
    assert worker.ping().status_code == 401
    assert worker.interrupted_answer().status_code == 401
    again = MinimalWorker(chain, "worker4", network.scheduler_url)
    again.login()
    again.listen()
    again.subscribe(task)
    assert again.update_in_service(task, "CONTRIBUTED").status_code == 208
    reveal(again, task)
    again.await_push("PLEASE_UPLOAD")
    assert again.token(network.proxy_url, grant).text == token
    upload(network, again, grant)
    again.await_push("PLEASE_COMPLETE")
    assert chain.task_status(task) == "COMPLETED"
    again.leave()


def test_pings_and_heartbeats_go_on_while_the_chain_hangs(
    node: tuple[Network, Child], network: Network, worker: MinimalWorker
) -> None:
    _, child = node
    os.kill(child.pid, signal.SIGSTOP)
    try:
        beats = worker.heartbeats
        until_s = time.monotonic() + 30
        while worker.heartbeats == beats:
            assert worker.ping().status_code == 200
            assert time.monotonic() < until_s, "no heartbeat on the stream"
            threading.Event().wait(0.2)
    finally:
        os.kill(child.pid, signal.SIGCONT)


def test_the_configuration_server_tells_the_chain(network: Network, chain: LocalChain) -> None:
    found = requests.get(f"{network.config_url}/config/chain", timeout=5).json()
    assert found == chain.deployed["chainConfig"]


def test_sigterm_ends_the_server_while_a_stream_is_open(
    network: Network, worker: MinimalWorker, server: SandboxServer
) -> None:
    assert server.stop() == 0
    server.start()
    assert worker.ping().status_code == 401
