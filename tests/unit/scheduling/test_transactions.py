from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

import pytest

from iexworker import retry
from iexworker.errors import ChainError, JournalError
from iexworker.scheduling.transactions import Handovers
from iexworker.task.replicate import Replicate, Step, Work
from tests.helpers.lifecycle_driver import TASK, granted

STAKED = replace(granted(), step=Step.CONTRIBUTE, work=Work.DOING, staked=True)
Play = Callable[["FailingOutbox"], Coroutine[object, object, None]]


class FailingOutbox:
    """An outbox that fails as told, and the tasks that it is given."""

    def __init__(self) -> None:
        self.records: dict[str, Replicate] = {TASK: STAKED}
        self.troubles: list[Exception] = []
        self.tries = 0
        self.taken: list[tuple[str, Step]] = []
        self.forgotten: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.handovers = Handovers(self, self.records.get, self.spawn)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    async def transact(self, replicate: Replicate, step: Step) -> None:
        self.tries += 1
        if self.troubles:
            raise self.troubles.pop(0)
        self.taken.append((replicate.task_id, step))

    async def forget(self, task_id: str) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.forgotten.append(task_id)

    async def done(self) -> None:
        await asyncio.gather(*self.tasks)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)


def play(scenario: Play) -> None:
    async def act() -> None:
        await asyncio.wait_for(scenario(FailingOutbox()), 10)

    asyncio.run(act())


def test_no_error_ends_a_handover() -> None:
    async def scenario(outbox: FailingOutbox) -> None:
        outbox.troubles = [ChainError("gone"), JournalError("disk full"), ValueError("a surprise")]
        outbox.handovers.begin(TASK, Step.CONTRIBUTE)
        await outbox.done()
        assert outbox.tries == 4
        assert outbox.taken == [(TASK, Step.CONTRIBUTE)]

    play(scenario)


def test_what_is_under_way_is_not_begun_again_and_what_is_done_may_be() -> None:
    async def scenario(outbox: FailingOutbox) -> None:
        outbox.handovers.begin(TASK, Step.CONTRIBUTE)
        outbox.handovers.begin(TASK, Step.CONTRIBUTE)
        await outbox.done()
        assert outbox.tries == 1
        outbox.handovers.begin(TASK, Step.CONTRIBUTE)
        await outbox.done()
        assert outbox.tries == 2

    play(scenario)


@pytest.mark.parametrize(
    "record",
    [
        None,
        replace(STAKED, staked=False),
        replace(STAKED, work=Work.DONE),
        replace(STAKED, step=Step.REVEAL),
    ],
)
def test_what_the_task_does_not_wait_for_any_more_is_not_handed_over(
    record: Replicate | None,
) -> None:
    async def scenario(outbox: FailingOutbox) -> None:
        outbox.records.pop(TASK)
        if record is not None:
            outbox.records[TASK] = record
        outbox.handovers.begin(TASK, Step.CONTRIBUTE)
        await outbox.done()
        assert outbox.tries == 0

    play(scenario)


def test_an_outbox_that_cannot_forget_is_left_as_it_is() -> None:
    async def scenario(outbox: FailingOutbox) -> None:
        outbox.troubles = [JournalError("disk full")]
        outbox.handovers.forget("a")
        await outbox.done()
        outbox.handovers.forget("b")
        await outbox.done()
        assert outbox.forgotten == ["b"]

    play(scenario)
