"""H30: `REVEALING` before the scheduler knows the consensus takes our vote out of its count.

Ours reveals on the chain at once and holds the two statuses until the scheduler has seen it.
"""

from __future__ import annotations

import pytest

from iexworker.poco.hashing import result_hash
from iexworker.sandbox.scheduler.models import Task
from iexworker.task import lifecycle
from iexworker.task.replicate import Replicate, Update
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import SchedulingHarness, run_scenario
from tests.hazards.helpers.scripted_slot import DIGEST
from tests.helpers.sandbox_pool import BOB


async def scenario(harness: SchedulingHarness) -> None:
    task = harness.buy(trust=4)
    bob_contributes(harness, task)
    harness.take(task)
    await harness.comes_to(task, "CONTRIBUTED")
    harness.pool.chain.agree(task.task_id, 2, result_hash(task.task_id, DIGEST))
    await harness.until(lambda: harness.pool.chain.tasks[task.task_id].reveals == 1, "our reveal")
    await harness.rest()
    assert harness.statuses(task)[-1] == "CONTRIBUTED"
    harness.pass_time(40, BOB)  # in which the scheduler finds what Bob has not told it of
    await harness.comes_to(task, "REVEALED")
    harness.pool.chain.reveal(task.task_id, BOB)
    harness.pool.must_tell(task, BOB, "REVEALING", "REVEALED")
    await harness.completes(task)


def bob_contributes(harness: SchedulingHarness, task: Task) -> None:
    """Have another worker contribute the same result, and tell nobody."""
    harness.pool.join(BOB)
    harness.pool.give(task, BOB)
    harness.pool.bring(task, BOB, "CONTRIBUTING")
    harness.pool.chain.contribute(task.task_id, BOB, result_hash(task.task_id, DIGEST))


async def stuck(harness: SchedulingHarness) -> None:
    """Show what the hazard is: the task does not go on, for whichever worker."""
    task = harness.buy(trust=4)
    bob_contributes(harness, task)
    harness.take(task)
    await harness.comes_to(task, "CONTRIBUTED")
    harness.pool.chain.agree(task.task_id, 2, result_hash(task.task_id, DIGEST))
    await harness.until(lambda: "REVEALING" in harness.statuses(task), "REVEALING")
    harness.pass_time(40, BOB)
    assert task.status.value == "RUNNING"


def upstream(patch: pytest.MonkeyPatch) -> None:
    def first(replicate: Replicate) -> Update | None:
        return replicate.pending[0] if replicate.pending else None

    patch.setattr(lifecycle, "next_update", first)


def test_the_statuses_of_a_reveal_wait_until_the_scheduler_has_the_consensus() -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)


def test_a_task_whose_winner_is_revealing_too_early_stands_still() -> None:
    with pytest.MonkeyPatch.context() as patch:
        upstream(patch)
        run_scenario(stuck)
