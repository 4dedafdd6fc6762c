from __future__ import annotations

from dataclasses import replace

from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import Profile
from iexworker.scheduling.chain_polling import REVEALED_S, SLOW_S, ChainPoller, look_every_s
from iexworker.task.replicate import Replicate, Step, Work

TASK = "0x" + "ab" * 32
AUTHORIZATION = WorkerpoolAuthorization(TASK, "0x" + "11" * 20, "0x" + "00" * 20, "0x", {})
FRESH = Replicate(AUTHORIZATION, Profile.V9)


def test_a_reveal_under_way_is_looked_at_several_times_a_block() -> None:
    revealing = replace(FRESH, step=Step.REVEAL)
    assert look_every_s(revealing, 5.0) == 2.5
    assert look_every_s(revealing, 0.1) == 0.5
    assert look_every_s(revealing, 60.0) == 5.0


def test_a_contribution_is_looked_at_once_a_block() -> None:
    contributed = replace(FRESH, step=Step.CONTRIBUTE, work=Work.DONE)
    assert look_every_s(contributed, 5.0) == 5.0
    assert look_every_s(contributed, 60.0) == SLOW_S


def test_a_revealed_task_is_looked_at_sooner_than_others_that_wait() -> None:
    revealed = replace(FRESH, step=Step.REVEAL, work=Work.DONE)
    assert look_every_s(revealed, 1.0) == REVEALED_S < SLOW_S


def test_a_look_is_asked_for_when_it_is_due_and_not_before() -> None:
    looks: list[str] = []
    replicates = {TASK: FRESH}
    poller = ChainPoller(replicates, looks.append, 1.0, lambda: 0.0, lambda _: 0.0)
    poller.turn(100.0)
    poller.turn(100.0 + SLOW_S - 0.1)
    assert looks == []
    poller.turn(100.0 + SLOW_S)
    poller.turn(101.0 + SLOW_S)
    assert looks == [TASK]


def test_a_task_that_has_ended_is_not_looked_at() -> None:
    looks: list[str] = []
    replicates = {TASK: FRESH}
    poller = ChainPoller(replicates, looks.append, 1.0, lambda: 0.0, lambda _: 0.0)
    poller.turn(0.0)
    replicates.clear()
    poller.turn(1_000.0)
    assert looks == []


def looks_of(returned_s: float, ends_s: float, until_s: float) -> list[float]:
    """Return when a granted task is looked at, by a poller that turns every half second."""
    looks: list[float] = []
    now_s = 0.0
    poller = ChainPoller(
        {TASK: FRESH}, lambda _: looks.append(now_s), 1.0, lambda: returned_s, lambda _: ends_s
    )
    while now_s <= until_s:
        poller.turn(now_s)
        now_s += 0.5
    return looks


def test_after_a_reconnect_a_look_is_asked_for_at_once_then_with_growing_pauses() -> None:
    assert looks_of(returned_s=100.25, ends_s=0.0, until_s=150.0)[-7:] == [
        100.5,
        101.5,
        103.0,
        106.0,
        112.0,
        124.0,
        139.0,
    ]


def test_a_look_follows_the_end_of_the_wait_for_a_push_at_once() -> None:
    assert looks_of(returned_s=-100.0, ends_s=5.0, until_s=25.0) == [5.5, 20.5]
