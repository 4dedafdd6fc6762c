from __future__ import annotations

import asyncio

import pytest

from iexworker.retry import wait_at_most


def test_a_set_event_ends_the_wait() -> None:
    async def story() -> None:
        event = asyncio.Event()
        waiting = asyncio.create_task(wait_at_most(event, None))
        await asyncio.sleep(0)
        assert not waiting.done()
        event.set()
        await waiting

    asyncio.run(asyncio.wait_for(story(), 30))


def test_so_does_the_time() -> None:
    asyncio.run(asyncio.wait_for(wait_at_most(asyncio.Event(), 0.01), 30))


def test_a_cancellation_is_not_lost_to_an_event_that_is_set_with_it() -> None:
    async def story() -> None:
        event = asyncio.Event()
        waiting = asyncio.create_task(wait_at_most(event, 30))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # wait_for would be waiting in a task of its own by now
        event.set()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(story())
