from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

import pytest

from iexworker import retry
from iexworker.errors import ChainError, JournalDamaged, JournalError, SchedulerError
from iexworker.recovery.recovery import Recovery, why_incomplete

NEW = "the journal is new here"
OLD = (
    "the wallet has sent transactions that the journal does not know: the journal is an old copy,"
    " or something else uses the wallet"
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    def pauses() -> Iterator[float]:
        while True:
            yield 0.001

    monkeypatch.setattr(retry, "pauses", pauses)


class Searches:
    """Searches that fail as often as a test says, and what was done in which order."""

    def __init__(self, *, complete: bool = True, **failures: list[Exception]) -> None:
        self.done: list[str] = []
        self.failures = failures
        self.allowed, self.missed, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.recovery = Recovery(
            lacking="" if complete else "new",
            rebuild=self._search("rebuild"),
            look=self._search("look"),
            allowed=self.allowed,
            missed=self.missed,
            done=self._search("done"),
        )

    def _search(self, name: str) -> Callable[[], Awaitable[None]]:
        async def search() -> None:
            if failures := self.failures.get(name):
                raise failures.pop(0)
            self.done.append(name)

        return search

    async def until_idle(self) -> None:
        """Wait until nothing stands in the way of new work."""
        async with asyncio.timeout(10):
            while self.recovery.obstacle():
                await asyncio.sleep(0.001)


def during(searches: Searches, story: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        running = asyncio.create_task(searches.recovery.run())
        try:
            await story()
        finally:
            running.cancel()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("searched", "signed", "latest", "words"),
    [
        (None, 4, 5, NEW),
        (0, -1, 0, ""),
        (3, -1, 3, ""),
        (3, 4, 5, ""),
        (3, 4, 3, ""),  # signed, not mined yet
        (3, 4, 6, OLD),
        (3, -1, 4, OLD),
        (6, 4, 6, ""),  # somebody else's, and looked for since
    ],
)
def test_what_the_wallet_sent_without_the_journal_s_knowledge_is_noticed(
    searched: int | None, signed: int, latest: int, words: str
) -> None:
    assert why_incomplete(searched, signed, latest) == words


def test_no_work_is_asked_for_before_everything_was_looked_for() -> None:
    searches = Searches(complete=False)

    async def story() -> None:
        await asyncio.sleep(0.01)
        assert searches.done == ["rebuild"]  # the chain needs no scheduler
        assert searches.recovery.obstacle()
        searches.missed.set()
        await asyncio.sleep(0.01)
        assert searches.recovery.obstacle()  # not to be asked yet
        searches.allowed.set()
        await searches.until_idle()

    during(searches, story)
    assert searches.done == ["rebuild", "look", "done"]


def test_a_complete_journal_is_not_rebuilt_and_every_return_is_looked_into() -> None:
    searches = Searches()
    searches.allowed.set()

    async def story() -> None:
        for _ in range(3):
            searches.missed.set()
            assert searches.recovery.obstacle()
            await searches.until_idle()

    during(searches, story)
    assert searches.done == ["look", "done", "look", "look"]


def test_what_fails_is_tried_until_it_is_done() -> None:
    searches = Searches(
        complete=False,
        rebuild=[ChainError("no answer"), JournalError("disk full"), OSError("no access")],
        look=[SchedulerError("503"), ChainError("no answer")],
    )
    searches.allowed.set()
    searches.missed.set()
    during(searches, searches.until_idle)
    assert searches.done == ["rebuild", "look", "done"]


def test_the_operator_reads_what_is_looked_for_and_what_keeps_it_from_being_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    searches = Searches(complete=False, look=[SchedulerError("503")])
    searches.allowed.set()
    searches.missed.set()
    assert searches.recovery.obstacle() == "looking for tasks that were granted before"
    during(searches, searches.until_idle)
    assert searches.recovery.obstacle() == ""
    assert caplog.messages == [
        "looking for our contributions on the chain",
        "peer out of service",
        "peer back in service",
    ]
    assert vars(caplog.records[0])["reason"] == "new"
    assert "503" in vars(caplog.records[1])["error"]
    assert vars(caplog.records[1])["peer"] == "scheduler"


def test_damage_ends_the_process_which_sets_the_journal_aside_at_its_next_start() -> None:
    searches = Searches(complete=False, rebuild=[JournalDamaged("malformed")])
    with pytest.raises(JournalDamaged):
        asyncio.run(searches.recovery.run())
