"""H12: the wait for the consensus block has no end when the own node is stuck.

Ours waits for no block: it looks at task and contribution, and ends with the reveal deadline.
"""

from __future__ import annotations

import asyncio

import pytest

from iexworker.core.messages import NotificationType
from iexworker.sandbox.scheduler.models import Task
from iexworker.scheduling.effects import EffectExecutor
from iexworker.scheduling.runner import Runner
from iexworker.task.events import Notified
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import (
    POLL_S,
    Scenario,
    SchedulingHarness,
    run_scenario,
)
from tests.helpers.sandbox_pool import TIMEREF_S

NEVER = 10**9


async def asked_to_reveal(harness: SchedulingHarness) -> Task:
    """Ask for a reveal at a block that our node, which is stuck before the consensus, never has."""
    harness.hears = False
    harness.node.mines = False
    task = harness.grant(1)
    await harness.until(lambda: bool(harness.node.asked_for), "contribution handed over")
    harness.node.sticks = True
    harness.node.mines = True
    await harness.comes_to(task, "CONTRIBUTED")
    harness.push(task, NotificationType.PLEASE_REVEAL, block=NEVER)
    await harness.rest()
    return task


async def node_comes_back_in_time(harness: SchedulingHarness) -> None:
    task = await asked_to_reveal(harness)
    harness.node.sticks = False
    await harness.comes_to(task, "REVEALED")


async def node_comes_back_too_late(harness: SchedulingHarness) -> None:
    task = await asked_to_reveal(harness)
    harness.node.mines = False
    harness.pool.clock.time_s += 3 * TIMEREF_S
    harness.node.sticks = False
    await harness.until(lambda: (task.task_id, "ABORTED") in harness.posts, "ABORTED")


def upstream(patch: pytest.MonkeyPatch) -> None:
    blocks: dict[str, int] = {}
    observe, apply = EffectExecutor._observe, Runner.apply

    def note_block(self: Runner, task_id: str, event: object) -> None:
        if isinstance(event, Notified):
            blocks[task_id] = event.notification.block_number
        apply(self, task_id, event)  # type: ignore[arg-type]  # as it came

    async def observe_at_block(self: EffectExecutor, task_id: str) -> None:
        head = self._with.chain.head  # type: ignore[attr-defined]  # the harness's gateway has one
        while (await head()).number < blocks.get(task_id, 0):
            await asyncio.sleep(POLL_S)
        await observe(self, task_id)

    patch.setattr(Runner, "apply", note_block)
    patch.setattr(EffectExecutor, "_observe", observe_at_block)


@pytest.mark.parametrize(
    "scenario",
    [node_comes_back_in_time, node_comes_back_too_late],
)
def test_a_stuck_node_holds_a_reveal_no_longer_than_it_is_stuck(scenario: Scenario) -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
