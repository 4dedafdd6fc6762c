"""The board shows what every process does, whole, and whoever was killed while writing it."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time

import pytest

from iexworker.shared.board import LEVELS, Board, EntryView, State
from iexworker.shared.facts import OWNERS, Facts

ROLES = ("supervisor", "scheduling", "heartbeat", "compute-0", "http")


@pytest.fixture
def board() -> Board:
    return Board.create(ROLES)


def test_a_process_that_has_said_nothing_is_starting(board: Board) -> None:
    assert board.entry("compute-0").read() == EntryView(role="compute-0", state=State.STARTING)


def test_an_entry_tells_state_task_step_text_and_pid(board: Board) -> None:
    before = time.time()
    board.entry("compute-0").write(state=State.BUSY, task="0x12", step="app", text="pulls an image")
    view = board.entry("compute-0").read()
    assert (view.state, view.task, view.step, view.text, view.pid) == (
        State.BUSY,
        "0x12",
        "app",
        "pulls an image",
        os.getpid(),
    )
    assert before <= view.since_s <= time.time()


def test_what_is_not_given_stays(board: Board) -> None:
    entry = board.entry("compute-0")
    entry.write(state=State.BUSY, task="0x12")
    entry.write(step="post")
    view = entry.read()
    assert (view.state, view.task, view.step) == (State.BUSY, "0x12", "post")


def test_another_text_is_no_new_beginning(board: Board) -> None:
    entry = board.entry("compute-0")
    entry.write(state=State.BUSY, task="0x12")
    since_s = entry.read().since_s
    entry.write(text="10 %")
    assert entry.read().since_s == since_s
    entry.write(state=State.IDLE, task="")
    assert entry.read().since_s > since_s


def test_the_supervisor_may_write_for_the_dead(board: Board) -> None:
    board.entry("compute-0").write(state=State.DOWN, text="killed by signal 9", pid=0)
    view = board.entry("compute-0").read()
    assert (view.state, view.pid) == (State.DOWN, 0)


def test_a_role_that_the_board_was_not_made_for_has_no_entry(board: Board) -> None:
    with pytest.raises(KeyError):
        board.entry("compute-7")


def test_ticks_tell_the_last_turn_of_a_loop_and_are_no_change(board: Board) -> None:
    entry = board.entry("heartbeat")
    assert entry.read().tick_ns == 0
    version = board.version
    before = time.monotonic_ns()
    entry.tick()
    assert before <= entry.read().tick_ns <= time.monotonic_ns()
    assert board.version == version


def test_the_version_changes_with_each_entry_and_fact_and_only_then(board: Board) -> None:
    versions = [board.version]
    board.entry("http").write(state=State.IDLE)
    versions.append(board.version)
    board.entry("http").write(state=State.IDLE)
    assert board.version == versions[-1]
    board.facts.set(last_block=7)
    versions.append(board.version)
    board.facts.set(last_block=7)
    assert board.version == versions[-1]
    assert len(set(versions)) == 3


def test_entries_come_in_the_order_of_the_roles(board: Board) -> None:
    assert tuple(entry.role for entry in board.entries()) == ROLES


@pytest.mark.parametrize(
    "text",
    ["x" * 5000, "é" * 5000, '"' * 5000, "\\" * 5000, "\0" * 5000, "\ud800" * 5000, "😀" * 5000],
)
def test_long_texts_are_cut_and_every_record_holds_all_of_its_texts(
    board: Board, text: str
) -> None:
    board.entry("compute-0").write(state=State.BUSY, task=text, step=text, text=text)
    view = board.entry("compute-0").read()
    assert view.text.endswith("…")
    assert len(view.text.encode()) <= 240
    texts = {name for name, value in vars_of(Facts()).items() if value == ""}
    others = {name: 1e18 for name, value in vars_of(Facts()).items() if value in (None, 0)}
    board.facts.set(**dict.fromkeys(texts, text), **others)
    facts = board.facts.read()
    assert {getattr(facts, name) for name in texts} == {view.text}


def vars_of(facts: Facts) -> dict[str, object]:
    return {name: getattr(facts, name) for name in OWNERS}


def test_texts_are_one_printable_line(board: Board) -> None:
    board.facts.set(scheduler_text="401:\n\x1b[31mno\x7f such worker")
    assert board.facts.read().scheduler_text == "401:  [31mno  such worker"


def test_many_slots_have_room_for_their_restarts() -> None:
    roles = [f"compute-{slot}" for slot in range(500)]
    board = Board.create(roles)
    board.facts.set(restarts=dict.fromkeys(roles, 2**31))
    assert board.facts.read().restarts["compute-499"] == 2**31


def test_what_does_not_fit_is_refused_and_the_old_value_stays(board: Board) -> None:
    board.facts.set(restarts={"http": 1})
    with pytest.raises(ValueError, match="do not fit"):
        board.facts.set(restarts={str(number): number for number in range(5000)})
    assert board.facts.read().restarts == {"http": 1}


def test_facts_start_unknown_and_keep_what_was_set(board: Board) -> None:
    assert board.facts.read() == Facts()
    board.facts.set(last_ping_s=3.5, last_ping_ok=True, session_id="abc", http_port=13100)
    board.facts.set(docker_ok=False, docker_text="no socket")
    facts = board.facts.read()
    assert (facts.last_ping_s, facts.last_ping_ok, facts.session_id) == (3.5, True, "abc")
    assert (facts.http_port, facts.docker_ok, facts.docker_text) == (13100, False, "no socket")
    assert facts.last_block is None


def test_a_fact_that_does_not_exist_is_a_mistake_of_the_caller(board: Board) -> None:
    with pytest.raises(TypeError, match="no such fact: last_pong"):
        board.facts.set(last_pong=1)


def test_threads_of_one_process_do_not_lose_each_others_facts(board: Board) -> None:
    def count(name: str) -> None:
        for number in range(1, 501):
            board.facts.set(**{name: number})

    names = ("tx_success", "tx_failure", "tasks_open", "journal_errors")
    threads = [threading.Thread(target=count, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    facts = board.facts.read()
    assert [getattr(facts, name) for name in names] == [500] * 4


def test_log_lines_are_counted_by_level_over_all_processes(board: Board) -> None:
    for level in (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        board.entry("http").count_event(level)
    board.entry("scheduling").count_event(logging.CRITICAL)
    assert board.events() == dict(zip(LEVELS, (1, 1, 1, 1, 2), strict=True))


def test_no_reader_sees_half_a_fact_while_writers_are_killed(board: Board) -> None:
    """Two facts of one writer always agree; a killed writer leaves the value before."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    def start() -> int:
        pid = os.fork()
        if pid:
            return pid
        number = board.facts.read().tx_success
        while True:
            number += 1
            board.facts.set(tx_success=number, tx_failure=number, chain_text=str(number) * 9)

    seen = 0
    for _ in range(30):
        writer = start()
        goal = seen + chance.randint(1, 300)
        while seen < goal:
            facts = board.facts.read()
            assert facts.tx_failure == facts.tx_success >= seen
            assert facts.chain_text == ("" if not facts.tx_success else str(facts.tx_success) * 9)
            seen = facts.tx_success
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        assert board.facts.read().tx_success >= seen
