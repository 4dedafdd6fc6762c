"""H31: an upload that is not done in two minutes stays RESULT_UPLOADING, and the scheduler looks
at no younger task's upload any more.

Ours uploads before any other work when it comes back, and tells `RESULT_UPLOADING`, which starts
that clock for a worker that pings, when the proxy has the result.
"""

from __future__ import annotations

import asyncio

import pytest

from iexworker.core.messages import ReplicateStatus
from iexworker.sandbox.scheduler.models import Task
from iexworker.scheduling.effects import EffectExecutor
from iexworker.task import chain_rules, lifecycle, transitions
from iexworker.task.events import DoStep
from iexworker.task.replicate import Replicate, Step, Update, Work
from iexworker.task.transitions import Change
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import POLL_S, SchedulingHarness, run_scenario
from tests.helpers.sandbox_pool import BOB, CAROL

AWAY_S = 100
CLOCK_S = 120


async def back_after_a_while(harness: SchedulingHarness) -> None:
    computing, uploading = await interrupted(harness)
    harness.pool.pass_time(AWAY_S)
    await harness.start()
    await harness.until(lambda: bool(harness.uploads), "the upload")
    harness.pass_time(CLOCK_S)
    await harness.completes(uploading)
    harness.held.clear()
    harness.finish(0, next(one for one in harness.orders if one.task_id == computing.task_id))
    await harness.completes(computing)


async def interrupted(harness: SchedulingHarness) -> tuple[Task, Task]:
    """Lose the worker while one task computes and another, younger one was asked to be uploaded."""
    harness.held.add("compute")
    computing = harness.grant(1)
    await harness.computes(computing)
    harness.held.clear()
    harness.upload_hangs = True
    uploading = harness.grant(2)
    await harness.comes_to(uploading, "RESULT_UPLOAD_REQUESTED")
    await harness.crash()
    harness.upload_hangs = False
    harness.held.add("compute")
    return computing, uploading


def one_after_the_other(patch: pytest.MonkeyPatch) -> None:
    thread = asyncio.Semaphore(1)
    step = EffectExecutor._step

    def works(effects: EffectExecutor, replicate: Replicate, effect: DoStep) -> bool:
        now = effects._runner.get(replicate.task_id)
        attempt = (effect.step, effect.attempt)
        return now is not None and (now.step, now.attempt) == attempt and now.work is Work.DOING

    async def in_turn(self: EffectExecutor, replicate: Replicate, effect: DoStep) -> None:
        async with thread:
            await step(self, replicate, effect)
            while effect.step is Step.COMPUTE and works(self, replicate, effect):
                await asyncio.sleep(POLL_S)

    patch.setattr(EffectExecutor, "_step", in_turn)


def test_an_upload_does_not_wait_for_a_computation() -> None:
    fails_only_upstreams_way(lambda: run_scenario(back_after_a_while, slots=2), one_after_the_other)


async def slow_proxy(harness: SchedulingHarness) -> None:
    harness.upload_hangs = True
    task = harness.grant()
    await harness.until(lambda: bool(harness.begun_uploads), "the upload begins")
    await harness.rest()
    harness.pass_time(CLOCK_S + 60)
    harness.upload_hangs = False
    await harness.completes(task)


def say_so_first(patch: pytest.MonkeyPatch) -> None:
    def begin_step(replicate: Replicate, step: Step) -> Change:
        replicate, effects = transitions.begin_step(replicate, step)
        if step is Step.UPLOAD:
            replicate = replicate.with_update(Update(ReplicateStatus.RESULT_UPLOADING))
        return replicate, effects

    for module in (lifecycle, chain_rules):
        patch.setattr(module, "begin_step", begin_step)


def test_an_upload_may_take_longer_than_the_schedulers_clock() -> None:
    fails_only_upstreams_way(lambda: run_scenario(slow_proxy), say_so_first)


async def stuck(harness: SchedulingHarness) -> None:
    """Show what the hazard is: an upload that timed out hides that of a younger task."""
    pool = harness.pool
    older = pool.buy(1)
    pool.join(BOB, CAROL)
    pool.give(older, BOB)
    pool.bring(older, BOB, "RESULT_UPLOADING")
    pool.pass_time(CLOCK_S + 40, pinging=(BOB,))
    assert "RESULT_UPLOAD_FAILED" in [one.status.value for one in older.replicates[BOB].history]
    younger = pool.buy(2)
    pool.give(younger, CAROL)
    pool.bring(younger, CAROL, "RESULT_UPLOADING")
    pool.pass_time(2 * CLOCK_S, pinging=(CAROL,))
    names = [one.status.value for one in younger.replicates[CAROL].history]
    assert "RESULT_UPLOAD_FAILED" not in names


def test_an_upload_that_timed_out_hides_those_of_younger_tasks() -> None:
    run_scenario(stuck)
