"""What an operator tells a running worker: pause, resume, drain, SIGHUP."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.live_worker import LiveSandbox, LiveWorker, eventually

pytestmark = [
    pytest.mark.docker,
    pytest.mark.chain,
    pytest.mark.usefixtures("unmeasured"),
    pytest.mark.timeout(500),
    pytest.mark.xdist_group("operator"),
]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSandbox]:
    sandbox = LiveSandbox(tmp_path_factory.mktemp("network") / "net", "9")
    yield sandbox
    sandbox.close()


def order(worker: LiveWorker, verb: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "iexworker", verb],
        env=worker.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout


def test_a_paused_worker_asks_for_nothing_until_it_is_resumed(sandbox: LiveSandbox) -> None:
    worker = LiveWorker(sandbox).start().ready()
    assert order(worker, "pause") == "paused: no new task is asked for\n"
    eventually(lambda: worker.lines("no work for now", "paused by the operator"), "the pause", 10)
    (task,) = sandbox.buy()
    worker.sandbox.chain.task_status(task)
    assert worker.lines("task granted", task) == []
    assert order(worker, "resume").startswith("resumed after ")
    sandbox.completed(task)
    worker.at_rest()
    assert worker.stop() == 0


def test_a_drain_ends_the_worker_and_the_next_start_ends_the_task(sandbox: LiveSandbox) -> None:
    worker = LiveWorker(sandbox, IEXWORKER_SHUTDOWN_GRACE="PT20S").start().ready()
    (task,) = sandbox.buy("sleep=40")
    eventually(lambda: f"{task} COMPUTING" in order(worker, "status"), "the task in the status")
    eventually(lambda: sandbox.containers(task), "the app's container")
    said = order(worker, "drain")
    assert f"{task} COMPUTING" in said
    assert said.endswith("\nstopped\n")
    assert worker.process.wait(30) == 0
    assert sandbox.containers(task) == []
    again = LiveWorker(sandbox).start().ready()
    sandbox.completed(task)
    again.at_rest()
    assert again.stop() == 0


def test_sighup_takes_up_what_a_file_says_now(sandbox: LiveSandbox, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[default]\n")
    worker = LiveWorker(sandbox, IEXWORKER_CONFIG_DIR=str(tmp_path)).start().ready()
    before = worker.pid("scheduling")
    file.write_text("[default]\ngas_price_cap = 30000000000\nwindow_size = 7\n")
    worker.process.send_signal(signal.SIGHUP)
    eventually(lambda: worker.pid("scheduling") not in (0, before), "scheduling again", 20)
    assert worker.lines("settings read again", "gas_price_cap_wei")
    assert worker.lines("setting waits for a restart", "window_size")
    worker.ready()
    (task,) = sandbox.buy()
    sandbox.completed(task)
    worker.at_rest()
    assert worker.stop() == 0


def test_a_second_sigterm_stops_at_once(sandbox: LiveSandbox) -> None:
    worker = LiveWorker(sandbox, IEXWORKER_SHUTDOWN_GRACE="PT60S").start().ready()
    (task,) = sandbox.buy("sleep=20")
    eventually(lambda: sandbox.containers(task), "the app's container")
    stops = len(worker.lines("stop asked for"))
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: len(worker.lines("stop asked for")) > stops, "the stop", 10)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(10) == 128 + signal.SIGTERM
    again = LiveWorker(sandbox).start().ready()
    sandbox.completed(task)
    again.at_rest()
    assert again.stop() == 0
