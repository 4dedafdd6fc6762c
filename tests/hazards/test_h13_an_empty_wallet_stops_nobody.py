"""H13: a wallet that cannot pay for a reveal ends the whole process, with exit code 0.

Ours goes on with its other tasks and reveals as soon as it is given gas money.
"""

from __future__ import annotations

import pytest

from iexworker.scheduling.transactions import Handovers
from iexworker.task.replicate import Step
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import SchedulingHarness, leave, run_scenario


async def scenario(harness: SchedulingHarness) -> None:
    harness.node.mines = False
    first = harness.grant(1)
    await harness.until(lambda: bool(harness.node.asked_for), "contribution handed over")
    harness.held.add("compute")
    second = harness.grant(2)
    await harness.computes(second)
    harness.node.sticks = True  # so that the contribution is mined and the reveal not yet due
    harness.node.mines = True
    await harness.comes_to(first, "CONTRIBUTED")
    harness.node.gas = False
    harness.node.sticks = False
    await harness.until(
        lambda: (first.task_id, Step.REVEAL) in harness.node.asked_for, "reveal due"
    )
    harness.finish(0, harness.orders[-1])
    await harness.until(lambda: (second.task_id, "COMPUTED") in harness.posts, "the other goes on")
    harness.node.gas = True
    await harness.completes(first)


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
    fails_only_upstreams_way(lambda: run_scenario(scenario, slots=2), upstream)
