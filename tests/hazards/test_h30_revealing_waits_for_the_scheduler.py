"""H30: `REVEALING` before the scheduler knows the consensus takes our vote out of its count.

Ours reveals on the chain at once and holds the two statuses until the scheduler has seen it.
"""

from __future__ import annotations

import pytest

from iexworker.poco.hashing import result_hash
from iexworker.sandbox.scheduler.models import Task
from iexworker.task import lifecycle
from iexworker.task.replicate import Replicate, Update
from tests.hazards.helpers.hazard_check import shows_teeth
from tests.hazards.helpers.scheduling_harness import Stage, play
from tests.hazards.helpers.scripted_slot import DIGEST
from tests.helpers.sandbox_pool import BOB


async def scenario(stage: Stage) -> None:
    task = stage.buy(trust=4)
    bob_contributes(stage, task)
    stage.take(task)
    await stage.comes_to(task, "CONTRIBUTED")
    stage.pool.chain.agree(task.task_id, 2, result_hash(task.task_id, DIGEST))
    await stage.until(lambda: stage.pool.chain.tasks[task.task_id].reveals == 1, "our reveal")
    await stage.rest()
    assert stage.statuses(task)[-1] == "CONTRIBUTED"
    stage.pass_time(40, BOB)  # in which the scheduler finds what Bob has not told it of
    await stage.comes_to(task, "REVEALED")
    stage.pool.chain.reveal(task.task_id, BOB)
    stage.pool.must_tell(task, BOB, "REVEALING", "REVEALED")
    await stage.completes(task)


def bob_contributes(stage: Stage, task: Task) -> None:
    """Have another worker contribute the same result, and tell nobody."""
    stage.pool.join(BOB)
    stage.pool.give(task, BOB)
    stage.pool.bring(task, BOB, "CONTRIBUTING")
    stage.pool.chain.contribute(task.task_id, BOB, result_hash(task.task_id, DIGEST))


async def stuck(stage: Stage) -> None:
    """Show what the hazard is: the task does not go on, for whichever worker."""
    task = stage.buy(trust=4)
    bob_contributes(stage, task)
    stage.take(task)
    await stage.comes_to(task, "CONTRIBUTED")
    stage.pool.chain.agree(task.task_id, 2, result_hash(task.task_id, DIGEST))
    await stage.until(lambda: "REVEALING" in stage.statuses(task), "REVEALING")
    stage.pass_time(40, BOB)
    assert task.status.value == "RUNNING"


def upstream(patch: pytest.MonkeyPatch) -> None:
    def first(replicate: Replicate) -> Update | None:
        return replicate.pending[0] if replicate.pending else None

    patch.setattr(lifecycle, "next_update", first)


def test_the_statuses_of_a_reveal_wait_until_the_scheduler_has_the_consensus() -> None:
    shows_teeth(lambda: play(scenario), upstream)


def test_a_task_whose_winner_is_revealing_too_early_stands_still() -> None:
    with pytest.MonkeyPatch.context() as patch:
        upstream(patch)
        play(stuck)
