"""H17: a purge stops at the first thing that cannot be removed, and `ABORTED` is never sent.

Ours removes everything else, and answers.
"""

from __future__ import annotations

import pytest

from iexworker.errors import Unavailable
from iexworker.sandbox.scheduler.models import Task
from iexworker.scheduling import effects
from iexworker.scheduling.effects import EffectExecutor
from iexworker.task.events import DoStep, StepDone
from iexworker.task.replicate import Replicate
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import Scenario, SchedulingHarness, run_scenario


async def docker_is_gone(harness: SchedulingHarness) -> None:
    task = await computing(harness)
    harness.docker.trouble = "connection refused"
    await aborted(harness, task)
    assert not harness.folder_of(task.task_id).exists()
    harness.docker.trouble = ""
    await harness.until(lambda: not harness.docker.running, "the container is removed after all")


async def folder_stays(harness: SchedulingHarness) -> None:
    def fail(_: object) -> None:
        raise OSError("device or resource busy")

    task = await computing(harness)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "remove_tree", fail)
        await aborted(harness, task)
    assert not harness.docker.running


async def computing(harness: SchedulingHarness) -> Task:
    harness.held.add("compute")
    task = harness.grant()
    await harness.computes(task)
    return task


async def aborted(harness: SchedulingHarness, task: Task) -> None:
    harness.push_abort(task)
    await harness.comes_to(task, "ABORTED")
    await harness.forgets(task)
    assert harness.topics == set()


def upstream(patch: pytest.MonkeyPatch) -> None:
    async def purge(self: EffectExecutor, replicate: Replicate, effect: DoStep) -> StepDone | None:
        self._with.slots.cancel(replicate.task_id)
        try:
            self._with.sweeper._containers.kill_task(replicate.task_id)
        except Unavailable:
            return None
        if not effects._delete(self._with.folder_of(replicate.task_id)):
            return None
        return StepDone(effect.step, effect.attempt, ok=True)

    patch.setattr(EffectExecutor, "_purge", purge)


@pytest.mark.parametrize(
    "scenario",
    [docker_is_gone, folder_stays],
)
def test_an_abort_is_answered_whatever_cannot_be_removed(scenario: Scenario) -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
