"""H8: a chain that cannot be read counts as "final deadline passed", and updates are dropped.

Ours are sent whatever the node does, and the contribution waits for it.
"""

from __future__ import annotations

import pytest

from iexworker.errors import ChainError
from iexworker.scheduling.effects import EffectExecutor
from tests.hazards.helpers.hazard_check import shows_teeth
from tests.hazards.helpers.scheduling_harness import Stage, play


async def scenario(stage: Stage) -> None:
    stage.held.add("compute")
    task = stage.grant()
    await stage.computes(task)
    stage.node.trouble = "connection refused"
    stage.finish(0, stage.orders[-1])
    await stage.comes_to(task, "COMPUTED")
    await stage.rest()
    stage.node.trouble = ""
    await stage.completes(task)


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
    shows_teeth(lambda: play(scenario), upstream)
