"""The runner journals before anything follows, and survives a journal that cannot be written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from iexworker.core.messages import AnswerKind, ReplicateStatus
from iexworker.poco.models import ContributionStatus, Profile, TaskStatus
from iexworker.recovery import rebuild
from iexworker.recovery.task_folders import Kept
from iexworker.scheduling import runner
from iexworker.scheduling.runner import Runner
from iexworker.task.events import Answered, DoStep, Effect, Observe, StepDone
from iexworker.task.journal import Journal, JournalKey, connect
from iexworker.task.push_timeout import PushTimeout
from iexworker.task.replicate import Replicate, Step
from tests.unit.helpers.recovery_data import DIGEST, MINED, WALLET, sighting, task

S = ReplicateStatus
KEY = JournalKey(65535, "0x" + "aa" * 20, "0x" + "bb" * 32, WALLET)
TASK = task().task_id


@dataclass
class KeptDuties:
    """Remembers what was to be done, and what the journal held then."""

    journal: Journal
    effects: list[Effect] = field(default_factory=list)
    journalled: list[list[Replicate]] = field(default_factory=list)
    kicked: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    def perform(self, replicate: Replicate, effect: Effect) -> None:
        self.effects.append(effect)
        self.journalled.append(list(self.journal.replicates(KEY)))

    def kick(self, task_id: str) -> None:
        self.kicked.append(task_id)

    def forget(self, replicate: Replicate) -> None:
        self.forgotten.append(replicate.task_id)


class RunnerHarness:
    """A runner on a journal of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = connect(path)
        self.journal = Journal(self.connection)
        self.effects = KeptDuties(self.journal)
        self.errors = 0
        self.runner = Runner(self.journal, KEY, lambda _: self.effects, self._count)

    def _count(self) -> None:
        self.errors += 1


@pytest.fixture
def harness(tmp_path: Path) -> RunnerHarness:
    return RunnerHarness(tmp_path / "journal.sqlite")


def lost() -> Replicate:
    """Return a contribution whose digest is gone."""
    seen = sighting(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED)
    authorization = rebuild.no_authorization(WALLET, TASK)
    traces = rebuild.Traces(authorization, Profile.V9, seen, MINED, None, Kept(), repeatable=True)
    return rebuild.contributed(traces)


def test_what_is_found_again_is_journalled_and_goes_on(harness: RunnerHarness) -> None:
    harness.runner.adopt(lost())
    assert harness.effects.effects == [DoStep(Step.APP, 1), Observe()]
    assert harness.effects.journalled[0] == [lost()]
    assert harness.effects.kicked == [TASK]
    # What would be pushed for it was pushed before: the chain is not given time to confirm it.
    assert harness.runner.push_timeout(TASK) == PushTimeout(moved_s=0.0, heard_s=0.0)


@pytest.mark.parametrize(("digest", "words"), [(DIGEST, "INFO"), (None, "ERROR")])
def test_it_is_said_whether_computing_again_was_of_use(
    harness: RunnerHarness, caplog: pytest.LogCaptureFixture, digest: str | None, words: str
) -> None:
    caplog.set_level("INFO")
    harness.runner.adopt(lost())
    for step, attempt in ((Step.APP, 1), (Step.DATA, 2), (Step.COMPUTE, 3)):
        harness.runner.apply(TASK, StepDone(step, attempt, ok=True, digest=digest))
    (said,) = [record for record in caplog.records if record.message == "computed again"]
    assert said.levelname == words


def change(harness: RunnerHarness) -> None:
    harness.runner.apply(TASK, Answered(S.CONTRIBUTING, AnswerKind.ACCEPTED))


def waiting(harness: RunnerHarness) -> list[ReplicateStatus]:
    (record,) = Journal(connect(harness.path)).replicates(KEY)
    return [update.status for update in record.pending]


def test_an_event_waits_for_a_journal_that_cannot_be_written(
    harness: RunnerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "JOURNAL_RETRY_S", 0.01)
    harness.runner.adopt(lost())

    async def story() -> None:
        harness.connection.execute("PRAGMA query_only=1")
        change(harness)
        await asyncio.sleep(0.05)
        assert harness.errors > 1
        assert waiting(harness) == [S.CONTRIBUTING, S.CONTRIBUTED]
        harness.connection.execute("PRAGMA query_only=0")
        await until(lambda: waiting(harness) == [S.CONTRIBUTED])

    asyncio.run(story())


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.01)


def test_a_journal_that_is_damaged_meanwhile_ends_the_process(harness: RunnerHarness) -> None:
    harness.runner.adopt(lost())
    other = connect(harness.path)
    other.execute("PRAGMA writable_schema=1")
    other.execute("UPDATE sqlite_master SET sql='rubbish' WHERE name='replicates'")
    other.execute("PRAGMA schema_version=99")  # so that everybody reads it again
    with pytest.raises(SystemExit, match="malformed"):
        change(harness)
