"""H29: a `PLEASE_REVEAL` with block 0, which a recovery may bring, is refused, and the stake lost.

Ours does not look at the number: the chain shows that the task is revealing.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from iexworker.core.messages import NotificationType
from iexworker.task import lifecycle
from iexworker.task.events import Notified
from iexworker.task.replicate import Replicate
from iexworker.task.transitions import Change, abort
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import SchedulingHarness, run_scenario


async def scenario(harness: SchedulingHarness) -> None:
    harness.hears = False
    harness.node.mines = False
    task = harness.grant()
    await harness.until(lambda: bool(harness.node.asked_for), "contribution handed over")
    harness.node.sticks = True  # so that the chain alone does not bring about the reveal
    harness.node.mines = True
    await harness.comes_to(task, "CONTRIBUTED")
    harness.push(task, NotificationType.PLEASE_REVEAL, block=0)
    harness.node.sticks = False
    await harness.completes(task)


def upstream(patch: pytest.MonkeyPatch) -> None:
    notified = lifecycle._HANDLERS[Notified]

    def need_a_block(replicate: Replicate, event: Notified) -> Change:
        note = event.notification
        if note.type is NotificationType.PLEASE_REVEAL and not note.block_number:
            # CONSENSUS_BLOCK_MISSING: REVEAL_FAILED is refused, and an abort follows.
            return abort(replace(replicate, staked=False))
        return notified(replicate, event)

    patch.setitem(lifecycle._HANDLERS, Notified, need_a_block)


def test_a_reveal_without_a_block_number_is_revealed() -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
