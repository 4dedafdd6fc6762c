"""H6: a grant that cannot be used is dropped without a word, and its slot is gone.

Ours is answered: `START_FAILED` with the cause, which frees the slot, then `ABORTED`.
"""

from __future__ import annotations

import pytest

from iexworker.scheduling import task_loop
from iexworker.scheduling.effects import EffectExecutor
from iexworker.task.events import DoStep, StepDone
from iexworker.task.replicate import Replicate, Step
from tests.hazards.helpers import scheduling_process
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import Scenario, SchedulingHarness, run_scenario


async def bad_signature(harness: SchedulingHarness) -> None:
    harness.node.signer = "0x" + "99" * 20
    await answered(harness)


async def unreadable_chain(harness: SchedulingHarness) -> None:
    harness.node.trouble = "no answer"
    await answered(harness)


async def unreadable_description(harness: SchedulingHarness) -> None:
    task = harness.buy()
    harness.node.unknown.add(task.task_id)
    harness.take(task)
    await harness.comes_to(task, "ABORTED")
    assert "START_FAILED" in harness.statuses(task)


async def answered(harness: SchedulingHarness) -> None:
    task = harness.grant()
    await harness.comes_to(task, "ABORTED")
    assert "START_FAILED" in harness.statuses(task)
    assert harness.pool.scheduler.computing(harness.wallet.address) == []
    await harness.forgets(task)


def upstream(patch: pytest.MonkeyPatch) -> None:
    work_of = EffectExecutor._work_of

    async def drop(self: EffectExecutor, replicate: Replicate, effect: DoStep) -> StepDone | None:
        try:
            done = await work_of(self, replicate, effect)
        except Exception:  # noqa: BLE001 - whatever it is, upstream says nothing
            return None
        return done if done is None or done.ok or effect.step is not Step.START else None

    patch.setattr(EffectExecutor, "_work_of", drop)


@pytest.mark.parametrize(
    "scenario",
    [bad_signature, unreadable_chain, unreadable_description],
)
def test_a_grant_that_cannot_be_used_is_answered_and_frees_its_slot(scenario: Scenario) -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)


def lost_answer(process: scheduling_process.SchedulingProcess) -> None:
    process.core.loses_grants = True
    task = process.buy()
    process.start()
    process.comes_to(task, "CREATED")
    process.core.loses_grants = False
    process.completes(task)


def forget_what_was_not_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(task_loop, "_GRANT_MAY_BE_LOST", ())


def test_a_grant_whose_answer_is_lost_is_looked_for() -> None:
    fails_only_upstreams_way(
        lambda: scheduling_process.run_scenario(lost_answer), forget_what_was_not_read
    )
