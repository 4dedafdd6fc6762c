"""H2: eight threads shared by all steps, each held while its container runs.

Ours compute in processes of their own, and what blocks in `scheduling` has threads of its kind:
a reveal goes out while nine computations run.
"""

from __future__ import annotations

import asyncio

import pytest

from iexworker.scheduling.effects import EffectExecutor
from iexworker.scheduling.transactions import Handovers
from iexworker.task.events import DoStep
from iexworker.task.replicate import Replicate, Step, Work
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import POLL_S, SchedulingHarness, run_scenario

THREADS = 8


async def scenario(harness: SchedulingHarness) -> None:
    harness.node.mines = False
    first = harness.grant(1)
    await harness.until(lambda: bool(harness.node.asked_for), "the contribution is handed over")
    harness.held.add("compute")
    others = [harness.grant(number) for number in range(2, THREADS + 3)]
    await harness.until(lambda: len(harness.docker.running) >= THREADS - 1, "the others compute")
    harness.node.mines = True
    await harness.comes_to(first, "REVEALED")
    for task in others:
        await harness.comes_to(task, "COMPUTING")


def upstream(patch: pytest.MonkeyPatch) -> None:
    threads = asyncio.Semaphore(THREADS)
    step, hand_over = EffectExecutor._step, Handovers._persist

    def works(effects: EffectExecutor, replicate: Replicate, effect: DoStep) -> bool:
        now = effects._runner.get(replicate.task_id)
        attempt = (effect.step, effect.attempt)
        return now is not None and (now.step, now.attempt) == attempt and now.work is Work.DOING

    async def held_step(self: EffectExecutor, replicate: Replicate, effect: DoStep) -> None:
        async with threads:
            await step(self, replicate, effect)
            while works(self, replicate, effect):
                await asyncio.sleep(POLL_S)

    async def held_handover(self: Handovers, task_id: str, kind: Step) -> None:
        if kind is Step.CONTRIBUTE:
            await hand_over(self, task_id, kind)  # its step holds the thread
            return
        async with threads:
            await hand_over(self, task_id, kind)

    patch.setattr(EffectExecutor, "_step", held_step)
    patch.setattr(Handovers, "_persist", held_handover)


def test_a_reveal_goes_out_while_more_tasks_compute_than_upstream_has_threads() -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario, slots=THREADS + 2), upstream)
