"""H8: a chain that cannot be read counts as "final deadline passed", and updates are dropped.

Ours are sent whatever the node does, and the contribution waits for it.
"""

from __future__ import annotations

import pytest

from iexworker.errors import ChainError
from iexworker.scheduling.effects import EffectExecutor
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import SchedulingHarness, run_scenario


async def scenario(harness: SchedulingHarness) -> None:
    harness.held.add("compute")
    task = harness.grant()
    await harness.computes(task)
    harness.node.trouble = "connection refused"
    harness.finish(0, harness.orders[-1])
    await harness.comes_to(task, "COMPUTED")
    await harness.rest()
    harness.node.trouble = ""
    await harness.completes(task)


def upstream(patch: pytest.MonkeyPatch) -> None:
    dropped: set[str] = set()
    kick = EffectExecutor.kick

    async def send_before_the_deadline(self: EffectExecutor, task_id: str) -> None:
        try:
            await self._with.chain.sight(task_id)
        except ChainError:
            dropped.add(task_id)  # its chain of actions ends here
        if task_id not in dropped:
            kick(self, task_id)

    def kick_if_not_over(self: EffectExecutor, task_id: str) -> None:
        self._spawn(send_before_the_deadline(self, task_id))

    patch.setattr(EffectExecutor, "kick", kick_if_not_over)


def test_finished_work_survives_a_node_that_hiccups() -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
