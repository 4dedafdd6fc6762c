"""A stop says which tasks it waits for, how long yet, and what a second signal would cost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.field.helpers.running_tree import Start, running_trees

COMPUTING, CONTRIBUTED = "0x" + "aa" * 32, "0x" + "bb" * 32


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with running_trees(tmp_path) as begin:
        yield begin


def test_drain_names_the_tasks_how_long_and_what_a_second_signal_costs(start: Start) -> None:
    tree = start(scheduling="with_tasks", IEXWORKER_SHUTDOWN_GRACE="3s")
    tree.until(lambda report: len(report["facts"]["open_tasks"]) == 2)
    done = tree.say("drain")
    assert done.returncode == 0
    assert "at most 3 s for 2 tasks" in done.stdout
    (computing,) = [line for line in done.stdout.splitlines() if COMPUTING in line]
    assert "COMPUTING" in computing
    assert "computed again" in computing
    (contributed,) = [line for line in done.stdout.splitlines() if CONTRIBUTED in line]
    assert "CONTRIBUTED" in contributed
    assert "reveal deadline in " in contributed
    assert "a second SIGTERM" in done.stdout
    assert "1 contributed task is not revealed" in done.stdout
    assert done.stdout.splitlines()[-1] == "stopped"


def test_the_log_names_them_on_a_signal(start: Start) -> None:
    tree = start(scheduling="with_tasks", IEXWORKER_SHUTDOWN_GRACE="2s")
    tree.until(lambda report: len(report["facts"]["open_tasks"]) == 2)
    tree.signal(signal.SIGTERM)
    tree.until_logged("stop asked for", "signal=SIGTERM", "tasks=2", "at_risk=1", "at_most_s=2")
    tree.until_logged("stop waits for task", COMPUTING, "COMPUTING")
    tree.until_logged("stop waits for task", CONTRIBUTED, "CONTRIBUTED")
    tree.until_logged("a second signal stops at once", "not revealed")


def test_the_status_of_a_stopping_worker_says_how_long_yet(start: Start) -> None:
    tree = start(scheduling="with_tasks", IEXWORKER_SHUTDOWN_GRACE="6s")
    tree.until(lambda report: len(report["facts"]["open_tasks"]) == 2)
    tree.signal(signal.SIGTERM)
    tree.until(lambda report: bool(report["facts"]["stopping"]))
    text = tree.say("status").stdout
    assert ": STOPPING" in text.splitlines()[0]
    assert " s left" in text
    assert COMPUTING in text
    assert CONTRIBUTED in text
    again = tree.say("drain")
    assert "already stopping" in again.stdout


def test_a_drain_without_tasks_says_so(start: Start) -> None:
    told = start().say("drain").stdout
    assert "waits for no task" in told
    assert told.splitlines()[-1] == "stopped"


def test_pause_and_resume_of_a_stopping_worker_change_nothing(start: Start) -> None:
    tree = start(scheduling="with_tasks", IEXWORKER_SHUTDOWN_GRACE="6s")
    tree.signal(signal.SIGTERM)
    tree.until(lambda report: bool(report["facts"]["stopping"]))
    for verb in ("pause", "resume"):
        assert "stopping" in tree.say(verb).stderr
