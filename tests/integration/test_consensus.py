"""Several real workers in one pool, and results that go to a contract."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from iexworker.sandbox.chain import deals, history
from iexworker.sandbox.network.worker_env import WORKERS
from tests.helpers.live_worker import SHORT_CATEGORY, LiveSandbox, LiveWorker, eventually
from tests.integration.helpers.task_batch import TaskBatch, served

pytestmark = [
    pytest.mark.docker,
    pytest.mark.chain,
    pytest.mark.usefixtures("unmeasured"),
    pytest.mark.timeout(400),
]

PROFILES = [
    pytest.param(name, marks=pytest.mark.xdist_group(f"consensus-{name}")) for name in ("9", "8")
]

_COPY = (
    "cp /iexec_in/$IEXEC_INPUT_FILE_NAME_1 /iexec_out/r; "
    'echo "{\\"deterministic-output-path\\":\\"/iexec_out/r\\"}" >/iexec_out/computed.json'
)
_RANDOM = _COPY.replace("/iexec_in/$IEXEC_INPUT_FILE_NAME_1", "/proc/sys/kernel/random/uuid")
_CALLBACK = 'echo "{\\"callback-data\\":\\"%s\\"}" >/iexec_out/computed.json'
_DATA = "0x" + "00" * 31 + "2a"


class Pool:
    """One network with four real workers."""

    def __init__(self, batch: TaskBatch) -> None:
        self.batch = batch
        self.sandbox = batch.sandbox
        self.workers = {role: LiveWorker(self.sandbox, role) for role in WORKERS}

    def stake(self, role: str) -> tuple[int, int]:
        """Return a worker's stake, free and locked, in nRLC."""
        chain = self.sandbox.chain
        account = chain.struct("viewAccount", chain.accounts[role].address)
        return account["stake"], account["locked"]

    def took(self, task: str) -> set[str]:
        """Return the roles of the workers that the task was granted to."""
        return {role for role, one in self.workers.items() if one.lines("task granted", task)}

    def at_rest(self) -> None:
        for worker in self.workers.values():
            worker.at_rest()


@pytest.fixture(scope="module", params=PROFILES)
def pool(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pool]:
    sandbox = LiveSandbox(tmp_path_factory.mktemp("network") / "net", request.param)
    with served(tmp_path_factory.mktemp("files")) as url:
        pool = Pool(TaskBatch(sandbox, url))
        for worker in pool.workers.values():
            worker.start()
        for worker in pool.workers.values():
            worker.ready()
        yield pool
        assert [worker.stop() for worker in pool.workers.values()] == [0] * len(WORKERS)
    sandbox.close()


@contextlib.contextmanager
def unlike_the_first() -> Iterator[str]:
    """Serve a file that is another one for whoever comes first; give its URL."""
    count = itertools.count()
    lock = threading.Lock()

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                body = b"wrong" if next(count) == 0 else b"right"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/file"
    server.shutdown()
    server.server_close()
    thread.join()


def test_workers_that_agree_all_win_and_one_of_them_uploads(pool: Pool) -> None:
    stakes = {role: sum(pool.stake(role)) for role in WORKERS}
    (task,) = pool.sandbox.buy(trust=3)
    pool.sandbox.completed(task)
    pool.at_rest()
    winners = set(history.task(pool.sandbox.chain, task).winners)
    assert len(winners) >= 2
    assert winners == pool.took(task)
    ways = [pool.workers[role].statuses(task) for role in winners]
    assert all(way[-2:] == ["COMPLETING", "COMPLETED"] and "REVEALED" in way for way in ways)
    assert sum("RESULT_UPLOADED" in way for way in ways) == 1
    for role in winners:
        assert pool.stake(role)[1] == 0
        assert sum(pool.stake(role)) > stakes[role], "a winner is paid"


def test_who_is_outvoted_aborts_and_the_task_completes_without_it(pool: Pool) -> None:
    with unlike_the_first() as url:
        params = pool.batch.params(f"'{_COPY}'", iexec_input_files=[url])
        (task,) = pool.sandbox.buy(image=pool.batch.shell, params=params, trust=3)
        pool.sandbox.completed(task)
    pool.at_rest()
    found = history.task(pool.sandbox.chain, task)
    (loser,) = set(found.contributors) - set(found.winners)
    assert len(found.winners) >= 2
    assert pool.workers[loser].statuses(task)[-2:] == ["CONTRIBUTED", "ABORTED"]
    assert pool.workers[loser].lines("notified", task, "PLEASE_ABORT")
    assert not pool.workers[loser].lines("transaction signed", task, "action=reveal")
    assert [pool.stake(role)[1] for role in WORKERS] == [0] * len(WORKERS)


def test_a_result_for_a_contract_reaches_it(pool: Pool) -> None:
    wanted = pool.batch.script(_CALLBACK % _DATA)
    (task,) = pool.sandbox.buy(**wanted, callback=deals.RECEIVER)
    pool.sandbox.completed(task)
    pool.at_rest()
    chain = pool.sandbox.chain
    receiver = chain.contract("TestClient", chain.deployed["callbackReceiver"])
    assert "0x" + receiver.functions.store(bytes.fromhex(task[2:])).call().hex() == _DATA
    (role,) = pool.took(task)
    assert "RESULT_UPLOADED" in pool.workers[role].statuses(task)


@pytest.mark.parametrize("pool", PROFILES[:1], indirect=True)
def test_without_consensus_everybody_aborts_when_nobody_can_contribute_any_more(
    pool: Pool,
) -> None:
    (task,) = pool.sandbox.buy(**pool.batch.script(_RANDOM), trust=5, category=SHORT_CATEGORY)
    eventually(lambda: pool.took(task) == set(WORKERS), "all four have it", 60)
    for worker in pool.workers.values():
        with worker.explained():
            eventually(lambda w=worker: "ABORTED" in w.statuses(task), "ABORTED", 150)  # type: ignore[misc]
    pool.at_rest()
    for worker in pool.workers.values():
        way = worker.statuses(task)
        assert way[-2:] == ["CONTRIBUTED", "ABORTED"]
        assert not worker.lines("transaction signed", task, "action=reveal")
