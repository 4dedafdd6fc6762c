"""A journal that is lost, damaged or of another host: every task is found again and completes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iexworker import wallet as wallets
from iexworker.core.client import SchedulerClient
from iexworker.core.login import Tokens
from tests.chaos.kills import TREE, Case, contributions, strike
from tests.helpers.live_worker import LiveSandbox, LiveWorker, alive, eventually

pytestmark = [
    pytest.mark.docker,
    pytest.mark.chain,
    pytest.mark.usefixtures("unmeasured"),
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("lost-journal"),
]

ONCE = {"TaskContribute": 1, "TaskReveal": 1}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSandbox]:
    sandbox = LiveSandbox(tmp_path_factory.mktemp("network") / "net", "9")
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def live(sandbox: LiveSandbox) -> Iterator[LiveWorker]:
    worker = LiveWorker(sandbox).start().ready()
    yield worker
    assert worker.stop() == 0


@pytest.fixture
def worker(live: LiveWorker) -> LiveWorker:
    """Return the worker, as the test before has left it: running, with nothing to do."""
    return live.ready()


def delete(worker: LiveWorker) -> None:
    for file in worker.root.glob("journal.sqlite*"):
        file.unlink()


def garble(worker: LiveWorker) -> None:
    # The log of a killed worker holds every page: it alone would restore the file.
    for file in worker.root.glob("journal.sqlite*"):
        file.write_bytes(b"\xa5" * 20_000)


def become_java(worker: LiveWorker) -> None:
    """Leave what a Java worker leaves: the task folder, and in it nothing of ours."""
    delete(worker)
    for file in worker.root.glob("0x*/*.json"):
        file.unlink()


def move_host(worker: LiveWorker) -> None:
    """Lose the task folders too."""
    shutil.rmtree(worker.root)


def interrupt(worker: LiveWorker, point: str, lose: Callable[[LiveWorker], None]) -> str:
    """Kill the worker at a point of a task's way, lose what is to be lost, start it again."""
    worker.log.write_text("")  # appended to by the worker: what was before is not read again
    (task,) = worker.sandbox.buy("sleep=1")
    before = worker.tree()
    assert strike(worker, task, Case(point, TREE)), worker.tail()
    eventually(lambda: not any(map(alive, before)), "no orphan", 15)
    lose(worker)
    worker.start()
    return task


def completes(worker: LiveWorker, task: str) -> None:
    """Wait for the end of the task, and see that nothing was done twice or is left."""
    sandbox = worker.sandbox
    with worker.explained():
        sandbox.completed(task, patience_s=60)
        eventually(lambda: worker.lines("task ended", task), "its answer", 60)
        worker.at_rest()
        assert contributions(sandbox, task, worker.role) == ONCE
        locked = sandbox.chain.struct("viewAccount", sandbox.chain.accounts[worker.role].address)
        assert locked["locked"] == 0


@pytest.mark.parametrize(
    ("point", "lose"),
    [
        ("compute doing", delete),
        ("COMPUTED", garble),
        ("contribute doing", delete),
        ("CONTRIBUTED", move_host),
        ("reveal doing", become_java),
        ("upload doing", move_host),
        ("RESULT_UPLOADED", delete),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value).replace(" ", "-"),
)
def test_a_task_completes_though_its_journal_is_lost(
    worker: LiveWorker, point: str, lose: Callable[[LiveWorker], None]
) -> None:
    task = interrupt(worker, point, lose)
    completes(worker, task)
    assert bool(worker.lines("journal damaged and set aside")) is (lose is garble)
    assert bool(list(worker.root.glob("journal-*.sqlite"))) is (lose is garble)
    for file in worker.root.glob("journal-*"):
        file.unlink()


def test_an_old_copy_of_the_journal_is_known_by_the_wallet_s_nonce(worker: LiveWorker) -> None:
    assert worker.stop() == 0
    yesterday = {file: file.read_bytes() for file in worker.root.glob("journal.sqlite*")}
    worker.start().ready()

    def put_back(worker: LiveWorker) -> None:
        delete(worker)
        for file, content in yesterday.items():
            file.write_bytes(content)

    task = interrupt(worker, "CONTRIBUTED", put_back)
    completes(worker, task)
    (line,) = worker.lines("looking for our contributions on the chain")
    assert "an old copy" in line


def test_a_grant_whose_answer_was_lost_is_found_again(worker: LiveWorker) -> None:
    worker.stop()  # the scheduler knows it
    (task,) = worker.sandbox.buy("sleep=1")
    client = SchedulerClient(worker.sandbox.network.scheduler_url)
    keystore = Path(worker.environment["IEXEC_WORKER_WALLET_PATH"])
    wallet = wallets.load(keystore, worker.environment["IEXEC_WORKER_WALLET_PASSWORD"])
    tokens = Tokens(client, wallet)
    eventually(lambda: tokens.with_token(lambda: client.available(1)), "a grant that we forget")
    client.close()
    worker.log.write_text("")
    completes(worker.start(), task)
    # Told of the loss, the scheduler takes every status but STARTING.
    assert worker.statuses(task)[0] == "STARTED"
