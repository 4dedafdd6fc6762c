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
from tests.hazards.helpers.hazard_check import shows_teeth
from tests.hazards.helpers.scheduling_harness import Stage, play


async def scenario(stage: Stage) -> None:
    stage.hears = False
    stage.node.mines = False
    task = stage.grant()
    await stage.until(lambda: bool(stage.node.asked_for), "contribution handed over")
    stage.node.sticks = True  # so that the chain alone does not bring about the reveal
    stage.node.mines = True
    await stage.comes_to(task, "CONTRIBUTED")
    stage.push(task, NotificationType.PLEASE_REVEAL, block=0)
    stage.node.sticks = False
    await stage.completes(task)


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
    shows_teeth(lambda: play(scenario), upstream)
