"""`scripts/setup --down`, on a copy of the script with a record of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.sandbox.network import processes
from iexworker.sandbox.network.processes import Child

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".cache").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts" / "setup")
    return tmp_path


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Child]:
    child = processes.start("engine", ["sleep", "60"], tmp_path / "log")
    yield child
    child.stop()


def setup(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / "scripts" / "setup"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def record(checkout: Path, pid: int, ticks: int) -> Path:
    path = checkout / ".cache" / "dockerd.pid"
    path.write_text(f"{pid} {ticks}\n")
    return path


def test_the_engine_that_was_started_is_stopped(checkout: Path, engine: Child) -> None:
    path = record(checkout, engine.pid, engine.start_ticks)

    done = setup(checkout, "--down")

    assert f"dockerd (pid {engine.pid}) stopped" in done.stdout
    assert not engine.alive
    assert not path.exists()


def test_an_engine_with_the_recorded_pid_but_another_start_is_left_alone(
    checkout: Path, engine: Child
) -> None:
    path = record(checkout, engine.pid, engine.start_ticks - 1)

    done = setup(checkout, "--down")

    assert "nothing to stop" in done.stdout
    assert engine.alive
    assert not path.exists()


def test_without_a_record_nothing_is_stopped(checkout: Path) -> None:
    assert "nothing to stop" in setup(checkout, "--down").stdout


def test_an_unknown_word_is_answered_with_the_usage(checkout: Path) -> None:
    done = setup(checkout, "--stop")

    assert done.returncode == 1
    assert done.stderr == "setup: usage: scripts/setup [--down]\n"
