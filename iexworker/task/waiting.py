"""Waiting for an event no longer than so long, in a loop that can be cancelled."""

from __future__ import annotations

import asyncio
import contextlib


async def wait_at_most(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, or after so many seconds; None waits for ever.

    Not `asyncio.wait_for`: until Python 3.12 that loses a cancellation that comes in the turn in
    which the event is set, and the loop goes on for ever.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
