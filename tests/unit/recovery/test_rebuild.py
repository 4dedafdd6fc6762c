"""Records made of what chain and scheduler still know, and what the lifecycle does with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iexworker.core.messages import (
    AbortCause,
    AnswerKind,
    Notification,
    NotificationType,
    ReplicateStatus,
)
from iexworker.poco.hashing import result_hash
from iexworker.poco.models import (
    ZERO_ADDRESS,
    Contributed,
    ContributionStatus,
    Profile,
    Sighting,
    TaskStatus,
)
from iexworker.recovery import rebuild
from iexworker.recovery.task_folders import Kept
from iexworker.task import lifecycle
from iexworker.task.events import (
    Answered,
    AskScheduler,
    DoStep,
    Effect,
    Event,
    Forget,
    Mined,
    Notified,
    Observe,
    Observed,
    SchedulerSaw,
    StepDone,
    Transact,
)
from iexworker.task.replicate import Redo, Replicate, Step, Update, Work
from tests.unit.helpers.recovery_data import (
    CONTRIBUTION_DEADLINE_S,
    DIGEST,
    FINAL_DEADLINE_S,
    MINED,
    NOW_S,
    OTHER_DIGEST,
    REVEALED,
    SIGNATURE,
    TASK,
    WALLET,
    sighting,
    task,
)

S, N = ReplicateStatus, NotificationType
CONTRIBUTED = sighting(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED)
WAITING = sighting(TaskStatus.ACTIVE, ContributionStatus.CONTRIBUTED)
PROVED = sighting(TaskStatus.REVEALING, ContributionStatus.PROVED)
WHOLE = Kept(DIGEST, None, uploadable=True)
AUTHORIZED = Contributed(TASK, ZERO_ADDRESS, SIGNATURE)
HASH = result_hash(TASK, DIGEST)


def traces(
    seen: Sighting, kept: Kept = WHOLE, *, repeatable: bool = True, profile: Profile = Profile.V9
) -> rebuild.Traces:
    authorization = rebuild.authorization(WALLET, seen.task, profile, AUTHORIZED)
    revealed = REVEALED if seen.contribution.status is ContributionStatus.PROVED else None
    return rebuild.Traces(authorization, profile, seen, MINED, revealed, kept, repeatable)


class Life:
    """A rebuilt record among events; it has been through the journal."""

    def __init__(self, record: Replicate) -> None:
        self.now = Replicate.from_json(record.to_json())
        assert self.now == record
        self.now, self.effects = lifecycle.resume(self.now)

    def feed(self, *events: Event) -> Life:
        for event in events:
            self.now, self.effects = lifecycle.advance(self.now, event)
        return self

    def answer(self, kind: AnswerKind = AnswerKind.ACCEPTED) -> Life:
        """Answer the update that is due."""
        update = lifecycle.next_update(self.now)
        assert update is not None
        wants = N.PLEASE_ABORT if kind is AnswerKind.REFUSED else None
        return self.feed(Answered(update.status, kind, wants))

    def redone(self, digest: str | None, *, ok: bool = True) -> Life:
        """End the step that is computed again."""
        redo = self.now.redo
        assert redo is not None
        return self.feed(StepDone(redo.step, redo.attempt, ok=ok, digest=digest))

    def see(self, seen: Sighting, *, overdue: bool = False) -> Life:
        own = None if self.now.digest is None else result_hash(TASK, self.now.digest)
        return self.feed(Observed(seen.task, seen.contribution, own, seen.head_s, overdue))

    @property
    def wants(self) -> list[Effect]:
        return list(self.effects)

    def at(self, step: Step) -> bool:
        return self.now.step is step

    @property
    def due(self) -> list[ReplicateStatus]:
        return [update.status for update in self.now.pending]


def push(kind: NotificationType) -> Notified:
    return Notified(Notification(TASK, (WALLET,), kind))


# A contribution.


def test_a_contribution_is_reported_and_then_revealed_as_if_nothing_was_lost() -> None:
    life = Life(rebuild.contributed(traces(CONTRIBUTED)))
    assert life.due == [S.CONTRIBUTING, S.CONTRIBUTED]
    assert life.now.pending[1].receipt == MINED
    assert life.wants == [Observe()]
    life.see(CONTRIBUTED)
    assert Transact(Step.REVEAL) in life.effects
    # Not before the scheduler has the consensus (H30).
    life.answer(AnswerKind.ALREADY).answer()
    assert lifecycle.next_update(life.now) is None
    life.feed(push(N.PLEASE_REVEAL), Mined(Step.REVEAL, REVEALED)).answer().answer()
    assert life.now.acknowledged[-2:] == (S.REVEALING, S.REVEALED)


def test_a_contribution_holds_the_deadlines_and_the_grant_of_its_profile() -> None:
    record = rebuild.contributed(traces(WAITING))
    assert record.staked
    assert (record.step, record.work) == (Step.CONTRIBUTE, Work.DONE)
    assert record.contribution_deadline_s == CONTRIBUTION_DEADLINE_S
    assert record.final_deadline_s == FINAL_DEADLINE_S
    raw = record.authorization.raw
    assert (raw["dealId"], raw["taskIndex"]) == (WAITING.task.deal_id, 0)
    assert raw["signature"] == {"value": SIGNATURE}
    eight = rebuild.contributed(traces(WAITING, profile=Profile.V8)).authorization.raw
    assert list(eight) == ["chainTaskId", "workerWallet", "enclaveChallenge", "signature"]


def test_a_refused_contributing_does_not_hold_the_contribution_back() -> None:
    life = Life(rebuild.contributed(traces(WAITING))).answer(AnswerKind.REFUSED)
    assert life.due == [S.CONTRIBUTED]


def test_a_proved_contribution_goes_on_to_its_upload() -> None:
    life = Life(rebuild.contributed(traces(PROVED)))
    assert life.due == [S.CONTRIBUTING, S.CONTRIBUTED, S.REVEALING, S.REVEALED]
    assert life.now.pending[3].receipt == REVEALED
    life.answer().answer().see(PROVED, overdue=True)
    assert life.wants == [AskScheduler()]
    life.feed(SchedulerSaw(consensus=True, asked_to_upload=False)).answer().answer()
    life.see(PROVED, overdue=True)
    assert life.at(Step.UPLOAD)


def test_a_reveal_whose_event_is_not_found_is_reported_with_the_contribution_s_block() -> None:
    record = rebuild.contributed(replace(traces(PROVED), revealed=None))
    assert record.pending[3].receipt == MINED


@pytest.mark.parametrize("status", [ContributionStatus.PROVED, ContributionStatus.CONTRIBUTED])
def test_an_ended_task_is_answered_and_purged_only(status: ContributionStatus) -> None:
    seen = sighting(TaskStatus.COMPLETED, status)
    life = Life(rebuild.contributed(traces(seen, Kept())))
    assert life.now.redo is None
    life.see(seen, overdue=True)
    proved = status is ContributionStatus.PROVED
    assert life.at(Step.COMPLETE if proved else Step.ABORT)


# A digest that is lost.


def test_a_lost_digest_is_computed_again_in_silence_and_then_revealed() -> None:
    life = Life(rebuild.contributed(traces(CONTRIBUTED, Kept())))
    assert life.wants == [DoStep(Step.APP, 1), Observe()]
    assert life.now.holds_slot
    life.see(CONTRIBUTED)
    assert life.wants == []  # there is nothing to reveal with yet
    steps = []
    for digest in (None, None, DIGEST):
        assert life.now.redo is not None
        steps.append(life.now.redo.step)
        life.redone(digest)
    assert steps == [Step.APP, Step.DATA, Step.COMPUTE]
    assert life.due == [S.CONTRIBUTING, S.CONTRIBUTED]  # not a word of it
    assert (life.now.digest, life.now.redo, life.now.holds_slot) == (DIGEST, None, False)
    assert life.wants == [Observe()]
    assert Transact(Step.REVEAL) in life.see(CONTRIBUTED).effects


@pytest.mark.parametrize(("digest", "ok"), [(OTHER_DIGEST, True), (None, True), (None, False)])
def test_a_result_that_is_not_the_contributed_one_is_of_no_use(
    digest: str | None, ok: bool
) -> None:
    life = Life(rebuild.contributed(traces(CONTRIBUTED, Kept())))
    life.redone(None).redone(None).redone(digest, ok=ok)
    assert (life.now.digest, life.now.redo) == (None, None)
    assert Transact(Step.REVEAL) not in life.see(CONTRIBUTED).effects
    # Nothing is given up before the chain says so: the reveal deadline, then the end of the task.
    late = Sighting(CONTRIBUTED.task, CONTRIBUTED.contribution, FINAL_DEADLINE_S)
    life.see(late)
    assert life.now.lost
    assert life.due == [S.ABORTED]


def test_a_download_error_that_was_contributed_is_found_again() -> None:
    life = Life(rebuild.contributed(traces(CONTRIBUTED, Kept())))
    life.redone(DIGEST, ok=False)
    assert (life.now.digest, life.now.redo) == (DIGEST, None)


def test_callback_data_is_kept_and_where_it_is_lost_made_again() -> None:
    kept = Kept(DIGEST, "0xca11", uploadable=True)
    assert rebuild.contributed(traces(CONTRIBUTED, kept)).callback_data == "0xca11"
    life = Life(rebuild.contributed(traces(CONTRIBUTED, Kept()))).redone(None).redone(None)
    assert life.now.redo is not None
    again = StepDone(Step.COMPUTE, life.now.redo.attempt, ok=True, digest=DIGEST)
    life.feed(replace(again, callback_data="0xca11"))
    assert life.now.callback_data == "0xca11"


def test_each_step_that_is_done_again_has_its_own_attempt() -> None:
    life = Life(rebuild.contributed(traces(CONTRIBUTED, Kept())))
    assert life.redone(None).wants == [DoStep(Step.DATA, 2)]
    assert life.redone(None).wants == [DoStep(Step.COMPUTE, 3)]


def test_a_step_that_cannot_be_done_again_ends_the_attempt() -> None:
    life = Life(rebuild.contributed(traces(CONTRIBUTED, Kept()))).redone(None, ok=False)
    assert life.now.redo is None
    assert life.wants == [Observe()]


def test_an_outcome_of_an_earlier_attempt_is_not_taken_for_the_present_one() -> None:
    life = Life(rebuild.contributed(traces(CONTRIBUTED, Kept())))
    before = life.now
    assert life.feed(StepDone(Step.APP, 0, ok=True)).now == before
    assert life.feed(StepDone(Step.COMPUTE, 1, ok=True, digest=DIGEST)).now == before


def test_a_crash_while_it_is_computed_again_changes_nothing() -> None:
    life = Life(rebuild.contributed(traces(CONTRIBUTED, Kept()))).redone(None)
    again = Life(life.now)
    assert again.wants == [DoStep(Step.DATA, 2), Observe()]


def test_a_task_that_cannot_be_repeated_waits_for_the_chain() -> None:
    record = rebuild.contributed(traces(CONTRIBUTED, Kept(), repeatable=False))
    assert record.redo is None


# An archive that is lost.


def test_with_the_digest_alone_the_reveal_goes_at_once_and_the_upload_waits() -> None:
    life = Life(rebuild.contributed(traces(CONTRIBUTED, Kept(DIGEST))))
    life.see(CONTRIBUTED)
    assert Transact(Step.REVEAL) in life.effects
    assert life.now.redo == Redo(Step.APP, 1, HASH)
    life.feed(Mined(Step.REVEAL, REVEALED), push(N.PLEASE_UPLOAD))
    assert life.at(Step.REVEAL)
    life.redone(None).redone(None).redone(DIGEST)
    life.answer().answer().answer().answer().see(PROVED)
    assert life.at(Step.UPLOAD)


@pytest.mark.parametrize("asked", [push(N.PLEASE_UPLOAD), SchedulerSaw(True, True)])
def test_an_upload_that_is_asked_for_waits_for_the_archive(asked: Event) -> None:
    life = Life(rebuild.contributed(traces(PROVED, Kept(DIGEST))))
    life.answer().answer().feed(SchedulerSaw(True, False)).answer().answer().feed(asked)
    assert (life.now.step, life.now.upload_asked) == (Step.REVEAL, True)
    life.see(PROVED, overdue=True)
    assert life.at(Step.REVEAL)
    life.redone(None).redone(None).redone(DIGEST).see(PROVED)
    assert life.at(Step.UPLOAD)


def test_an_upload_asked_for_before_the_reveal_is_mined_waits_for_the_archive_too() -> None:
    life = Life(rebuild.contributed(traces(CONTRIBUTED, Kept(DIGEST)))).see(CONTRIBUTED)
    life.feed(push(N.PLEASE_UPLOAD), Mined(Step.REVEAL, REVEALED))
    assert (life.now.step, life.now.work) == (Step.REVEAL, Work.DONE)


def test_the_end_of_the_task_ends_what_is_computed_again() -> None:
    life = Life(rebuild.contributed(traces(PROVED, Kept(DIGEST)))).feed(push(N.PLEASE_COMPLETE))
    assert (life.now.step, life.now.redo) == (Step.COMPLETE, None)
    lost = Life(rebuild.contributed(traces(CONTRIBUTED, Kept())))
    other = sighting(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED)
    other = Sighting(task(TaskStatus.REVEALING, 0, OTHER_DIGEST), other.contribution, NOW_S)
    lost.see(other)
    assert (lost.now.lost, lost.now.redo) == (True, None)
    dead = Life(rebuild.contributed(traces(CONTRIBUTED, Kept())))
    dead.see(sighting(TaskStatus.FAILED, ContributionStatus.CONTRIBUTED), overdue=True)
    assert (dead.now.step, dead.now.redo) == (Step.ABORT, None)


# A grant.


def test_a_grant_told_again_begins_with_started() -> None:
    authorization = rebuild.authorization(WALLET, task(), Profile.V9, AUTHORIZED)
    life = Life(rebuild.granted(authorization, Profile.V9, None))
    assert life.wants == [DoStep(Step.START, 1)]
    assert life.due == []
    life.feed(StepDone(Step.START, 1, ok=True))
    assert life.due == [S.STARTED]
    life.answer(AnswerKind.ALREADY)  # it had come further before
    assert life.at(Step.APP)


def test_a_grant_told_again_keeps_its_sms() -> None:
    authorization = rebuild.no_authorization(WALLET, TASK)
    assert rebuild.granted(authorization, Profile.V9, "https://sms").sms_url == "https://sms"


def test_an_authorisation_has_what_the_contribution_was_made_with() -> None:
    found = Contributed(TASK, "0x" + "e1" * 20, SIGNATURE)
    made = rebuild.authorization(WALLET, task(), Profile.V9, found)
    assert (made.task_id, made.worker_wallet) == (TASK, WALLET)
    assert (made.enclave_challenge, made.signature) == ("0x" + "e1" * 20, SIGNATURE)


def test_what_stands_for_an_authorisation_names_no_enclave_and_signs_nothing() -> None:
    made = rebuild.no_authorization(WALLET, TASK)
    assert (made.task_id, made.worker_wallet) == (TASK, WALLET)
    assert made.raw["enclaveChallenge"] == ZERO_ADDRESS
    assert made.raw["signature"] == {"value": "0x" + "00" * 65}


def given_up(*history: ReplicateStatus, cause: AbortCause = AbortCause.UNKNOWN) -> Life:
    authorization = rebuild.no_authorization(WALLET, TASK)
    return Life(rebuild.given_up(authorization, Profile.V9, history, "TASK_NOT_ACTIVE", cause))


@pytest.mark.parametrize(
    ("history", "failure"),
    [
        ((), [S.STARTING, S.START_FAILED]),
        ((S.CREATED,), [S.STARTING, S.START_FAILED]),
        ((S.CREATED, S.STARTING), [S.START_FAILED]),
        ((S.STARTING, S.STARTED), [S.APP_DOWNLOADING, S.APP_DOWNLOAD_FAILED]),
        ((S.STARTED, S.APP_DOWNLOADING), [S.APP_DOWNLOAD_FAILED]),
        ((S.APP_DOWNLOADED,), [S.DATA_DOWNLOADING, S.DATA_DOWNLOAD_FAILED]),
        ((S.DATA_DOWNLOADING,), [S.DATA_DOWNLOAD_FAILED]),
        ((S.DATA_DOWNLOADED,), [S.COMPUTING, S.COMPUTE_FAILED]),
        ((S.DATA_DOWNLOADED, S.COMPUTING), [S.COMPUTE_FAILED]),
        ((S.CREATED, S.RECOVERING), [S.COMPUTE_FAILED]),
        ((S.STARTED, S.WORKER_LOST), [S.COMPUTE_FAILED]),
    ],
)
def test_what_is_given_up_gets_the_failure_that_its_history_allows_then_aborted(
    history: tuple[ReplicateStatus, ...], failure: list[ReplicateStatus]
) -> None:
    life = given_up(*history, cause=AbortCause.CONSENSUS_REACHED)
    assert life.due == failure
    assert life.now.pending[-1].cause == "TASK_NOT_ACTIVE"
    assert not life.now.holds_slot
    for _ in failure[:-1]:
        life.answer()
    life.feed(Answered(failure[-1], AnswerKind.ACCEPTED, N.PLEASE_ABORT))
    life.feed(StepDone(Step.ABORT, life.now.attempt, ok=True))
    assert life.now.pending == (Update(S.ABORTED, cause="CONSENSUS_REACHED"),)
    assert life.answer().wants == [Forget()]


@pytest.mark.parametrize("refused", [AnswerKind.REFUSED, AnswerKind.ALREADY])
def test_a_failure_that_the_scheduler_does_not_take_is_followed_by_aborted_all_the_same(
    refused: AnswerKind,
) -> None:
    life = given_up().answer(refused).answer(refused)
    assert life.at(Step.ABORT)


@pytest.mark.parametrize(
    "history",
    [(S.COMPUTED,), (S.CONTRIBUTING,), (S.COMPUTED, S.RECOVERING), (S.APP_DOWNLOAD_FAILED,)],
)
def test_from_computed_on_no_failure_frees_a_slot_and_aborted_is_all(
    history: tuple[ReplicateStatus, ...],
) -> None:
    life = given_up(*history)
    assert life.at(Step.ABORT)
    assert DoStep(Step.ABORT, 1) in life.wants


# What the chain says.


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (sighting(), None),
        (sighting(TaskStatus.REVEALING), "TASK_NOT_ACTIVE"),
        (sighting(head_s=CONTRIBUTION_DEADLINE_S), "CONTRIBUTION_TIMEOUT"),
    ],
)
def test_only_the_chain_tells_that_it_is_too_late(seen: Sighting, cause: str | None) -> None:
    assert rebuild.too_late(seen) == cause
    assert rebuild.may_begin(seen) is (cause is None)


def test_a_task_that_is_contributed_to_is_not_begun() -> None:
    assert not rebuild.may_begin(WAITING)


@pytest.mark.parametrize("status", ContributionStatus)
def test_a_contribution_that_stands_is_ours(status: ContributionStatus) -> None:
    ours = status in (ContributionStatus.CONTRIBUTED, ContributionStatus.PROVED)
    assert rebuild.is_ours(sighting(status=status)) is ours


def test_a_task_is_over_when_it_has_ended_or_its_final_deadline_has() -> None:
    assert rebuild.is_over(sighting(TaskStatus.FAILED))
    assert rebuild.is_over(sighting(head_s=FINAL_DEADLINE_S + 1))
    assert not rebuild.is_over(sighting(TaskStatus.REVEALING, head_s=FINAL_DEADLINE_S))
