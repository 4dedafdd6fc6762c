"""Trying again: how long to pause between tries, and waits that can be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from iexworker.errors import ChainError

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0

T = TypeVar("T")
log = logging.getLogger(__name__)


def pauses() -> Iterator[float]:
    """Yield the pauses between tries: 1 s doubling to 30 s, each up to a fifth shorter."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s * random.uniform(0.8, 1.0)  # noqa: S311 - jitter, nothing secret
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def patiently(
    call: Callable[[], Awaitable[T]],
    until_s: float,
    on_error: Callable[[ChainError], None] = lambda _: None,
) -> T:
    """Try until Unix instant `until_s` while the chain does not answer; raises `ChainError`."""
    for pause_s in pauses():
        try:
            return await call()
        except ChainError as error:
            if time.time() + pause_s >= until_s:
                raise
            on_error(error)
            log.warning("chain not read, trying again", extra={"error": str(error)})
        await asyncio.sleep(pause_s)
    raise AssertionError("pauses never end")


async def wait_at_most(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, or after so many seconds; None waits for ever.

    Not `asyncio.wait_for`: until Python 3.12 that loses a cancellation that comes in the turn in
    which the event is set, and the loop goes on for ever.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
