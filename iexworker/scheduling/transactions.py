"""The outbox as scheduling drives it: hands transactions over, makes passes, reports results.

Only a restart would ask for a contribution a second time, so no error ends a hand-over
(docs/spec/04, H7). Reveals are requested on every poll; at most one hand-over is in flight.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Protocol

from iexworker import outage
from iexworker.errors import ChainError, JournalError, Unavailable
from iexworker.outbox.actions import ActionFailed, Pace, Result
from iexworker.poco.models import ActionKind, ChainReceipt
from iexworker.retry import patiently, pauses, until_true, wait_at_most
from iexworker.scheduling.runner import Runner
from iexworker.task import events
from iexworker.task.replicate import Replicate, Step, Work

if TYPE_CHECKING:
    from iexworker.scheduling.chain_gateway import ChainGateway

# Reads of an outbox that has something under way. What was mined lately is looked at once a block
# for as long as a reorganisation may take it back; with neither, the loop wakes the outbox.
POLLS_PER_BLOCK = 10
IDLE_S = 15.0
_STEPS = {ActionKind.CONTRIBUTE: Step.CONTRIBUTE, ActionKind.REVEAL: Step.REVEAL}

log = logging.getLogger(__name__)


class Transactions:
    """Runs the outbox's passes, and tells the runner what was mined and what never will be."""

    def __init__(self, gateway: ChainGateway, runner: Runner) -> None:
        self._gateway = gateway
        self._runner = runner

    async def run(self) -> None:
        """Run passes for ever."""
        block_s = self._gateway.configuration.block_time_s
        pauses_s = {
            Pace.BUSY: max(block_s / POLLS_PER_BLOCK, 0.05),
            Pace.WATCHFUL: min(max(block_s, 1.0), IDLE_S),
            Pace.IDLE: IDLE_S,
        }
        pause = pauses()
        while True:
            self._gateway.wake.clear()
            try:
                results, pace = await self._gateway.turn_outbox()
            except ChainError as error:
                outage.of(outage.CHAIN).failed("outbox", error)
                await asyncio.sleep(next(pause))
                continue
            except JournalError as error:
                log.error("outbox waits", extra={"error": str(error)})
                await asyncio.sleep(next(pause))
                continue
            outage.of(outage.CHAIN).worked("outbox")
            pause = pauses()
            for result in results:
                await self._tell(result)
            await wait_at_most(self._gateway.wake, pauses_s[pace])

    async def _tell(self, result: Result) -> None:
        step = _STEPS.get(result.kind)
        if step is None:
            return
        if isinstance(result, ActionFailed):
            self._runner.apply(result.task_id, events.NotMined(step, result.cause, result.text))
            return
        # The outbox gives a result once, so wait for a node that fails just now.
        receipt = result.receipt
        if receipt is None:
            receipt = await patiently(self._receipt_by_head, math.inf)
        mined = events.Mined(step, receipt, result.gas_used, result.cost_wei)
        self._runner.apply(result.task_id, mined)

    async def _receipt_by_head(self) -> ChainReceipt:
        # The contribution alone shows the action: any block from then on does for the scheduler.
        head = await self._gateway.head()
        return ChainReceipt(head.number, "0x" + "00" * 32)


class AsyncOutbox(Protocol):
    """The outbox in its own thread; calls may raise `ChainError` and `JournalError`."""

    async def transact(self, replicate: Replicate, step: Step) -> None:
        """Accept a contribute or reveal; its result comes to the runner later."""

    async def forget(self, task_id: str) -> None:
        """Drop the rows of a task that has ended."""


class Handovers:
    """Hand-overs in flight."""

    def __init__(
        self,
        outbox: AsyncOutbox,
        find: Callable[[str], Replicate | None],
        spawn: Callable[[Coroutine[object, object, None]], None],
    ) -> None:
        self._outbox = outbox
        self._find = find
        self._spawn = spawn
        self._under_way: set[tuple[str, Step]] = set()

    def begin(self, task_id: str, step: Step) -> None:
        """Hand the task's contribute or reveal over, unless that is under way."""
        if (task_id, step) not in self._under_way:
            self._under_way.add((task_id, step))
            self._spawn(self._persist(task_id, step))

    def forget(self, task_id: str) -> None:
        """Have the outbox drop a task that has ended."""
        self._spawn(self._forget(task_id))

    async def _persist(self, task_id: str, step: Step) -> None:
        with outage.trial() as trial:
            await until_true(lambda: self._try(task_id, step, trial))
        self._under_way.discard((task_id, step))

    async def _try(self, task_id: str, step: Step, trial: outage.Trial) -> bool:
        """Return whether there is nothing left to do."""
        replicate = self._find(task_id)
        if replicate is None or not _wanted(replicate, step):
            return True
        facts = {"task": task_id, "step": step.value}
        try:
            await self._outbox.transact(replicate, step)
        except Unavailable as error:
            trial.failed(outage.CHAIN, error, task=task_id)
            return False
        except JournalError as error:
            words = {**facts, "error": str(error)}
            log.error("transaction not accepted by the outbox, trying again", extra=words)
            return False
        except Exception:
            log.exception("transaction cannot be made, trying again", extra=facts)
            return False
        return True

    async def _forget(self, task_id: str) -> None:
        try:
            await self._outbox.forget(task_id)
        except JournalError as error:
            log.warning("transactions not dropped", extra={"task": task_id, "error": str(error)})


def _wanted(replicate: Replicate, step: Step) -> bool:
    """Tell whether the task still waits for it; the chain may have decided meanwhile."""
    return replicate.staked and replicate.step is step and replicate.work is Work.DOING
