"""H22: the flag "connected" is tested outside the lock: a wake-up between test and wait is lost.

Ours is an event of one loop, set from there alone: whenever the channel opens, what waits is sent.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iexworker.core.client import SchedulerClient
from iexworker.procs.context import roles
from iexworker.scheduling.connection import Connection, SchedulerLink
from iexworker.scheduling.status_updates import StatusUpdates
from iexworker.shared.board import Board
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import SchedulingHarness, run_scenario

TURNS = 6
"""In so many turns of the loop a sender has begun to wait."""


async def scenario(harness: SchedulingHarness) -> None:
    connection = relations_of(harness)
    updates = StatusUpdates(harness.runner, harness.post, connection.allowed)
    harness.effects._updates = updates
    for turns in range(TURNS):
        connection._changed(False)
        task = harness.grant(turns + 1)
        for _ in range(turns):
            await asyncio.sleep(0)
        connection._changed(True)
        await harness.comes_to(task, "STARTING")


def relations_of(harness: SchedulingHarness) -> Connection:
    """Return connection with a scheduler that has taken us, whose channel the test opens."""
    nobody: Any = None
    line = SchedulerLink(SchedulerClient("http://127.0.0.1:1"), nobody, nobody, nobody)
    facts = Board.create(roles(1)).facts
    connection = Connection(
        line, harness.journal, facts, harness.wallet.address, lambda _: None, fail_fast=False
    )
    connection._joined = True
    return connection


class Racy(asyncio.Event):
    """An event that is tested first, and only then, a moment later, waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[asyncio.Future[None]] = []

    def set(self) -> None:
        super().set()
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    async def wait(self) -> bool:  # type: ignore[override]  # upstream's way
        if not self.is_set():
            await asyncio.sleep(0)  # another thread has its turn here
            sleeper = asyncio.get_running_loop().create_future()
            self._sleepers.append(sleeper)
            await sleeper
        return True


def upstream(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(asyncio, "Event", Racy)


def test_an_update_is_sent_whenever_the_channel_opens() -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario, slots=TURNS), upstream)
