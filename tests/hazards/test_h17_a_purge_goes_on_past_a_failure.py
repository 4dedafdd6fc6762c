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
from tests.hazards.helpers.hazard_check import shows_teeth
from tests.hazards.helpers.scheduling_harness import Scenario, Stage, play


async def docker_is_gone(stage: Stage) -> None:
    task = await computing(stage)
    stage.docker.trouble = "connection refused"
    await aborted(stage, task)
    assert not stage.folder_of(task.task_id).exists()
    stage.docker.trouble = ""
    await stage.until(lambda: not stage.docker.running, "the container is removed after all")


async def folder_stays(stage: Stage) -> None:
    def fail(_: object) -> None:
        raise OSError("device or resource busy")

    task = await computing(stage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "remove_tree", fail)
        await aborted(stage, task)
    assert not stage.docker.running


async def computing(stage: Stage) -> Task:
    stage.held.add("compute")
    task = stage.grant()
    await stage.computes(task)
    return task


async def aborted(stage: Stage, task: Task) -> None:
    stage.push_abort(task)
    await stage.comes_to(task, "ABORTED")
    await stage.forgets(task)
    assert stage.topics == set()


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
    shows_teeth(lambda: play(scenario), upstream)
