"""H7: an exception inside a step ends its thread, and the replicate hangs in its `-ING`.

Ours becomes the step's failure with cause UNKNOWN; what hands a staked transaction over tries on.
"""

from __future__ import annotations

import asyncio

import pytest

from iexworker.errors import JournalError
from iexworker.scheduling import effects
from iexworker.scheduling.effects import EffectExecutor
from iexworker.scheduling.runner import Runner
from iexworker.scheduling.status_updates import StatusUpdates
from iexworker.scheduling.transactions import Handovers
from iexworker.task import lifecycle
from iexworker.task.events import Answered, DoStep, Observed
from iexworker.task.replicate import Replicate, Step, Update
from iexworker.task.transitions import Change
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import Scenario, SchedulingHarness, run_scenario


class Surprise(Exception):
    """What nobody has thought of."""


def raising(*_: object) -> object:
    raise Surprise


async def at_start(harness: SchedulingHarness) -> None:
    harness.gateway.describe = raising  # type: ignore[assignment]  # the surprise
    task = harness.grant()
    await harness.comes_to(task, "ABORTED")
    assert "START_FAILED" in harness.statuses(task)


async def before_a_computation(harness: SchedulingHarness) -> None:
    harness.held.add("data")
    task = harness.grant()
    await harness.until(lambda: len(harness.orders) == 2, "the data are ordered")
    harness.gateway.contribution_obstacles = raising  # type: ignore[assignment]  # the surprise
    harness.finish(0, harness.orders[-1])
    await harness.comes_to(task, "ABORTED")
    assert "COMPUTE_FAILED" in harness.statuses(task)


async def before_the_contribution(harness: SchedulingHarness) -> None:
    harness.gateway.enough_gas = raising  # type: ignore[assignment]  # the surprise
    task = harness.grant()
    await harness.comes_to(task, "ABORTED")
    assert (task.task_id, "CONTRIBUTE_FAILED") in harness.posts


async def on_the_way_to_the_outbox(harness: SchedulingHarness) -> None:
    transact, failures = harness.gateway.transact, []

    async def fail_once(replicate: Replicate, step: Step) -> None:
        if step not in failures:
            failures.append(step)
            raise JournalError("database or disk is full")
        await transact(replicate, step)

    harness.gateway.transact = fail_once  # type: ignore[method-assign]  # a disk that fills up
    await harness.completes(harness.grant())
    assert failures == [Step.CONTRIBUTE, Step.REVEAL]


async def at_the_upload(harness: SchedulingHarness) -> None:
    harness.upload_trouble = Surprise()
    task = harness.grant()
    await harness.comes_to(task, "RESULT_UPLOAD_FAILED")


async def at_the_purge(harness: SchedulingHarness) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "remove_tree", raising)
        task = harness.grant()
        await harness.until(lambda: harness.has_ended(task), "COMPLETED")
        await harness.comes_to(task, "COMPLETE_FAILED")


async def in_the_lifecycle(harness: SchedulingHarness) -> None:
    failures = 1

    def fail_once(replicate: Replicate, event: Observed) -> Change:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise Surprise
        return observed(replicate, event)

    observed = lifecycle._HANDLERS[Observed]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lifecycle._HANDLERS, Observed, fail_once)
        await harness.completes(harness.grant())


async def in_an_update(harness: SchedulingHarness) -> None:
    harness.post_troubles.append(Surprise())
    await harness.completes(harness.grant())
    assert len(harness.posts) == len(set(harness.posts)) + 1


def upstream(patch: pytest.MonkeyPatch) -> None:
    async def step(self: EffectExecutor, replicate: Replicate, effect: DoStep) -> None:
        done = await self._work_of(replicate, effect)
        if done is not None:
            self._runner.apply(replicate.task_id, done)

    async def hand_over(self: Handovers, task_id: str, kind: Step) -> None:
        replicate = self._find(task_id)
        assert replicate is not None
        await self._outbox.transact(replicate, kind)

    def drain(self: Runner, task_id: str) -> None:
        queue = self._waiting[task_id]
        while queue and task_id in self._replicates:
            self._take(self._replicates[task_id], queue[0])
            queue.popleft()
        self._waiting.pop(task_id, None)

    async def say(self: StatusUpdates, task_id: str, update: Update) -> Answered | None:
        try:
            answer = await self._post(task_id, update)
        except Surprise:
            await asyncio.Future()  # its thread has ended
        return Answered(update.status, answer.kind, answer.next)

    patch.setattr(EffectExecutor, "_step", step)
    patch.setattr(Runner, "_drain", drain)
    patch.setattr(StatusUpdates, "_try", say)
    patch.setattr(Handovers, "_persist", hand_over)


@pytest.mark.parametrize(
    "scenario",
    [
        at_start,
        before_a_computation,
        before_the_contribution,
        on_the_way_to_the_outbox,
        at_the_upload,
        at_the_purge,
        in_the_lifecycle,
        in_an_update,
    ],
)
def test_a_surprise_is_answered(scenario: Scenario) -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
