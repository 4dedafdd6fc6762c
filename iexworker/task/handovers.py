"""Hands transactions to the outbox, each until it has it: a stake may hang on every one.

Nothing but a restart would ask for a contribution a second time, so no error ends a handover
(docs/spec/04, H7); a reveal is asked for at each look at the chain, and handed over once at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Protocol

from iexworker.errors import JournalError, Unavailable
from iexworker.retry import pauses
from iexworker.task.replicate import Replicate, Step, Work

log = logging.getLogger(__name__)


class Outbox(Protocol):
    """The outbox, behind its thread; calls may raise `ChainError` and `JournalError`."""

    async def transact(self, replicate: Replicate, step: Step) -> None:
        """Take a contribute or reveal; its end comes to the runner by itself."""

    async def forget(self, task_id: str) -> None:
        """Drop what is kept of a task that has ended."""


class Handovers:
    """All handovers under way."""

    def __init__(
        self,
        outbox: Outbox,
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
        pause = pauses()
        while not await self._try(task_id, step):
            await asyncio.sleep(next(pause))
        self._under_way.discard((task_id, step))

    async def _try(self, task_id: str, step: Step) -> bool:
        """Return whether there is nothing left to do."""
        replicate = self._find(task_id)
        if replicate is None or not _wanted(replicate, step):
            return True
        facts = {"task": task_id, "step": step.value}
        try:
            await self._outbox.transact(replicate, step)
        except (Unavailable, JournalError) as error:
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
    """Tell whether the task still waits for it: meanwhile the chain may have decided."""
    return replicate.staked and replicate.step is step and replicate.work is Work.DOING
