"""The outbox's passes, and what their results are to the records."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

from iexworker.errors import ChainError, JournalError
from iexworker.outbox.actions import Failed, Pace, Result
from iexworker.poco.models import ActionKind, ChainReceipt
from iexworker.retry import patiently, pauses, wait_at_most
from iexworker.task import events
from iexworker.task.replicate import Step
from iexworker.task.runner import Runner

if TYPE_CHECKING:
    from iexworker.task.desk import Desk

# Reads of an outbox that has something under way. What was mined lately is looked at once a block
# for as long as a reorganisation may take it back; with neither, the loop wakes the outbox.
POLLS_PER_BLOCK = 10
IDLE_S = 15.0
_STEPS = {ActionKind.CONTRIBUTE: Step.CONTRIBUTE, ActionKind.REVEAL: Step.REVEAL}

log = logging.getLogger(__name__)


class Transactions:
    """Turns the outbox, and tells the runner what was mined and what never will be."""

    def __init__(self, desk: Desk, runner: Runner) -> None:
        self._desk = desk
        self._runner = runner

    async def run(self) -> None:
        """Make passes for ever."""
        block_s = self._desk.configuration.block_time_s
        pauses_s = {
            Pace.BUSY: max(block_s / POLLS_PER_BLOCK, 0.05),
            Pace.WATCHFUL: min(max(block_s, 1.0), IDLE_S),
            Pace.IDLE: IDLE_S,
        }
        pause = pauses()
        while True:
            self._desk.wake.clear()
            try:
                results, pace = await self._desk.turn_outbox()
            except (ChainError, JournalError) as error:
                log.error("outbox waits", extra={"error": str(error)})
                await asyncio.sleep(next(pause))
                continue
            pause = pauses()
            for result in results:
                await self._tell(result)
            await wait_at_most(self._desk.wake, pauses_s[pace])

    async def _tell(self, result: Result) -> None:
        step = _STEPS.get(result.kind)
        if step is None:
            return
        if isinstance(result, Failed):
            log.error(
                "transaction void",
                extra={"task": result.task_id, "step": step.value, "reason": result.text},
            )
            self._runner.apply(result.task_id, events.NotMined(step, result.cause))
            return
        # The outbox gives a result once: it is not lost to a node that fails just now.
        receipt = result.receipt
        if receipt is None:
            receipt = await patiently(self._receipt_by_head, math.inf)
        log.info(
            "transaction mined",
            extra={"task": result.task_id, "step": step.value, "block": receipt.block_number},
        )
        self._runner.apply(result.task_id, events.Mined(step, receipt))

    async def _receipt_by_head(self) -> ChainReceipt:
        # The contribution alone shows the action: any block from then on does for the scheduler.
        head = await self._desk.head()
        return ChainReceipt(head.number, "0x" + "00" * 32)
