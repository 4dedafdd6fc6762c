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
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import Scenario, SchedulingHarness, run_scenario


async def contributed(harness: SchedulingHarness) -> Task:
    """Bring a task to the reveal, which is not mined yet."""
    task = harness.grant()
    await harness.until(lambda: bool(harness.node.asked_for), "contribution handed over")
    await harness.comes_to(task, "CONTRIBUTED")
    harness.node.mines = False
    return task


async def abort_without_reason(harness: SchedulingHarness) -> None:
    harness.node.mines = False
    task = harness.grant()
    await harness.until(lambda: bool(harness.node.asked_for), "contribution handed over")
    harness.push(task, NotificationType.PLEASE_ABORT)
    await harness.rest()
    harness.node.mines = True
    await harness.completes(task)


async def refused_contributed(harness: SchedulingHarness) -> None:
    harness.refuses.add("CONTRIBUTED")
    task = harness.grant()
    await harness.until(
        lambda: harness.posts.count((task.task_id, "CONTRIBUTED")) > 1, "sent again"
    )
    harness.refuses.clear()
    await harness.completes(task)


async def refused_revealed(harness: SchedulingHarness) -> None:
    harness.refuses.add("REVEALED")
    task = harness.grant()
    await harness.until(lambda: harness.posts.count((task.task_id, "REVEALED")) > 1, "sent again")
    harness.refuses.clear()
    await harness.completes(task)


async def duplicate_reveal(harness: SchedulingHarness) -> None:
    harness.upload_hangs = True
    task = harness.grant()
    await harness.until(lambda: bool(harness.begun_uploads), "the upload begins")
    harness.push(task, NotificationType.PLEASE_REVEAL)
    await harness.rest()
    harness.upload_hangs = False
    await harness.completes(task)


async def failed_reveal(harness: SchedulingHarness) -> None:
    task = await contributed(harness)
    harness.runner.apply(task.task_id, NotMined(Step.REVEAL, "CHAIN_RECEIPT_NOT_VALID"))
    harness.node.mines = True
    await harness.completes(task)


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
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
