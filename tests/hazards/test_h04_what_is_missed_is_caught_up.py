"""H4: nothing is caught up after a lost channel, and a subscription made too early is lost.

Ours looks at the chain for every task, and the stream keeps its topics itself: each session,
whenever it comes, begins with all of them.
"""

from __future__ import annotations

import queue
import threading
import time

import pytest

from iexworker.core.stream import NotificationStream
from iexworker.sandbox.scheduler.models import Task
from iexworker.task import lifecycle
from iexworker.task.events import Observed
from iexworker.task.replicate import Replicate
from iexworker.task.transitions import Change
from tests.hazards.helpers import hazard_check
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way, patience_s
from tests.hazards.helpers.scheduling_harness import Scenario, SchedulingHarness, run_scenario
from tests.helpers import fake_scheduler

TOPIC = "0x" + "01" * 32


async def deaf_from_the_grant_on(harness: SchedulingHarness) -> None:
    harness.hears = False
    await harness.completes(harness.grant())


async def deaf_between_contribution_and_reveal(harness: SchedulingHarness) -> None:
    task = await contributed(harness)
    harness.hears = False
    harness.node.sticks = False
    await harness.comes_to(task, "REVEALED")
    harness.hears = True
    await harness.completes(task)


async def contributed(harness: SchedulingHarness) -> Task:
    harness.node.mines = False
    task = harness.grant()
    await harness.until(lambda: bool(harness.node.asked_for), "contribution handed over")
    harness.node.sticks = harness.node.mines = True
    harness.hears = False
    await harness.comes_to(task, "CONTRIBUTED")
    return task


def only_what_is_pushed(patch: pytest.MonkeyPatch) -> None:
    observed = lifecycle._HANDLERS[Observed]

    def if_asked(replicate: Replicate, event: Observed) -> Change:
        asked = replicate.consensus_known and not event.overdue
        return observed(replicate, event) if asked else (replicate, ())

    patch.setitem(lifecycle._HANDLERS, Observed, if_asked)


@pytest.mark.parametrize(
    "scenario",
    [deaf_from_the_grant_on, deaf_between_contribution_and_reveal],
)
def test_a_task_whose_pushes_are_lost_completes(scenario: Scenario) -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), only_what_is_pushed)


def subscribed_too_early() -> None:
    with fake_scheduler.running() as scheduler:
        stream = NotificationStream(scheduler.url, lambda _: None, lambda _: None)
        stream.subscribe(TOPIC)
        receiver = threading.Thread(target=stream.run)
        receiver.start()
        try:
            expect_subscription(scheduler.session())
        finally:
            stream.stop()
            receiver.join()


def subscribed_on_a_dead_connection() -> None:
    with fake_scheduler.running() as scheduler:
        found, lost = threading.Event(), threading.Event()
        stream = NotificationStream(
            scheduler.url, lambda _: None, lambda ready: (found if ready else lost).set()
        )
        receiver = threading.Thread(target=stream.run)
        receiver.start()
        try:
            first = scheduler.session()
            assert found.wait(patience_s())
            first.lines.put(fake_scheduler.RESET)
            assert lost.wait(patience_s())
            stream.subscribe(TOPIC)
            expect_subscription(scheduler.session())
        finally:
            stream.stop()
            receiver.join()


def expect_subscription(session: fake_scheduler.Session) -> None:
    """Wait for the SUBSCRIBE of a new session."""
    until_s = time.monotonic() + patience_s()
    while True:
        try:
            frame = session.received.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            raise AssertionError("no SUBSCRIBE came") from None
        if frame.command == "SUBSCRIBE":
            assert frame.headers["destination"].endswith(TOPIC)
            return


def only_on_a_connection_that_stands(patch: pytest.MonkeyPatch) -> None:
    subscribe = NotificationStream.subscribe

    def at_once_or_never(self: NotificationStream, task_id: str) -> None:
        if self.ready:
            subscribe(self, task_id)

    patch.setattr(NotificationStream, "subscribe", at_once_or_never)


@pytest.mark.parametrize(
    "scenario",
    [subscribed_too_early, subscribed_on_a_dead_connection],
)
def test_a_subscription_reaches_the_next_session(scenario: hazard_check.Scenario) -> None:
    fails_only_upstreams_way(scenario, only_on_a_connection_that_stands)
