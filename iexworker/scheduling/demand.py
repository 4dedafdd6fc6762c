"""Asks for work when nothing forbids it, and says in words what does (docs/spec/04, section 3)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from iexworker.core.messages import Grant
from iexworker.errors import JournalError, LoginRefused, SchedulerError, Unauthorized

LOOK_AGAIN_S = 0.25
"""Between two checks of the obstacles: a check costs nothing, an idle slot does."""
NOTHING = "the scheduler has no task for this worker now"

log = logging.getLogger(__name__)

Obstacle = Callable[[], str]
"""Returns why no work can be asked for, empty if it can."""


@dataclass(frozen=True, slots=True)
class Market:
    """What the demand needs of the rest."""

    obstacles: Sequence[Obstacle]
    """In the order in which an operator would look at them."""
    busy: Obstacle
    """What keeps a worker from asking that is as it should be."""
    period_s: Callable[[], float]
    ask: Callable[[], Awaitable[Grant | None]]
    take: Callable[[Grant], None]
    report: Callable[[float | None, str], None]
    """Takes the instant of a request that was made, and the words for the operator."""
    pass_on: Callable[[], None]
    """Told when the scheduler refused our token."""


class Demand:
    """One request at a time, every period, counted from the end of the last one."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._said = ""
        self._kept_away = False

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            obstacle, busy = self._obstacle(), self._market.busy()
            if obstacle or busy:
                self._report(None, obstacle or busy, usual=not obstacle)
                await asyncio.sleep(min(LOOK_AGAIN_S, self._market.period_s()))
            else:
                asked_s = time.time()
                words = await self._ask()
                self._report(asked_s, words, usual=words in ("", NOTHING))
                await asyncio.sleep(self._market.period_s())

    def _obstacle(self) -> str:
        return next(filter(None, (look() for look in self._market.obstacles)), "")

    async def _ask(self) -> str:
        try:
            grant = await self._market.ask()
            if grant is None:
                return NOTHING
            self._market.take(grant)
        except Unauthorized as error:
            self._market.pass_on()
            return f"the scheduler does not take our token: {error}"
        except (SchedulerError, LoginRefused) as error:
            return f"no answer to the request for work: {error}"
        except JournalError as error:
            # Granted but not on disk: recovery finds it at the scheduler.
            log.error("grant not journalled", extra={"error": str(error)})
            return str(error)
        return ""

    def _report(self, asked_s: float | None, words: str, *, usual: bool) -> None:
        if words != self._said:
            self._said = words
            self._log(words, usual=usual)
        self._market.report(asked_s, words)

    def _log(self, words: str, *, usual: bool) -> None:
        """Log what keeps work away, and when it is gone; what is usual is for developers."""
        if not usual:
            log.info("no work for now", extra={"reason": words})
        elif self._kept_away:
            log.info("work is asked for")
        else:
            log.debug("demand", extra={"reason": words or None})
        self._kept_away = not usual
