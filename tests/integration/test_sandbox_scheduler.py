"""The sandbox's scheduler and proxy on a real chain, driven over HTTP by a worker made by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from tinyworker import TinyWorker

from iexworker.sandbox import chain as sandbox_chain
from iexworker.sandbox import ports
from iexworker.sandbox.chain import LocalChain
from iexworker.sandbox.deals import Deal, Purchase, buy
from iexworker.sandbox.network import Network, Timers

pytestmark = pytest.mark.chain

HOST = "127.0.0.1"
RESULT = b"hello\n"
LINK = '{ "storage": "ipfs", "location": "%s" }'
BEFORE_COMPUTED = (
    ("STARTING", "STARTED", "PLEASE_DOWNLOAD_APP"),
    ("APP_DOWNLOADING", "APP_DOWNLOADED", "PLEASE_DOWNLOAD_DATA"),
    ("DATA_DOWNLOADING", "DATA_DOWNLOADED", "PLEASE_COMPUTE"),
)


@contextmanager
def serving(network: Network) -> Iterator[subprocess.Popen[bytes]]:
    """Run the sandbox's server as `sandbox up` does."""
    command = [sys.executable, "-m", "iexworker.sandbox.server", "--dir", network.directory]
    with (network.path / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_for_health(network, process)
        yield process
    finally:
        process.terminate()
        assert process.wait(10) == 0, (network.path / "server.log").read_text()


def wait_for_health(network: Network, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, (network.path / "server.log").read_text()
        if ports.answers(HOST, network.proxy_port):
            return
        threading.Event().wait(0.05)
    raise AssertionError("the server does not answer")


def make_network(folder: Path, profile: str, **more: object) -> Network:
    chosen = {name: ports.free(HOST) for name in ("chain", "scheduler", "config", "proxy")}
    values: dict[str, object] = {f"{name}_port": port for name, port in chosen.items()}
    values |= {"block_time_s": 0.5, "ask_period_ms": 600, "registry_port": 1} | more
    network = Network(directory=str(folder), profile=profile, listen=HOST, **values)  # type: ignore[arg-type]  # names are the fields'
    network.save()
    return network


@pytest.fixture(scope="module", params=["9", "8"])
def network(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Network]:
    timers = Timers(finalize_delay_s=0.2, poll_s=0.2, unnotified_check_s=1)
    network = make_network(tmp_path_factory.mktemp("network"), request.param, timers=timers)
    child = sandbox_chain.start(network)
    try:
        with serving(network):
            yield network
    finally:
        child.stop()


@pytest.fixture(scope="module")
def chain(network: Network) -> LocalChain:
    return LocalChain.open(network.deployed_path)


def purchase(chain: LocalChain, **more: object) -> Deal:
    params = json.dumps({"iexec_args": "x", "iexec_result_storage_provider": "ipfs"})
    return buy(chain, Purchase(image="127.0.0.1:5000/iexec/app:1.0.0", params=params, **more))  # type: ignore[arg-type]  # names are the fields'


@pytest.fixture
def worker(network: Network, chain: LocalChain) -> TinyWorker:
    worker = TinyWorker(chain, "worker1", network.scheduler_url)
    worker.login()
    worker.register()
    worker.listen()
    return worker


def compute(worker: TinyWorker, task: str) -> None:
    for before, after, answer in BEFORE_COMPUTED:
        assert worker.tell(task, before, after) == answer
    worker.tell(task, "COMPUTING")
    computed = worker.update(task, "COMPUTED", computeLogs={"stdout": "done\n"}, exitCode=0)
    assert computed.json() == "PLEASE_CONTRIBUTE"


def test_a_task_runs_from_the_deal_to_completed(
    network: Network, chain: LocalChain, worker: TinyWorker
) -> None:
    deal = purchase(chain)
    grant = worker.ask_until_granted(threading.Event())
    authorization = grant["workerpoolAuthorization"]
    task = authorization["chainTaskId"]
    assert task == deal.task_ids[0]
    assert ("dealId" in authorization) is (network.profile == "9")
    worker.subscribe(task)
    compute(worker, task)
    assert worker.tell(task, "CONTRIBUTING") == "PLEASE_CONTINUE"
    receipt = worker.contribute(authorization, RESULT)
    assert worker.update(task, "CONTRIBUTED", chainReceipt=receipt).json() == "PLEASE_WAIT"
    push = worker.await_push("PLEASE_REVEAL")
    assert push["taskNotificationExtra"]["blockNumber"] == receipt["blockNumber"]
    assert push["workersAddress"] == [worker.wallet]
    worker.tell(task, "REVEALING")
    receipt = worker.reveal(task, RESULT)
    assert worker.update(task, "REVEALED", chainReceipt=receipt).json() == "PLEASE_WAIT"
    worker.await_push("PLEASE_UPLOAD")
    worker.tell(task, "RESULT_UPLOADING")
    uploaded = worker.upload(network.proxy_url, authorization, RESULT)
    assert uploaded.status_code == 200
    location = uploaded.text
    answer = worker.update(task, "RESULT_UPLOADED", resultLink=LINK % location)
    assert answer.json() == "PLEASE_WAIT"
    assert worker.await_push("PLEASE_COMPLETE")["workersAddress"] == []
    assert worker.tell(task, "COMPLETING", "COMPLETED") == "PLEASE_WAIT"
    assert chain.task_status(task) == "COMPLETED"
    assert requests.get(network.proxy_url + location, timeout=5).content.startswith(b"PK")
    found = requests.get(f"{network.scheduler_url}/tasks/{task}", timeout=5).json()
    assert found["currentStatus"] == "COMPLETED"
    assert found["resultLink"] == LINK % location
