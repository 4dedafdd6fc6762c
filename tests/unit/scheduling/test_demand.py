"""Why no work comes is said once; what is as it should be is for developers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from iexworker.core.messages import Grant
from iexworker.errors import SchedulerError
from iexworker.scheduling.demand import NOTHING, Demand, Market

TAKEN = "all slots are taken (1)"
PAUSED = "paused by the operator"


class Scene:
    """A market that changes each time it is looked at, until the story is over."""

    def __init__(self, *story: str) -> None:
        self._story = list(story)
        self._now = ""
        self.reported: list[str] = []

    def play(self) -> Scene:
        async def run() -> None:
            demand = asyncio.ensure_future(Demand(self._market()).run())
            while self._story:
                await asyncio.sleep(0)
            demand.cancel()
            await asyncio.gather(demand, return_exceptions=True)

        asyncio.run(run())
        return self

    def _market(self) -> Market:
        return Market(
            obstacles=(self._obstacle,),
            busy=lambda: TAKEN if self._now == TAKEN else "",
            period_s=lambda: 0.0,
            ask=self._ask,
            take=lambda _: None,
            report=lambda _, words: self.reported.append(words),
            pass_on=lambda: None,
        )

    def _obstacle(self) -> str:
        self._now = self._story.pop(0)
        return PAUSED if self._now == PAUSED else ""

    async def _ask(self) -> Grant | None:
        if self._now == "refused":
            raise SchedulerError("answered 503")
        return None


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "iexworker"):
        yield


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(one.message, vars(one).get("reason", "")) for one in caplog.records]


def test_taken_slots_and_a_pool_without_tasks_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene("", TAKEN, TAKEN, "", TAKEN, "").play()
    assert told(caplog) == []
    assert scene.reported[:4] == [NOTHING, TAKEN, TAKEN, NOTHING]


def test_what_keeps_work_away_is_said_once_and_when_it_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Scene("", PAUSED, PAUSED, TAKEN, "", "").play()
    assert told(caplog) == [("no work for now", PAUSED), ("work is asked for", "")]


def test_a_request_that_fails_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    Scene("refused", "refused", "", "").play()
    words = "no answer to the request for work: answered 503"
    assert told(caplog) == [("no work for now", words), ("work is asked for", "")]
