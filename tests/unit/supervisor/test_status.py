"""The report of the parent, and its words for operators and for systemd."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from iexworker.procs.context import SUPERVISOR, roles
from iexworker.shared.board import Board, State
from iexworker.shared.ring import Ring
from iexworker.shared.spans import span
from iexworker.supervisor import status
from iexworker.supervisor.report import report
from iexworker.supervisor.status import headline, render
from iexworker.web.worker_view import Source

TASK = "0x" + "ab" * 32
NOW_S = 1_700_000_000.0


@pytest.fixture
def board() -> Board:
    made = Board.create((SUPERVISOR, *roles(2)))
    for entry in made.entries():
        made.entry(entry.role).write(state=State.IDLE)
    return made


def _make_ready(board: Board) -> None:
    board.facts.set(
        started_s=NOW_S - 3700,
        ready_s=NOW_S - 3699,
        registered=True,
        last_ping_s=NOW_S - 3,
        last_ping_ok=True,
        wallet="0x" + "12" * 20,
        profile="9",
        last_block=77,
        last_block_s=NOW_S - 2,
        chain_ok=True,
        docker_ok=True,
        disk_ok=True,
        gas_ok=True,
        stake_at_risk=0,
        last_demand_s=NOW_S - 4,
        demand_text="the scheduler has no task for us",
    )


def _report(board: Board) -> dict[str, Any]:
    source = Source(board, Ring.create(2, 10), directory=Path("/"), clock=lambda: NOW_S)
    return dict(report(source, {"scheduling"}, os.getpid()))


def test_a_fresh_tree_is_not_ready_and_says_why(board: Board) -> None:
    fresh = _report(board)
    assert not fresh["ready"]
    assert status.exit_code(fresh) == 1
    text = render(fresh)
    assert "NOT READY" in text
    assert "  - scheduler: " in text
    assert "started never" in text
    assert headline(fresh).startswith("not ready: ")


def test_a_ready_worker_exits_0_and_tells_what_it_does(board: Board) -> None:
    _make_ready(board)
    board.entry("compute-1").write(state=State.BUSY, task=TASK, step="compute")
    board.facts.set(restarts={"compute-0": 2})
    ready = _report(board)
    assert ready["ready"], ready["problems"]
    assert status.exit_code(ready) == 0
    assert headline(ready) == "ready; 1 of 2 slots busy"
    lines = render(ready).splitlines()
    assert lines[0].endswith("started 1 h 1 m ago: ready")
    assert any(line.startswith("demand     4 s ago: the scheduler has no task") for line in lines)
    assert any(line.startswith("stake      none at risk") for line in lines)
    (busy,) = [line for line in lines if line.startswith("compute-1")]
    assert busy.endswith(f"compute {TASK}")
    (restarted,) = [line for line in lines if line.startswith("compute-0")]
    assert restarted.split()[-1] == "2"


def test_stake_is_not_called_safe_before_the_journal_was_read(board: Board) -> None:
    assert "stake      not known yet\n" in render(_report(board))


def test_stake_at_risk_is_told_with_its_deadline(board: Board) -> None:
    _make_ready(board)
    board.facts.set(stake_at_risk=2)
    assert "at risk in 2 contributed and not yet revealed\n" in render(_report(board))
    board.facts.set(nearest_reveal_deadline_s=NOW_S + 125)
    report_ = _report(board)
    assert "nearest reveal deadline in 2 m 5 s" in render(report_)
    assert headline(report_).endswith(", 2 at stake")


def test_each_process_says_whether_it_is_ready(board: Board) -> None:
    ready = {item["role"]: item["ready"] for item in _report(board)["processes"]}
    assert ready["scheduling"]
    assert not ready["heartbeat"]
    assert time.time() - _report(board)["processes"][0]["since_s"] < 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (4.9, "4 s"),
        (60, "1 m 0 s"),
        (3725, "1 h 2 m"),
        (90_000, "1 d 1 h"),
    ],
)
def test_spans_show_their_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_chain_with_fees_has_a_line_of_ether_and_a_deposit_in_rlc(board: Board) -> None:
    _make_ready(board)
    board.facts.set(deposit_nrlc=1_500_000_000, locked_nrlc=0)
    assert "1500000000 nRLC free" in render(_report(board))
    assert "ether" not in render(_report(board))
    board.facts.set(balance_wei=10**16, gas_wanted_text="0.00003 ether wanted", gas_note="low")
    text = render(_report(board))
    assert "deposit    1.5 RLC free, 0 RLC locked" in text
    assert "gas        0.01 ether; 0.00003 ether wanted; low" in text
