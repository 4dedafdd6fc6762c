"""Trying again: the pauses between tries, loops that try, and waits that can be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from iexworker import outage
from iexworker.errors import ChainError

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0

T = TypeVar("T")


def pauses(
    first_s: float | None = None, longest_s: float | None = None, shortened: float = 0.2
) -> Iterator[float]:
    """Yield the pauses between tries, in seconds: each doubles the last, up to the longest.

    Each is up to the part `shortened` shorter, so that the workers of a pool do not all come back
    in the same moment. The defaults are 1 s and 30 s.
    """
    pause_s = FIRST_PAUSE_S if first_s is None else first_s
    while True:
        yield pause_s * random.uniform(1.0 - shortened, 1.0)  # noqa: S311 - jitter, not secret
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S if longest_s is None else longest_s)


async def until_it_works(
    call: Callable[[], Awaitable[T]],
    errors: type[Exception] | tuple[type[Exception], ...],
    on_error: Callable[[Exception], None],
    until_s: float = math.inf,
) -> T:
    """Call until it returns; each of `errors` is told to `on_error` and followed by a pause.

    An error whose next try would begin past the Unix instant `until_s` is raised, and so is one
    that `on_error` raises.
    """
    for pause_s in pauses():
        try:
            return await call()
        except errors as error:
            if time.time() + pause_s >= until_s:
                raise
            on_error(error)
        await asyncio.sleep(pause_s)
    raise AssertionError("pauses never end")


async def until_true(attempt: Callable[[], Awaitable[bool]], *, at_once: bool = True) -> None:
    """Call until it returns True, at once or after a first pause; it raises nothing."""
    pause = pauses()
    if not at_once:
        await asyncio.sleep(next(pause))
    while not await attempt():
        await asyncio.sleep(next(pause))


async def patiently(call: Callable[[], Awaitable[T]], until_s: float) -> T:
    """Try until Unix instant `until_s` while the chain does not answer; raises `ChainError`."""
    with outage.trial() as trial:
        return await until_it_works(
            call, ChainError, lambda error: trial.failed(outage.CHAIN, error), until_s
        )


async def wait_at_most(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, or after so many seconds; None waits for ever.

    Not `asyncio.wait_for`: until Python 3.12 that loses a cancellation that comes in the turn in
    which the event is set, and the loop goes on for ever.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
