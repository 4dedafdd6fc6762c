"""H5: what a crash interrupted and cannot be resumed is never reported, and its slot leaks.

Ours is begun again from what is on disk, or from nothing: the slot is free again in the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from iexworker.task import lifecycle
from iexworker.task.replicate import Replicate, Step
from iexworker.task.transitions import Change
from tests.hazards.helpers.hazard_check import shows_teeth
from tests.hazards.helpers.scheduling_harness import Scenario, Stage, play


async def lost_everything(stage: Stage) -> None:
    stage.held.add("compute")
    task = stage.grant(1)
    await stage.computes(task)
    await stage.crash()
    shutil.rmtree(stage.folder_of(task.task_id))
    stage.docker.running.clear()
    stage.held.clear()
    await stage.start()
    await stage.comes_to(task, "COMPUTED")
    assert stage.pool.scheduler.computing(stage.wallet.address) == []
    await stage.completes(task, stage.grant(2))


async def crashed_at_each_step(stage: Stage) -> None:
    for number, step in enumerate(("app", "data", "compute"), start=1):
        stage.held.add(step)
        task = stage.grant(number)
        await stage.until(ordered(stage, step), step)
        await stage.crash()
        stage.held.clear()
        await stage.start()
        await stage.completes(task)


def ordered(stage: Stage, step: str) -> Callable[[], bool]:
    """Return a look at whether the last order was for this step."""
    return lambda: bool(stage.orders) and stage.orders[-1].step == step


def upstream(patch: pytest.MonkeyPatch) -> None:
    resume = lifecycle.resume

    def drop_without_archive(replicate: Replicate) -> Change:
        lost = replicate.step.rank <= Step.COMPUTE.rank
        return (replicate, ()) if lost else resume(replicate)

    patch.setattr(lifecycle, "resume", drop_without_archive)


@pytest.mark.parametrize(
    "scenario",
    [lost_everything, crashed_at_each_step],
)
def test_a_task_interrupted_before_its_result_gives_its_slot_back(scenario: Scenario) -> None:
    shows_teeth(lambda: play(scenario), upstream)
