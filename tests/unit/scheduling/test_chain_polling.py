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
    poller = ChainPoller(replicates, looks.append, 1.0)
    poller.turn(100.0)
    poller.turn(100.0 + SLOW_S - 0.1)
    assert looks == []
    poller.turn(100.0 + SLOW_S)
    poller.turn(101.0 + SLOW_S)
    assert looks == [TASK]


def test_a_task_that_has_ended_is_not_looked_at() -> None:
    looks: list[str] = []
    replicates = {TASK: FRESH}
    poller = ChainPoller(replicates, looks.append, 1.0)
    poller.turn(0.0)
    replicates.clear()
    poller.turn(1_000.0)
    assert looks == []
