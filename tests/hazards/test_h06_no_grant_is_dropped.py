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
from tests.hazards.helpers.hazard_check import shows_teeth
from tests.hazards.helpers.scheduling_harness import Scenario, Stage, play


async def bad_signature(stage: Stage) -> None:
    stage.node.signer = "0x" + "99" * 20
    await answered(stage)


async def unreadable_chain(stage: Stage) -> None:
    stage.node.trouble = "no answer"
    await answered(stage)


async def unreadable_description(stage: Stage) -> None:
    task = stage.buy()
    stage.node.unknown.add(task.task_id)
    stage.take(task)
    await stage.comes_to(task, "ABORTED")
    assert "START_FAILED" in stage.statuses(task)


async def answered(stage: Stage) -> None:
    task = stage.grant()
    await stage.comes_to(task, "ABORTED")
    assert "START_FAILED" in stage.statuses(task)
    assert stage.pool.scheduler.computing(stage.wallet.address) == []
    await stage.forgets(task)


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
    shows_teeth(lambda: play(scenario), upstream)


def lost_answer(place: scheduling_process.Place) -> None:
    place.core.loses_grants = True
    task = place.buy()
    place.start()
    place.comes_to(task, "CREATED")
    place.core.loses_grants = False
    place.completes(task)


def forget_what_was_not_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(task_loop, "_GRANT_MAY_BE_LOST", ())


def test_a_grant_whose_answer_is_lost_is_looked_for() -> None:
    shows_teeth(lambda: scheduling_process.play(lost_answer), forget_what_was_not_read)
