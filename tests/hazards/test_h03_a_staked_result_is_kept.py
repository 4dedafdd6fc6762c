"""H3: any failure, duplicate or refusal after the contribution ends in an abort and a purge.

The chain decides: as long as our hash can win, digest and archive stay, refused statuses are sent
again, and a reveal is tried until its deadline.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from iexworker.core.messages import NotificationType
from iexworker.sandbox.scheduler.models import Task
from iexworker.task import lifecycle
from iexworker.task.events import Event, NotMined
from iexworker.task.replicate import Replicate, Step
from iexworker.task.transitions import Change, abort
from tests.hazards.helpers.hazard_check import shows_teeth
from tests.hazards.helpers.scheduling_harness import Scenario, Stage, play


async def contributed(stage: Stage) -> Task:
    """Bring a task to the reveal, which is not mined yet."""
    task = stage.grant()
    await stage.until(lambda: bool(stage.node.asked_for), "contribution handed over")
    await stage.comes_to(task, "CONTRIBUTED")
    stage.node.mines = False
    return task


async def abort_without_reason(stage: Stage) -> None:
    stage.node.mines = False
    task = stage.grant()
    await stage.until(lambda: bool(stage.node.asked_for), "contribution handed over")
    stage.push(task, NotificationType.PLEASE_ABORT)
    await stage.rest()
    stage.node.mines = True
    await stage.completes(task)


async def refused_contributed(stage: Stage) -> None:
    stage.refuses.add("CONTRIBUTED")
    task = stage.grant()
    await stage.until(lambda: stage.posts.count((task.task_id, "CONTRIBUTED")) > 1, "sent again")
    stage.refuses.clear()
    await stage.completes(task)


async def refused_revealed(stage: Stage) -> None:
    stage.refuses.add("REVEALED")
    task = stage.grant()
    await stage.until(lambda: stage.posts.count((task.task_id, "REVEALED")) > 1, "sent again")
    stage.refuses.clear()
    await stage.completes(task)


async def duplicate_reveal(stage: Stage) -> None:
    stage.upload_hangs = True
    task = stage.grant()
    await stage.until(lambda: bool(stage.begun_uploads), "the upload begins")
    stage.push(task, NotificationType.PLEASE_REVEAL)
    await stage.rest()
    stage.upload_hangs = False
    await stage.completes(task)


async def failed_reveal(stage: Stage) -> None:
    task = await contributed(stage)
    stage.runner.apply(task.task_id, NotMined(Step.REVEAL, "CHAIN_RECEIPT_NOT_VALID"))
    stage.node.mines = True
    await stage.completes(task)


def upstream(patch: pytest.MonkeyPatch) -> None:
    def give_up(replicate: Replicate, _: object = None) -> Change:
        return abort(replace(replicate, staked=False))

    please_reveal = lifecycle._ON_TOPIC[NotificationType.PLEASE_REVEAL]

    def reveal_once(replicate: Replicate) -> Change:
        return give_up(replicate) if replicate.revealed else please_reveal(replicate)

    def not_mined(replicate: Replicate, event: Event) -> Change:
        return give_up(replicate)  # REVEAL_FAILED is refused, and the answer is PLEASE_ABORT

    patch.setattr(lifecycle, "_INSISTED", frozenset())
    patch.setattr(lifecycle, "_asked_to_abort", give_up)
    patch.setitem(lifecycle._ON_TOPIC, NotificationType.PLEASE_REVEAL, reveal_once)
    patch.setitem(lifecycle._HANDLERS, NotMined, not_mined)


@pytest.mark.parametrize(
    "scenario",
    [abort_without_reason, refused_contributed, refused_revealed, duplicate_reveal, failed_reveal],
)
def test_a_contributed_task_completes_all_the_same(scenario: Scenario) -> None:
    shows_teeth(lambda: play(scenario), upstream)
