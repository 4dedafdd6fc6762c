"""Paused is a state of its own, wherever somebody looks, and stays one over a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.field.helpers.running_tree import Start, running_trees
from tests.unit.helpers.web_worker import NOW_S, WebWorker


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with running_trees(tmp_path) as begin:
        yield begin


@pytest.fixture
def paused(tmp_path: Path) -> WebWorker:
    worker = WebWorker(tmp_path)
    worker.be_ready()
    worker.board.facts.set(paused=True, paused_since_s=NOW_S - 200)
    return worker


def test_the_headline_of_the_status_is_paused_and_says_since_when(start: Start) -> None:
    tree = start()
    assert tree.say("pause").stdout.startswith("paused")
    status = tree.say("status")
    assert status.returncode == 1
    first = status.stdout.splitlines()[0]
    assert ": PAUSED" in first
    assert "iexworker resume" in status.stdout
    assert tree.report()["state"] == "paused"


def test_a_paused_worker_is_still_paused_after_a_restart(start: Start) -> None:
    tree = start()
    tree.say("pause")
    since = tree.report()["facts"]["paused_since_s"]
    assert tree.stop() == 0
    again = start()
    facts = again.report()["facts"]
    assert facts["paused"]
    assert facts["paused_since_s"] == pytest.approx(since, abs=1)
    assert again.lines("demand paused", "since=")
    again.say("resume")
    assert again.stop() == 0
    assert not start().report()["facts"]["paused"]


def test_a_killed_worker_is_still_paused_too(start: Start) -> None:
    tree = start()
    tree.say("pause")
    tree.end()
    assert start(TREE_PATIENCE_S="5").report()["facts"]["paused"]


def test_resume_says_what_it_found(start: Start) -> None:
    tree = start()
    nothing = tree.say("resume")
    assert nothing.returncode == 0
    assert "was not paused" in nothing.stdout
    tree.say("pause")
    assert "already paused" in tree.say("pause").stdout
    found = tree.say("resume").stdout
    assert found.startswith("resumed after ")
    # The processes of this tree only pretend: nothing is ready to take work.
    assert "; not ready: not registered yet" in found


def test_pause_says_which_tasks_go_on(start: Start) -> None:
    tree = start(scheduling="with_tasks")
    tree.until(lambda report: bool(report["facts"]["open_tasks"]))
    told = tree.say("pause").stdout
    assert "2 tasks go on" in told
    assert "0xaaaa" in told


def test_a_pause_that_cannot_be_written_down_says_that_it_ends_with_the_worker(
    start: Start,
) -> None:
    tree = start()
    (tree.root / "paused").mkdir()
    told = tree.say("pause")
    assert told.returncode == 0
    assert "until the worker ends" in told.stdout
    assert tree.report()["facts"]["paused"]


def test_readiness_says_paused(paused: WebWorker) -> None:
    answer = paused.get("/actuator/health/readiness")
    assert answer.status_code == 503
    worker = answer.json["components"]["worker"]
    assert worker["details"]["reason"] == (
        "paused by the operator 3 m 20 s ago: `iexworker resume` asks for work again"
    )
    assert paused.get("/actuator/health/liveness").status_code == 200


def test_a_metric_says_paused(paused: WebWorker, tmp_path: Path) -> None:
    assert "\niexworker_paused 1.0\n" in paused.get("/actuator/prometheus").text
    other = WebWorker(tmp_path)
    assert "\niexworker_paused 0.0\n" in other.get("/actuator/prometheus").text


def test_the_page_says_paused(paused: WebWorker) -> None:
    page = paused.get("/").text
    assert "Paused by the operator" in page
    assert "Not ready for work" not in page
    paused.board.facts.set(docker_ok=False, docker_text="no socket")
    page = paused.get("/").text
    assert "Paused by the operator" in page
    assert "no socket" in page


def test_what_keeps_a_paused_worker_from_working_is_told_all_the_same(start: Start) -> None:
    tree = start()
    tree.say("pause")
    text = tree.say("status").stdout
    assert "PAUSED, and not ready" in text
    assert "  - scheduler: " in text
