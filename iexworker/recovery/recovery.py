"""Finds tasks that the journal lacks, before any work is asked for.

If the journal is new or stale, scan the chain once for this wallet's contributions.
After each reconnect, and after a lost answer, ask the scheduler for grants that we lack.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from iexworker import outage
from iexworker.errors import (
    ChainError,
    JournalDamaged,
    JournalError,
    LoginRefused,
    SchedulerError,
    Unavailable,
)
from iexworker.retry import until_it_works

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


def why_incomplete(searched: int | None, signed: int, latest: int) -> str:
    """Say why the chain may show tasks that the journal lacks, empty when it does not.

    `searched` is the wallet's transaction count when the chain was last searched, if it was;
    `signed` the highest nonce in the journal, -1 without any; `latest` the count now.
    """
    if searched is None:
        return "the journal is new here"
    if latest > max(searched, signed + 1):
        return (
            "the wallet has sent transactions that the journal does not know: the journal is an "
            "old copy, or something else uses the wallet"
        )
    return ""


@dataclass(slots=True)
class Recovery:
    """Searches until everything is found; no work is asked for meanwhile."""

    lacking: str
    """Why the journal may not know all that the chain shows; empty when it does."""
    rebuild: Work
    """Searches the chain."""
    look: Work
    """Searches the scheduler."""
    allowed: asyncio.Event
    """Set while the scheduler may be asked."""
    missed: asyncio.Event
    """Set when something may have been missed: a push, or a grant."""
    done: Work
    """Called once, after the first search."""
    _busy: bool = field(default=True)

    def obstacle(self) -> str:
        """Return why no work may be asked for, empty when nothing is being looked for."""
        waiting = self._busy or self.missed.is_set()
        return "looking for tasks that were granted before" if waiting else ""

    async def run(self) -> None:
        """Search whenever it is due, for ever."""
        if self.lacking:
            facts = {"reason": self.lacking}
            log.warning("looking for our contributions on the chain", extra=facts)
            await self._persist(self.rebuild)
        first = True
        while True:
            await self.missed.wait()
            self._busy = True
            self.missed.clear()
            await self._persist(self._look_when_allowed)
            if first:
                await self.done()
                first = False
            self._busy = False

    async def _look_when_allowed(self) -> None:
        await self.allowed.wait()
        await self.look()

    async def _persist(self, work: Work) -> None:
        errors = (Unavailable, LoginRefused, JournalError, OSError)
        with outage.trial() as trial:
            await until_it_works(work, errors, lambda error: _not_yet(error, trial))


def _not_yet(error: Exception, trial: outage.Trial) -> None:
    if isinstance(error, JournalDamaged):
        raise error  # the process restarts and sets the journal aside
    if isinstance(error, ChainError):
        trial.failed(outage.CHAIN, error)
        return
    if isinstance(error, SchedulerError | LoginRefused):
        trial.failed(outage.SCHEDULER, error)
        return
    log.warning("recovery not done yet, trying again", extra={"error": str(error)})
