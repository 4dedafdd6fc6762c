from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from iexworker.sandbox.network import processes
from iexworker.sandbox.network.processes import Child, Records


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Child]:
    child = processes.start("sleeper", ["sleep", "60"], tmp_path / "sleeper.log")
    yield child
    child.stop()


def wait_for_log(child: Child, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in child.log_tail():
        assert time.monotonic() < deadline, child.log_tail()
        time.sleep(0.01)


def test_a_child_lives_until_it_is_stopped(sleeper: Child) -> None:
    assert sleeper.alive

    sleeper.stop()

    assert not sleeper.alive


def test_a_child_has_a_session_of_its_own(sleeper: Child) -> None:
    stat = Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()

    assert int(stat[3]) == sleeper.pid


def test_stopping_what_has_ended_does_nothing(sleeper: Child) -> None:
    sleeper.stop()

    sleeper.stop()


def test_a_process_that_got_the_pid_of_a_dead_child_is_left_alone(sleeper: Child) -> None:
    stranger = replace(sleeper, start_ticks=sleeper.start_ticks - 1)

    stranger.stop()

    assert not stranger.alive
    assert sleeper.alive


def test_a_child_that_ended_and_was_not_reaped_is_not_alive(tmp_path: Path) -> None:
    child = processes.start("quick", ["true"], tmp_path / "log")
    deadline = time.monotonic() + 10
    while child.alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert Path(f"/proc/{child.pid}").exists()
    child.stop()
    assert not Path(f"/proc/{child.pid}").exists()


def test_a_child_that_does_not_obey_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    child = processes.start("stubborn", ["sh", "-c", script], tmp_path / "log")
    wait_for_log(child, "ready")

    child.stop(timeout_s=0.2)

    assert not child.alive


def test_a_child_is_stopped_by_the_signal_it_wants(tmp_path: Path) -> None:
    script = "trap 'echo interrupted; exit' INT; echo ready; while :; do sleep 0.05; done"
    child = processes.start(
        "polite", ["sh", "-c", script], tmp_path / "log", stop_signal=signal.SIGINT
    )
    wait_for_log(child, "ready")

    child.stop()

    assert "interrupted" in child.log_tail()


def test_a_child_gets_the_environment_it_is_given(tmp_path: Path) -> None:
    child = processes.start(
        "env", ["/usr/bin/env"], tmp_path / "log", environment={"WORD": "hello"}
    )
    wait_for_log(child, "hello")
    child.stop()

    assert child.log_tail() == "WORD=hello"


def test_the_error_of_a_child_that_died_shows_its_last_words(tmp_path: Path) -> None:
    child = processes.start("loser", ["sh", "-c", "seq 100; echo alas >&2"], tmp_path / "log")
    wait_for_log(child, "alas")
    child.stop()

    told = str(child.died())

    assert "loser ended" in told
    assert told.endswith("99\n100\nalas")
    assert "\n42\n" not in told


def test_records_are_stopped_the_last_started_first(tmp_path: Path) -> None:
    records = Records(tmp_path / "children.json")
    for name in ("first", "second"):
        records.add(processes.start(name, ["sleep", "60"], tmp_path / f"{name}.log"))

    stopped = Records(tmp_path / "children.json").stop_all()

    assert [child.name for child in stopped] == ["second", "first"]
    assert not any(child.alive for child in stopped)
    assert records.all() == []


def test_records_tell_only_those_that_were_alive(tmp_path: Path) -> None:
    records = Records(tmp_path / "children.json")
    child = processes.start("gone", ["sleep", "60"], tmp_path / "log")
    records.add(child)
    child.stop()

    assert records.stop_all() == []
