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
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import Scenario, SchedulingHarness, run_scenario


async def lost_everything(harness: SchedulingHarness) -> None:
    harness.held.add("compute")
    task = harness.grant(1)
    await harness.computes(task)
    await harness.crash()
    shutil.rmtree(harness.folder_of(task.task_id))
    harness.docker.running.clear()
    harness.held.clear()
    await harness.start()
    await harness.comes_to(task, "COMPUTED")
    assert harness.pool.scheduler.computing(harness.wallet.address) == []
    await harness.completes(task, harness.grant(2))


async def crashed_at_each_step(harness: SchedulingHarness) -> None:
    for number, step in enumerate(("app", "data", "compute"), start=1):
        harness.held.add(step)
        task = harness.grant(number)
        await harness.until(ordered(harness, step), step)
        await harness.crash()
        harness.held.clear()
        await harness.start()
        await harness.completes(task)


def ordered(harness: SchedulingHarness, step: str) -> Callable[[], bool]:
    """Return a look at whether the last order was for this step."""
    return lambda: bool(harness.orders) and harness.orders[-1].step == step


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
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
