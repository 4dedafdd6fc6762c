"""H13: a wallet that cannot pay for a reveal ends the whole process, with exit code 0.

Ours goes on with its other tasks and reveals as soon as it is given gas money.
"""

from __future__ import annotations

import pytest

from iexworker.scheduling.transactions import Handovers
from iexworker.task.replicate import Step
from tests.hazards.helpers.hazard_check import shows_teeth
from tests.hazards.helpers.scheduling_harness import Stage, leave, play


async def scenario(stage: Stage) -> None:
    stage.node.mines = False
    first = stage.grant(1)
    await stage.until(lambda: bool(stage.node.asked_for), "contribution handed over")
    stage.held.add("compute")
    second = stage.grant(2)
    await stage.computes(second)
    stage.node.sticks = True  # so that the contribution is mined and the reveal not yet due
    stage.node.mines = True
    await stage.comes_to(first, "CONTRIBUTED")
    stage.node.gas = False
    stage.node.sticks = False
    await stage.until(lambda: (first.task_id, Step.REVEAL) in stage.node.asked_for, "reveal due")
    stage.finish(0, stage.orders[-1])
    await stage.until(lambda: (second.task_id, "COMPUTED") in stage.posts, "the other goes on")
    stage.node.gas = True
    await stage.completes(first)


def upstream(patch: pytest.MonkeyPatch) -> None:
    hand_over = Handovers._persist

    async def leave_without_gas(self: Handovers, task_id: str, step: Step) -> None:
        enough_gas = self._outbox.enough_gas  # type: ignore[attr-defined]  # the gateway has it
        if step is Step.REVEAL and not await enough_gas():
            leave()
            return
        await hand_over(self, task_id, step)

    patch.setattr(Handovers, "_persist", leave_without_gas)


def test_a_reveal_that_cannot_be_paid_waits_for_money_and_the_worker_lives() -> None:
    shows_teeth(lambda: play(scenario, slots=2), upstream)
