"""Tasks through the real worker: real scheduler protocol, chain, contracts, Docker, proxy."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iexworker.sandbox.chain import history
from iexworker.sandbox.proxy import result
from tests.helpers.live_worker import LiveSandbox, LiveWorker, alive, eventually

pytestmark = [
    pytest.mark.docker,
    pytest.mark.chain,
    pytest.mark.usefixtures("unmeasured"),
    pytest.mark.timeout(500),
    pytest.mark.xdist_group("worker"),
]

WHOLE_WAY = [
    "STARTING",
    "STARTED",
    "APP_DOWNLOADING",
    "APP_DOWNLOADED",
    "DATA_DOWNLOADING",
    "DATA_DOWNLOADED",
    "COMPUTING",
    "COMPUTED",
    "CONTRIBUTING",
    "CONTRIBUTED",
    "REVEALING",
    "REVEALED",
    "RESULT_UPLOADING",
    "RESULT_UPLOADED",
    "COMPLETING",
    "COMPLETED",
]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSandbox]:
    sandbox = LiveSandbox(tmp_path_factory.mktemp("network") / "net", "9")
    yield sandbox
    sandbox.close()


@pytest.fixture(params=["9", "8"])
def fresh_stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveSandbox]:
    sandbox = LiveSandbox(tmp_path / "net", request.param)
    yield sandbox
    sandbox.close()


@pytest.fixture
def worker(sandbox: LiveSandbox) -> Iterator[LiveWorker]:
    worker = LiveWorker(sandbox).start()
    yield worker.ready()
    if worker.process.poll() is None:
        worker.stop()


def test_a_task_is_computed_revealed_uploaded_and_leaves_nothing_behind(
    fresh_stage: LiveSandbox,
) -> None:
    sandbox = fresh_stage
    worker = LiveWorker(sandbox).start().ready()
    (task,) = sandbox.buy("hello there")
    sandbox.completed(task)
    worker.at_rest()
    assert worker.statuses(task) == WHOLE_WAY
    found = history.task(sandbox.chain, task)
    assert found.winners == (worker.role,)
    shown = result.show(result.fetch(sandbox.network, history.result_location(found)))
    assert "arguments: hello there" in shown
    account = sandbox.chain.struct("viewAccount", sandbox.chain.accounts[worker.role].address)
    assert account["locked"] == 0
    assert worker.stop() == 0


@pytest.mark.parametrize("role", ["heartbeat", "scheduling", "compute-0", "http"])
def test_a_killed_child_is_born_again_and_its_task_completes(
    sandbox: LiveSandbox, worker: LiveWorker, role: str
) -> None:
    (task,) = sandbox.buy("sleep=4")
    eventually(lambda: sandbox.containers(task), "the app's container")
    killed = worker.pid(role)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: worker.pid(role) not in (0, killed), f"{role} again")
    worker.ready()
    sandbox.completed(task)
    worker.at_rest()
    assert not alive(killed)


def test_a_killed_tree_leaves_no_orphan_and_its_task_completes_after_a_start(
    sandbox: LiveSandbox, worker: LiveWorker
) -> None:
    (task,) = sandbox.buy("sleep=4")
    eventually(lambda: sandbox.containers(task), "the app's container")
    pids = worker.tree()
    worker.kill()
    eventually(lambda: not any(map(alive, pids)), "no orphan", 10)
    again = LiveWorker(sandbox).start().ready()
    sandbox.completed(task)
    again.at_rest()
    assert again.stop() == 0


def test_stake_is_shown_at_risk_where_no_node_answers_after_a_start(sandbox: LiveSandbox) -> None:
    worker = LiveWorker(sandbox).start().ready()
    (task,) = sandbox.buy()
    eventually(lambda: worker.lines("transaction signed", task), "a contribution is signed")
    worker.kill()
    nowhere = "http://127.0.0.1:1"
    blind = LiveWorker(sandbox, IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS=nowhere).start()
    blind.not_ready("chain", "127.0.0.1:1")
    facts = (blind.report() or {})["facts"]
    assert (facts["tasks_open"], facts["stake_at_risk"]) == (1, 1)
    assert blind.stop() == 0
    worker.start().ready()
    sandbox.completed(task)
    worker.at_rest()
    assert worker.stop() == 0


def test_at_info_a_task_has_the_six_lines_of_the_operators_guide(sandbox: LiveSandbox) -> None:
    worker = LiveWorker(sandbox, LOGGING_LEVEL_COM_IEXEC_WORKER="INFO")
    worker.log.unlink(missing_ok=True)
    worker.start().ready()
    eventually(lambda: worker.lines("work is asked for"), "the end of the start")
    worker.log.write_text("")  # appended to by the worker: only the task's lines follow
    (task,) = sandbox.buy("hello")
    sandbox.completed(task)
    worker.at_rest()
    eventually(lambda: worker.lines("task ended"), "the end in the log")
    told = worker.lines()
    durations = metrics(worker)["appComputeDurations"]
    assert worker.stop() == 0
    assert [shape(line) for line in told] == [shape(line) for line in guide_lines(6)]
    assert all(f"task={task} " in line for line in told)
    assert not [word for word in ("None", "unknown") if word in "".join(told)]
    assert (durations["durationSamplesCount"], durations["minDuration"]) == (1, ran_ms(told[1]))
    assert f"gas={gas_used(sandbox, told[2])}\n" in f"{told[2]}\n"
    assert 'reward="0.099 RLC"' in told[-1]  # the price of a deal less the pool's share


def metrics(worker: LiveWorker) -> dict[str, Any]:
    port = (worker.report() or {})["facts"]["http_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        found: dict[str, Any] = json.loads(reply.read())
    return found


def guide_lines(count: int) -> list[str]:
    """Return the first log lines that docs/operators.md shows."""
    text = Path("docs/operators.md").read_text()
    return re.findall(r"^\S+Z [A-Z]+ .*$", text, re.MULTILINE)[:count]


def shape(line: str) -> str:
    """Return a log line without its values; of the time by step the steps stay."""
    _, _, rest = line.partition(" ")
    rest = re.sub(r"\d+\.\d\d s\b", "s", rest)
    return re.sub(r'(?<==)(?!"start)("[^"]*"|\S+)', "", rest)


def ran_ms(line: str) -> int:
    return int(re.findall(r"duration_ms=(\d+)", line)[0])


def gas_used(sandbox: LiveSandbox, line: str) -> int:
    (tx_hash,) = re.findall(r"transaction=(0x\w+)", line)
    return sandbox.chain.web3.eth.get_transaction_receipt(tx_hash)["gasUsed"]


def test_ten_tasks_run_side_by_side_on_two_slots(tmp_path: Path) -> None:
    # The app takes longer than the 5 s that the real scheduler leaves between two grants.
    sandbox = LiveSandbox(tmp_path / "net", "9", ask_period_ms=5000)
    worker = LiveWorker(sandbox, slots=2).start().ready()
    tasks = sandbox.buy("sleep=7", volume=10)
    most = 0

    def all_completed() -> bool:
        nonlocal most
        running = [item for item in sandbox.containers() if item.status == "running"]
        most = max(most, len(running))
        return all(sandbox.status(task) == "COMPLETED" for task in tasks)

    eventually(all_completed, "ten tasks COMPLETED", patience_s=200)
    worker.at_rest()
    assert most == 2
    assert worker.stop() == 0
    sandbox.close()
