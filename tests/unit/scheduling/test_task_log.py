"""What an operator reads of a task, from the events of its life."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from iexworker.core.messages import AbortCause, AnswerKind
from iexworker.errors import ChainError
from iexworker.poco.models import ChainReceipt, ContributionStatus, TaskStatus
from iexworker.scheduling import task_log
from iexworker.scheduling.task_log import TaskLog, tell_end
from iexworker.task.events import Answered, Event, Mined, NotMined, Prepared, StepDone
from iexworker.task.replicate import Replicate, Step
from tests.helpers.lifecycle_driver import (
    DIGEST,
    OTHER_HASH,
    RECEIPT,
    TASK,
    LifecycleDriver,
    N,
    computed,
    contributed,
    notified,
    observed,
    revealed,
)

LINK = '{ "storage": "ipfs", "location": "/ipfs/QmResult" }'


class Told:
    """A life whose events the log follows; each takes a second."""

    def __init__(self, life: LifecycleDriver | None = None, *, restarted: bool = False) -> None:
        self.life = life or LifecycleDriver()
        self.now_s = 0.0
        self.log = TaskLog(lambda: self.now_s)
        self.log.begin(self.life.now, restarted=restarted)

    @property
    def now(self) -> Replicate:
        return self.life.now

    def feed(self, *events: Event) -> Told:
        for event in events:
            self.now_s += 1.0
            before = self.now
            self.life.feed(event)
            self.log.take(before, event, self.now)
        return self

    def answer(self, wants: N = N.PLEASE_CONTINUE, kind: AnswerKind = AnswerKind.ACCEPTED) -> Told:
        return self.feed(Answered(self.now.pending[0].status, kind, wants))

    def done(self, **facts: object) -> Told:
        known = {"ok": True, **facts}
        return self.feed(StepDone(self.now.step, self.now.attempt, **known))  # type: ignore[arg-type]  # keyword table

    def end(self, reward_nrlc: int | None = None) -> None:
        self.log.end(self.now).tell(reward_nrlc)


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "iexworker"):
        yield


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


def facts(caplog: pytest.LogCaptureFixture, message: str) -> dict[str, object]:
    (found,) = [vars(record) for record in caplog.records if record.message == message]
    return found


def completed(told: Told, cost_wei: int | None = None) -> Told:
    """Take a task from its grant to its end."""
    for wants in (N.PLEASE_DOWNLOAD_APP, N.PLEASE_DOWNLOAD_DATA, N.PLEASE_COMPUTE):
        told.answer().done().answer(wants)
    told.answer().done(digest=DIGEST, exit_code=0, with_logs=True).answer(N.PLEASE_CONTRIBUTE)
    told.answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    told.feed(Mined(Step.CONTRIBUTE, RECEIPT, 399_250, cost_wei)).answer(N.PLEASE_WAIT)
    told.feed(notified(N.PLEASE_REVEAL)).answer()
    told.feed(Mined(Step.REVEAL, RECEIPT, 93_455, cost_wei)).answer(N.PLEASE_WAIT)
    told.feed(notified(N.PLEASE_UPLOAD)).done(result_link=LINK).answer().answer()
    return told.feed(notified(N.PLEASE_COMPLETE)).answer().done()


def test_a_task_that_goes_well_is_told_once_a_milestone(caplog: pytest.LogCaptureFixture) -> None:
    completed(Told()).end(99_000_000)
    assert lines(caplog) == [
        "result contributed",
        "result revealed",
        "result uploaded",
        "task ended",
    ]
    assert {vars(record)["task"] for record in caplog.records} == {TASK}
    for message, gas in (("result contributed", 399_250), ("result revealed", 93_455)):
        found = facts(caplog, message)
        assert (found["transaction"], found["gas"]) == (RECEIPT.tx_hash, gas)
    found = facts(caplog, "result uploaded")
    assert (found["storage"], found["link"]) == ("ipfs", "/ipfs/QmResult")


def test_what_a_transaction_has_cost_is_told_where_it_has_a_price(
    caplog: pytest.LogCaptureFixture,
) -> None:
    completed(Told())
    assert "cost" not in vars(caplog.records[0])
    caplog.clear()
    completed(Told(), cost_wei=8 * 10**12)
    for message in ("result contributed", "result revealed"):
        assert facts(caplog, message)["cost"] == "0.000008 ether"


def test_the_end_has_verdict_times_and_reward(caplog: pytest.LogCaptureFixture) -> None:
    told = completed(Told())
    told.end(99_000_000)
    found = facts(caplog, "task ended")
    assert (found["verdict"], found["cause"], found["reason"]) == ("completed", None, None)
    assert (found["total_s"], found["measured"]) == (told.now_s, None)
    assert found["steps"] == (
        "start 2.00 s, app download 2.00 s, data download 2.00 s, compute 2.00 s, "
        "contribute 3.00 s, reveal 2.00 s, upload 1.00 s, clean up 2.00 s, waiting 11.00 s"
    )
    assert found["reward"] == "0.099 RLC"


@pytest.mark.parametrize(
    ("reward_nrlc", "shown"),
    [(0, "0 RLC"), (1, "0.000000001 RLC"), (12 * 10**9, "12 RLC"), (None, "unknown")],
)
def test_a_reward_is_shown_in_rlc(
    caplog: pytest.LogCaptureFixture, reward_nrlc: int | None, shown: str
) -> None:
    completed(Told()).end(reward_nrlc)
    assert facts(caplog, "task ended")["reward"] == shown


def test_after_a_restart_only_what_is_known_is_told(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(revealed(), restarted=True)
    told.feed(notified(N.PLEASE_COMPLETE)).answer().done().end()
    found = facts(caplog, "task ended")
    assert (found["total_s"], found["measured"]) == (3.0, "since restart")
    assert found["steps"] == "clean up 2.00 s, waiting 1.00 s"


def test_what_only_the_contribution_shows_has_no_transaction(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told(computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000)))
    told.feed(Mined(Step.CONTRIBUTE, ChainReceipt(7, "0x" + "00" * 32)))
    found = facts(caplog, "result contributed")
    assert (found["transaction"], found["gas"]) == ("unknown", "unknown")


def test_a_failed_step_is_told_with_its_cause_in_words_and_so_is_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told().answer().done(ok=False, cause="TASK_NOT_ACTIVE").answer(N.PLEASE_ABORT)
    told.done().end()
    assert lines(caplog) == ["step failed", "task ended"]
    failed, ended = facts(caplog, "step failed"), facts(caplog, "task ended")
    assert (failed["step"], failed["levelname"]) == ("start", "WARNING")
    assert (ended["verdict"], ended["reward"], ended["levelname"]) == ("failed", "none", "WARNING")
    for found in (failed, ended):
        assert found["cause"] == "TASK_NOT_ACTIVE"
        assert found["reason"] == "the task takes no contributions any more"


def test_what_wants_a_look_at_this_worker_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    Told().answer().done(ok=False, cause="OUT_OF_GAS")
    assert facts(caplog, "step failed")["levelname"] == "ERROR"


def test_the_words_of_a_slot_come_before_ours(caplog: pytest.LogCaptureFixture) -> None:
    told = Told().answer().done().answer(N.PLEASE_DOWNLOAD_APP).answer()
    told.done(ok=False, cause="A_CAUSE", reason="A_CAUSE no such image")
    assert facts(caplog, "step failed")["reason"] == "no such image"


def ran(told: Told, **outcome: object) -> Told:
    """Take a task up to the outcome of its computation."""
    for wants in (N.PLEASE_DOWNLOAD_APP, N.PLEASE_DOWNLOAD_DATA, N.PLEASE_COMPUTE):
        told.answer().done().answer(wants)
    return told.answer().done(**outcome).answer(N.PLEASE_CONTRIBUTE).answer()


def test_an_app_that_failed_and_left_a_result_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    ran(Told(), digest=DIGEST, reason="ended with exit code 3")
    assert lines(caplog) == ["app failed"]
    assert facts(caplog, "app failed")["reason"] == "ended with exit code 3"


def test_why_there_is_nothing_to_contribute_is_what_the_app_did(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = ran(Told(), reason="ended with exit code 3")
    told.done(ok=False, cause="DETERMINISM_HASH_NOT_FOUND")
    assert lines(caplog) == ["step failed"]
    found = facts(caplog, "step failed")
    assert (found["step"], found["reason"]) == ("contribute", "ended with exit code 3")


def test_a_failure_that_its_finder_has_told_is_not_told_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told().answer().done(ok=False, cause="UNKNOWN", told=True).answer(N.PLEASE_ABORT)
    told.done().end()
    assert lines(caplog) == ["task ended"]
    assert facts(caplog, "task ended")["reason"] == "an unexpected error of this worker"


def test_an_error_that_is_contributed_is_named_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    told = Told().answer().done().answer(N.PLEASE_DOWNLOAD_APP).answer()
    told.done(ok=False, cause="APP_IMAGE_DOWNLOAD_FAILED", reason="no such image", digest=DIGEST)
    told.answer(N.PLEASE_CONTRIBUTE).answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    told.feed(Mined(Step.CONTRIBUTE, RECEIPT)).answer(N.PLEASE_WAIT)
    told.feed(notified(N.PLEASE_REVEAL)).answer().feed(Mined(Step.REVEAL, RECEIPT))
    told.answer(N.PLEASE_WAIT).feed(notified(N.PLEASE_COMPLETE)).answer().done().end()
    assert lines(caplog) == ["step failed", "result contributed", "result revealed", "task ended"]
    found = facts(caplog, "task ended")
    assert (found["verdict"], found["cause"]) == ("completed", "APP_IMAGE_DOWNLOAD_FAILED")


def test_a_contribution_of_ours_from_before_a_crash_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Told(computed().answer()).done(ok=False, cause="CONTRIBUTION_ALREADY_SET")
    assert lines(caplog) == []


def test_a_void_contribution_was_told_by_the_outbox(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000)))
    told.feed(NotMined(Step.CONTRIBUTE, "CONTRIBUTION_TIMEOUT", "its deadline has passed"))
    told.answer(N.PLEASE_ABORT).done().end()
    assert lines(caplog) == ["task ended"]
    found = facts(caplog, "task ended")
    assert (found["verdict"], found["reason"]) == ("failed", "its deadline has passed")


def test_a_step_that_the_chain_overtakes_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    Told().answer().feed(observed(TaskStatus.REVEALING))
    assert facts(caplog, "step failed")["cause"] == "TASK_NOT_ACTIVE"


@pytest.mark.parametrize(
    ("cause", "shown", "reason"),
    [
        (AbortCause.UNKNOWN, None, "the scheduler aborts the task"),
        (AbortCause.CONSENSUS_REACHED, "CONSENSUS_REACHED", "the other workers have agreed"),
        (AbortCause.CONTRIBUTION_TIMEOUT, "CONTRIBUTION_TIMEOUT", "the contribution deadline"),
    ],
)
def test_an_abort_has_the_scheduler_s_reason(
    caplog: pytest.LogCaptureFixture, cause: AbortCause, shown: str | None, reason: str
) -> None:
    Told().feed(notified(N.PLEASE_ABORT, cause)).done().end()
    assert lines(caplog) == ["task ended"]
    found = facts(caplog, "task ended")
    assert (found["verdict"], found["cause"]) == ("aborted", shown)
    assert reason in str(found["reason"])


def test_a_refused_status_is_why_a_task_is_aborted(caplog: pytest.LogCaptureFixture) -> None:
    Told().answer().done().answer(N.PLEASE_ABORT, AnswerKind.REFUSED).done().end()
    found = facts(caplog, "task ended")
    assert (found["verdict"], found["cause"]) == ("aborted", None)
    assert found["reason"] == "the scheduler refuses the status STARTED"


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (
            observed(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED, consensus=OTHER_HASH),
            "the other workers agreed on another result",
        ),
        (
            observed(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED, head_s=1_700),
            "the reveal deadline has passed",
        ),
    ],
)
def test_a_contribution_that_cannot_win_is_an_error_told_once(
    caplog: pytest.LogCaptureFixture, seen: Event, reason: str
) -> None:
    told = Told(contributed()).feed(seen)
    told.answer().feed(observed(TaskStatus.FAILED, ContributionStatus.CONTRIBUTED, overdue=True))
    told.done().end()
    assert lines(caplog) == ["contribution cannot win any more", "task ended"]
    assert facts(caplog, "contribution cannot win any more")["levelname"] == "ERROR"
    for message in lines(caplog):
        assert facts(caplog, message)["reason"] == reason


@pytest.mark.parametrize(
    ("status", "head_s", "reason"),
    [
        (TaskStatus.COMPLETED, 1_000, "the task was completed without our reveal"),
        (TaskStatus.FAILED, 1_000, "the task has failed on the chain"),
        (TaskStatus.ACTIVE, 4_001, "the task's final deadline has passed"),
    ],
)
def test_a_task_that_ended_without_us_says_how(
    caplog: pytest.LogCaptureFixture, status: TaskStatus, head_s: int, reason: str
) -> None:
    seen = observed(status, ContributionStatus.CONTRIBUTED, head_s=head_s, overdue=True)
    Told(contributed()).feed(seen).done().end()
    assert lines(caplog) == ["task ended"]
    assert facts(caplog, "task ended")["reason"] == reason


def test_a_task_that_we_revealed_and_nobody_completes_has_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = observed(TaskStatus.REVEALING, ContributionStatus.PROVED, head_s=4_001, overdue=True)
    Told(revealed()).feed(seen).answer().done().end(None)
    assert lines(caplog) == ["task ended"]
    found = facts(caplog, "task ended")
    assert (found["verdict"], found["reward"]) == ("failed", "none")
    assert found["reason"] == "the task's final deadline has passed"


def test_a_task_that_the_chain_shows_completed_is_completed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = observed(TaskStatus.COMPLETED, ContributionStatus.PROVED, overdue=True)
    Told(revealed()).feed(seen).answer().done().end(7)
    assert facts(caplog, "task ended")["verdict"] == "completed"


class Paid:
    """A node that answers so often that it does not know."""

    def __init__(self, *answers: int | ChainError | None) -> None:
        self._answers = list(answers)

    async def reward_nrlc(self, task_id: str, since_block: int) -> int | None:
        assert (task_id, since_block) == (TASK, RECEIPT.block_number)
        answer = self._answers.pop(0)
        if isinstance(answer, ChainError):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("node", "shown"),
    [
        (Paid(5 * 10**9), "5 RLC"),
        (Paid(None, ChainError("not now"), 5 * 10**9), "5 RLC"),
        (Paid(None, None, None), "unknown"),
    ],
)
def test_the_reward_is_asked_for_until_the_node_shows_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, node: Paid, shown: str
) -> None:
    monkeypatch.setattr(task_log, "REWARD_PAUSE_S", 0.0)
    told = completed(Told())
    asyncio.run(tell_end(told.log.end(told.now), node))
    assert facts(caplog, "task ended")["reward"] == shown


def test_a_stop_does_not_wait_for_the_reward_and_has_the_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = completed(Told())

    async def stop() -> None:
        telling = asyncio.ensure_future(tell_end(told.log.end(told.now), Paid(None)))
        await asyncio.sleep(0)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)

    asyncio.run(stop())
    assert facts(caplog, "task ended")["reward"] == "unknown"
