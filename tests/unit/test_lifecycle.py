"""The life of a replicate, by events."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iexworker.chain.models import ChainTask, Contribution, ContributionStatus, TaskStatus
from iexworker.core.messages import (
    AbortCause,
    AnswerKind,
    ChainReceipt,
    Notification,
    NotificationType,
    Profile,
    ReplicateStatus,
    WorkerpoolAuthorization,
)
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
    NotMined,
    Observe,
    Observed,
    Prepared,
    Resend,
    SchedulerSaw,
    StepDone,
    StopWork,
    Transact,
)
from iexworker.task.replicate import Replicate, Step, Update, Work

S = ReplicateStatus
N = NotificationType
TASK = "0x" + "ab" * 32
WALLET = "0x" + "11" * 20
DIGEST = "0x" + "dd" * 32
OWN_HASH = "0x" + "0a" * 32
OTHER_HASH = "0x" + "0b" * 32
RECEIPT = ChainReceipt(7, "0x" + "cc" * 32)


def granted(profile: Profile = Profile.V9) -> Replicate:
    authorization = WorkerpoolAuthorization.from_json(
        {
            "chainTaskId": TASK,
            "workerWallet": WALLET,
            "enclaveChallenge": "0x" + "00" * 20,
            "signature": {"value": "0x" + "22" * 65},
        }
    )
    return Replicate(authorization, profile)


class Life:
    """Drives one replicate and keeps what it asked for."""

    def __init__(self, replicate: Replicate | None = None) -> None:
        self.effects: tuple[Effect, ...] = ()
        if replicate is None:
            self.now, self.effects = lifecycle.begin(granted())
        else:
            self.now = replicate

    def feed(self, *events: Event) -> Life:
        for event in events:
            self.now, self.effects = lifecycle.advance(self.now, event)
        return self

    def answer(self, wants: NotificationType | None = N.PLEASE_CONTINUE) -> Life:
        """Accept the update that is due."""
        update = lifecycle.next_update(self.now)
        assert update is not None
        return self.feed(Answered(update.status, AnswerKind.ACCEPTED, wants))

    def done(self, **facts: object) -> Life:
        event = StepDone(self.now.step, self.now.attempt, **{"ok": True, **facts})  # type: ignore[arg-type]  # keyword table
        return self.feed(event)

    def wants(self) -> tuple[Effect, ...]:
        """What the last event asked for."""
        return self.effects

    @property
    def due(self) -> ReplicateStatus | None:
        update = lifecycle.next_update(self.now)
        return None if update is None else update.status


def observed(
    task_status: TaskStatus = TaskStatus.ACTIVE,
    contribution: ContributionStatus = ContributionStatus.UNSET,
    *,
    consensus: str = OWN_HASH,
    head_s: int = 1_000,
    overdue: bool = False,
    winners: int = 1,
    own_hash: str | None = OWN_HASH,
) -> Observed:
    task = ChainTask(
        task_id=TASK,
        status=task_status,
        deal_id="0x" + "de" * 32,
        index=0,
        time_reference_s=300,
        contribution_deadline_s=3_100,
        reveal_deadline_s=1_600,
        final_deadline_s=4_000,
        consensus=consensus,
        reveal_counter=0,
        winner_counter=winners,
        contributors=(WALLET,),
        results="0x",
    )
    own = Contribution(contribution, OWN_HASH, "0x" + "5e" * 32, "0x" + "00" * 20)
    return Observed(task, own, own_hash, head_s, overdue)


def notified(kind: NotificationType, cause: AbortCause = AbortCause.UNKNOWN) -> Notified:
    return Notified(Notification(TASK, (WALLET,), kind, abort_cause=cause))


def computed() -> Life:
    """A replicate whose COMPUTED has been accepted."""
    life = Life()
    for wants in (N.PLEASE_DOWNLOAD_APP, N.PLEASE_DOWNLOAD_DATA, N.PLEASE_COMPUTE):
        life.answer().done().answer(wants)
    life.answer().done(digest=DIGEST, exit_code=0, with_logs=True)
    return life.answer(N.PLEASE_CONTRIBUTE)


def contributed() -> Life:
    """A replicate whose contribution is mined and reported."""
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    return life.feed(Mined(Step.CONTRIBUTE, RECEIPT)).answer(N.PLEASE_WAIT)


def revealed() -> Life:
    """A replicate whose reveal is mined and reported."""
    life = contributed().feed(notified(N.PLEASE_REVEAL)).answer()
    return life.feed(Mined(Step.REVEAL, RECEIPT)).answer(N.PLEASE_WAIT)


REVEALING = observed(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED)


def test_a_task_goes_its_whole_way_and_is_forgotten() -> None:
    life = revealed().feed(notified(N.PLEASE_UPLOAD))
    assert life.wants() == (DoStep(Step.UPLOAD, life.now.attempt),)
    life.done(result_link="link").answer().answer(N.PLEASE_WAIT)
    life.feed(notified(N.PLEASE_COMPLETE)).answer().done().answer(N.PLEASE_WAIT)
    assert life.wants() == (Forget(),)
    assert life.now.acknowledged == (
        S.STARTING,
        S.STARTED,
        S.APP_DOWNLOADING,
        S.APP_DOWNLOADED,
        S.DATA_DOWNLOADING,
        S.DATA_DOWNLOADED,
        S.COMPUTING,
        S.COMPUTED,
        S.CONTRIBUTING,
        S.CONTRIBUTED,
        S.REVEALING,
        S.REVEALED,
        S.RESULT_UPLOADING,
        S.RESULT_UPLOADED,
        S.COMPLETING,
        S.COMPLETED,
    )


def test_work_starts_before_its_first_update_is_answered() -> None:
    life = Life()
    assert life.due is S.STARTING
    assert life.wants() == (DoStep(Step.START, 1),)


def test_the_answer_to_an_ing_update_is_not_followed() -> None:
    life = Life().feed(Answered(S.STARTING, AnswerKind.REFUSED, N.PLEASE_ABORT))
    assert life.now.step is Step.START
    assert S.STARTING not in life.now.acknowledged


def test_a_status_already_recorded_goes_on_with_the_usual_next_action() -> None:
    life = Life().answer().done().feed(Answered(S.STARTED, AnswerKind.ALREADY, N.PLEASE_WAIT))
    assert life.now.step is Step.APP


def test_a_silent_acceptance_before_the_contribution_goes_on_all_the_same() -> None:
    assert Life().answer().done().answer(N.PLEASE_WAIT).now.step is Step.APP
    assert Life().answer().done().answer(None).now.step is Step.APP
    life = Life()
    for step in (Step.APP, Step.DATA, Step.COMPUTE, Step.CONTRIBUTE):
        assert life.answer().done().answer(N.PLEASE_WAIT).now.step is step


def test_an_answer_that_asks_for_what_is_done_changes_nothing() -> None:
    life = Life().answer().done()
    attempt = life.now.attempt
    life.answer(N.PLEASE_START)
    assert (life.now.step, life.now.work, life.now.attempt) == (Step.START, Work.DONE, attempt)
    assert life.wants() == ()


def test_an_acceptance_that_asks_for_an_abort_is_obeyed() -> None:
    life = Life().answer().done().answer(N.PLEASE_ABORT)
    assert life.wants() == (StopWork(), DoStep(Step.ABORT, life.now.attempt))


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        ("INPUT_FILES_DOWNLOAD_FAILED", N.PLEASE_CONTRIBUTE),
        ("POST_COMPUTE_FAILED_UNKNOWN_ISSUE", N.PLEASE_ABORT),
        (None, N.PLEASE_ABORT),
    ],
)
def test_a_repeated_download_failure_is_contributed_by_its_cause(
    cause: str | None, expected: NotificationType
) -> None:
    assert lifecycle.usual_next(Update(S.DATA_DOWNLOAD_FAILED, cause=cause)) is expected


@pytest.mark.parametrize("status", [S.CONTRIBUTED, S.REVEALED, S.RESULT_UPLOADED])
def test_from_the_contribution_on_a_repeated_update_asks_for_nothing(status: S) -> None:
    assert lifecycle.usual_next(Update(status)) is N.PLEASE_WAIT


def test_a_failed_start_is_answered_by_aborted() -> None:
    life = Life().answer().done(ok=False, cause="STAKE_TOO_LOW")
    assert life.now.pending[-1] == Update(S.START_FAILED, cause="STAKE_TOO_LOW")
    assert not life.now.holds_slot
    life.answer(N.PLEASE_ABORT)
    assert life.wants() == (StopWork(), DoStep(Step.ABORT, life.now.attempt))
    life.done()
    assert life.now.pending == (Update(S.ABORTED, cause="UNKNOWN"),)
    assert life.wants() == ()  # kept until that is answered
    assert life.answer(None).wants() == (Forget(),)


def test_a_refused_abort_ends_the_task_too() -> None:
    life = Life().feed(notified(N.PLEASE_ABORT)).done()
    life.feed(Answered(S.ABORTED, AnswerKind.REFUSED, N.PLEASE_ABORT))
    assert life.wants() == (Forget(),)


def test_a_failed_purge_is_still_answered() -> None:
    life = Life().feed(notified(N.PLEASE_ABORT, AbortCause.CONTRIBUTION_TIMEOUT)).done(ok=False)
    assert life.now.pending == (Update(S.ABORTED, cause="CONTRIBUTION_TIMEOUT"),)


def test_an_outcome_that_is_told_twice_counts_once() -> None:
    life = Life().answer()
    outcome = StepDone(Step.START, life.now.attempt, ok=True)
    before = life.feed(outcome).now
    assert before.work is Work.DONE
    assert life.feed(replace(outcome, ok=False, cause="UNKNOWN")).now == before


@pytest.mark.parametrize("kind", [N.PLEASE_ABORT, N.PLEASE_COMPLETE])
def test_an_abort_under_way_is_not_begun_again(kind: NotificationType) -> None:
    life = Life().feed(notified(N.PLEASE_ABORT, AbortCause.CONTRIBUTION_TIMEOUT))
    before = life.now
    life.feed(notified(kind))
    assert (life.now, life.wants()) == (before, ())


@pytest.mark.parametrize("kind", [N.PLEASE_ABORT, N.PLEASE_COMPLETE, N.PLEASE_REVEAL])
def test_a_completion_under_way_is_not_begun_again(kind: NotificationType) -> None:
    life = revealed().feed(notified(N.PLEASE_COMPLETE))
    before = life.now
    life.feed(notified(kind))
    assert (life.now, life.wants()) == (before, ())


def test_an_outcome_that_an_abort_has_overtaken_is_dropped() -> None:
    life = Life()
    late = StepDone(Step.START, life.now.attempt, ok=True)
    life.feed(notified(N.PLEASE_ABORT), late)
    assert life.now.step is Step.ABORT
    assert life.now.pending == ()


def test_an_answer_that_an_abort_has_overtaken_is_dropped() -> None:
    life = Life().feed(notified(N.PLEASE_ABORT))
    before = life.now
    assert life.feed(Answered(S.STARTING, AnswerKind.ACCEPTED)).now == before


def test_checks_of_another_step_put_nothing_at_stake() -> None:
    life = Life().feed(Prepared(Step.START, 3_100, 4_000))
    assert (life.now.staked, life.wants()) == (False, ())
    assert (life.now.contribution_deadline_s, life.now.final_deadline_s) == (3_100, 4_000)


def test_checks_that_an_abort_has_overtaken_put_nothing_at_stake() -> None:
    life = computed().feed(notified(N.PLEASE_ABORT), Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    assert (life.now.staked, life.wants()) == (False, ())
    earlier = Life().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    assert (earlier.now.staked, earlier.wants()) == (False, ())
    late = computed().feed(Prepared(Step.START, 3_100, 4_000))
    assert (late.now.staked, late.wants()) == (False, ())


def test_the_stake_counts_from_the_moment_the_outbox_is_asked() -> None:
    life = computed().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    assert life.now.staked
    assert life.wants() == (Transact(Step.CONTRIBUTE),)


def test_what_was_computed_is_kept_for_the_contribution() -> None:
    life = Life()
    for wants in (N.PLEASE_DOWNLOAD_APP, N.PLEASE_DOWNLOAD_DATA, N.PLEASE_COMPUTE):
        life.answer().done().answer(wants)
    life.answer().done(digest=DIGEST, callback_data="0xca11", exit_code=3, with_logs=True)
    assert life.now.pending == (Update(S.COMPUTED, exit_code=3, with_logs=True),)
    assert (life.now.digest, life.now.callback_data) == (DIGEST, "0xca11")
    assert life.now.work is Work.DONE
    life.answer(N.PLEASE_CONTRIBUTE).feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    assert (life.now.contribution_deadline_s, life.now.final_deadline_s) == (3_100, 4_000)


def test_a_success_is_reported_without_a_cause() -> None:
    assert Life().done(cause="UNKNOWN").now.pending[-1] == Update(S.STARTED)


def test_a_contribution_that_is_set_already_is_looked_for_by_the_outbox() -> None:
    life = computed().done(ok=False, cause="CONTRIBUTION_ALREADY_SET")
    assert life.now.staked
    assert life.wants() == (Transact(Step.CONTRIBUTE),)


def test_a_missing_digest_fails_the_contribution_and_then_aborts() -> None:
    life = computed().answer().done(ok=False, cause="DETERMINISM_HASH_NOT_FOUND")
    assert life.due is S.CONTRIBUTE_FAILED
    life.feed(Answered(S.CONTRIBUTE_FAILED, AnswerKind.REFUSED, N.PLEASE_ABORT))
    assert life.now.step is Step.ABORT


def test_a_void_contribute_takes_the_stake_back() -> None:
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    life.feed(NotMined(Step.CONTRIBUTE, "CHAIN_RECEIPT_NOT_VALID"))
    assert not life.now.staked
    assert life.now.work is Work.FAILED
    failure = Update(S.CONTRIBUTE_FAILED, cause="CHAIN_RECEIPT_NOT_VALID")
    assert life.now.pending[-1] == failure


def test_a_contribute_that_is_told_void_too_late_changes_nothing() -> None:
    void = NotMined(Step.CONTRIBUTE, "CHAIN_RECEIPT_NOT_VALID")
    for life in (contributed(), contributed().feed(REVEALING), revealed()):
        before = life.now
        life.feed(void)
        assert (life.now, life.wants()) == (before, ())


def test_a_void_reveal_is_looked_into_and_nothing_is_given_up() -> None:
    life = contributed().feed(REVEALING)
    before = life.now
    life.feed(NotMined(Step.REVEAL, "CANNOT_REVEAL"))
    assert (life.now, life.wants()) == (before, (Observe(),))


def test_what_is_mined_is_reported_with_its_receipt() -> None:
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    life.feed(Mined(Step.CONTRIBUTE, RECEIPT))
    assert life.now.pending == (Update(S.CONTRIBUTED, receipt=RECEIPT),)
    life.answer(N.PLEASE_WAIT).feed(notified(N.PLEASE_REVEAL)).answer()
    life.feed(Mined(Step.REVEAL, RECEIPT))
    assert life.now.pending == (Update(S.REVEALED, receipt=RECEIPT),)


def test_an_abort_asked_meanwhile_follows_a_void_contribute() -> None:
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    life.feed(notified(N.PLEASE_ABORT), NotMined(Step.CONTRIBUTE, "CHAIN_RECEIPT_NOT_VALID"))
    assert life.now.step is Step.ABORT


def test_a_staked_task_is_not_aborted_on_the_schedulers_word() -> None:
    life = contributed().feed(notified(N.PLEASE_ABORT, AbortCause.CONSENSUS_REACHED))
    assert life.now.step is Step.CONTRIBUTE
    assert life.wants() == (Observe(),)


def test_the_last_cause_that_was_told_counts_and_a_refusal_tells_none() -> None:
    life = revealed().feed(notified(N.PLEASE_UPLOAD))
    life.feed(notified(N.PLEASE_ABORT, AbortCause.CONTRIBUTION_TIMEOUT))
    life.feed(notified(N.PLEASE_ABORT, AbortCause.CONSENSUS_REACHED))
    assert life.now.abort_cause is AbortCause.CONSENSUS_REACHED
    life.done(result_link="link").answer()
    life.feed(Answered(S.RESULT_UPLOADED, AnswerKind.REFUSED, N.PLEASE_ABORT))
    assert life.now.abort_cause is AbortCause.CONSENSUS_REACHED


def test_a_refused_contributed_is_sent_again() -> None:
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    life.feed(Mined(Step.CONTRIBUTE, RECEIPT))
    life.feed(Answered(S.CONTRIBUTED, AnswerKind.REFUSED, N.PLEASE_ABORT))
    assert life.due is S.CONTRIBUTED
    assert life.wants() == (Resend(), Observe())


def test_the_chain_alone_makes_us_reveal_but_its_updates_are_held() -> None:
    life = contributed().feed(REVEALING)
    assert life.wants() == (Transact(Step.REVEAL),)
    life.feed(Mined(Step.REVEAL, RECEIPT))
    assert life.now.revealed
    assert life.due is None
    assert life.feed(notified(N.PLEASE_REVEAL)).due is S.REVEALING


@pytest.mark.parametrize("winners", [1, 2])
def test_a_winner_that_misses_the_push_asks_before_it_lets_updates_go(winners: int) -> None:
    shown = observed(
        TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED, overdue=True, winners=winners
    )
    life = contributed().feed(replace(shown, overdue=False))
    assert life.wants() == (Transact(Step.REVEAL),)
    life.feed(shown)
    assert AskScheduler() in life.wants()
    assert life.due is None
    assert life.feed(SchedulerSaw(consensus=False, asked_to_upload=False)).due is None
    assert life.feed(SchedulerSaw(consensus=True, asked_to_upload=False)).due is S.REVEALING


def test_a_reveal_waits_until_the_own_node_shows_the_consensus() -> None:
    life = contributed().feed(notified(N.PLEASE_REVEAL))
    assert (life.now.step, life.wants()) == (Step.REVEAL, (Observe(),))
    life.feed(observed(TaskStatus.ACTIVE, ContributionStatus.CONTRIBUTED))
    assert life.wants() == ()
    assert life.feed(REVEALING).wants() == (Transact(Step.REVEAL),)


def test_updates_are_not_let_go_before_the_contribution_is_reported() -> None:
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    life.feed(Mined(Step.CONTRIBUTE, RECEIPT), replace(REVEALING, overdue=True))
    assert life.wants() == (Transact(Step.REVEAL),)
    assert not life.now.consensus_known


def test_nobody_is_asked_for_a_consensus_that_is_known() -> None:
    several = observed(
        TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED, overdue=True, winners=2
    )
    life = contributed().feed(notified(N.PLEASE_REVEAL), several)
    assert life.wants() == (Transact(Step.REVEAL),)


def test_a_reveal_that_an_answer_asks_for_is_left_to_what_the_chain_shows() -> None:
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    life.feed(Mined(Step.CONTRIBUTE, RECEIPT)).answer(N.PLEASE_REVEAL)
    assert (life.now.step, life.wants()) == (Step.REVEAL, (Observe(),))


def test_a_second_please_reveal_changes_nothing() -> None:
    life = revealed()
    before = life.now
    assert life.feed(notified(N.PLEASE_REVEAL)).now == before


def test_another_consensus_is_answered_by_aborted_and_the_files_stay() -> None:
    life = contributed().feed(notified(N.PLEASE_ABORT, AbortCause.CONSENSUS_REACHED))
    life.feed(observed(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED, consensus=OTHER_HASH))
    assert life.now.lost
    assert life.wants() == (StopWork(),)
    assert life.now.pending == (Update(S.ABORTED, cause="CONSENSUS_REACHED"),)
    assert life.answer(None).wants() == ()
    life.feed(observed(TaskStatus.COMPLETED, ContributionStatus.REJECTED))
    assert life.wants() == (DoStep(Step.ABORT, life.now.attempt),)
    assert life.done().wants() == (Forget(),)


def test_a_contribution_without_a_consensus_is_given_up_when_scheduler_and_chain_say_so() -> None:
    late = observed(TaskStatus.ACTIVE, ContributionStatus.CONTRIBUTED, head_s=3_100)
    assert not contributed().feed(late).now.lost  # the chain alone
    life = contributed().feed(notified(N.PLEASE_ABORT, AbortCause.CONSENSUS_REACHED), late)
    assert not life.now.lost  # for another reason
    life = contributed().feed(notified(N.PLEASE_ABORT, AbortCause.CONTRIBUTION_TIMEOUT))
    before = life.now
    life.feed(replace(late, head_s=3_099))
    assert (life.now, life.wants()) == (before, ())  # the scheduler alone
    life.feed(late)
    assert (life.now.lost, life.wants()) == (True, (StopWork(),))
    assert life.now.pending == (Update(S.ABORTED, cause="CONTRIBUTION_TIMEOUT"),)


def test_a_lost_contribution_is_given_up_once() -> None:
    other = observed(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED, consensus=OTHER_HASH)
    life = contributed().feed(other)
    before = life.now
    life.feed(other)
    assert (life.now, life.wants()) == (before, ())


def test_a_purge_is_asked_for_once_by_what_the_chain_shows() -> None:
    failed = observed(TaskStatus.FAILED, ContributionStatus.UNSET, overdue=True)
    aborting = Life().feed(notified(N.PLEASE_ABORT))
    assert aborting.feed(failed).wants() == ()
    other = observed(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED, consensus=OTHER_HASH)
    lost = contributed().feed(other, failed).done()
    assert lost.now.pending
    assert lost.feed(failed).wants() == ()


def test_a_lost_contribution_begins_an_attempt_of_its_own() -> None:
    life = contributed()
    attempt = life.now.attempt
    life.feed(observed(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED, consensus=OTHER_HASH))
    assert (life.now.step, life.now.attempt) == (Step.ABORT, attempt + 1)


def test_the_consensus_is_not_revealed_before_the_outbox_knows_the_contribution_mined() -> None:
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    before = life.now
    assert life.feed(REVEALING).now == before
    assert life.wants() == ()


def test_a_second_look_at_the_consensus_begins_no_second_reveal() -> None:
    life = contributed().feed(REVEALING)
    before = life.now
    assert life.feed(REVEALING).now == before
    assert life.wants() == (Transact(Step.REVEAL),)


def test_a_reveal_that_only_the_chain_knows_of_is_looked_for_by_the_outbox() -> None:
    life = contributed().feed(observed(TaskStatus.REVEALING, ContributionStatus.PROVED))
    assert (life.now.step, life.now.work) == (Step.REVEAL, Work.DOING)
    assert life.wants() == (Transact(Step.REVEAL),)


def test_a_reveal_deadline_passed_by_the_heads_time_loses() -> None:
    life = contributed().feed(
        observed(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED, head_s=1_600)
    )
    assert life.now.lost


def test_nothing_is_revealed_without_the_digest_of_the_consensus() -> None:
    life = contributed().feed(replace(REVEALING, own_hash=None))
    assert life.wants() == ()
    assert not life.now.lost


def test_a_second_please_upload_changes_nothing() -> None:
    life = revealed().feed(notified(N.PLEASE_UPLOAD))
    before = life.now
    life.feed(notified(N.PLEASE_UPLOAD))
    assert (life.now, life.wants()) == (before, ())


def test_a_failed_upload_is_reported_with_its_cause_and_no_link() -> None:
    life = revealed().feed(notified(N.PLEASE_UPLOAD))
    life.done(ok=False, cause="RESULT_LINK_MISSING", result_link="link")
    assert life.now.pending[-1] == Update(S.RESULT_UPLOAD_FAILED, cause="RESULT_LINK_MISSING")


def test_nothing_is_uploaded_unasked_before_the_reveal_is_reported() -> None:
    proved = observed(TaskStatus.REVEALING, ContributionStatus.PROVED, overdue=True)
    life = contributed().feed(notified(N.PLEASE_REVEAL)).answer()
    life.feed(Mined(Step.REVEAL, RECEIPT), proved)
    assert (life.now.step, life.due) == (Step.REVEAL, S.REVEALED)


def test_an_upload_asked_before_the_reveal_is_seen_follows_it() -> None:
    life = contributed().feed(notified(N.PLEASE_REVEAL), notified(N.PLEASE_UPLOAD))
    assert life.now.step is Step.REVEAL
    assert life.feed(Mined(Step.REVEAL, RECEIPT)).now.step is Step.UPLOAD


def test_a_sole_winner_uploads_unasked_when_the_push_is_overdue() -> None:
    proved = observed(TaskStatus.REVEALING, ContributionStatus.PROVED)
    life = revealed().feed(proved)
    assert life.now.step is Step.REVEAL
    assert life.feed(replace(proved, overdue=True)).now.step is Step.UPLOAD


def test_one_of_several_winners_asks_whether_it_is_to_upload() -> None:
    proved = observed(TaskStatus.REVEALING, ContributionStatus.PROVED, overdue=True, winners=3)
    life = revealed().feed(replace(proved, overdue=False))
    assert life.wants() == ()
    life.feed(proved)
    assert life.wants() == (AskScheduler(),)
    assert life.feed(SchedulerSaw(consensus=True, asked_to_upload=True)).now.step is Step.UPLOAD


def test_uploading_is_told_once_the_proxy_has_the_result() -> None:
    life = revealed().feed(notified(N.PLEASE_UPLOAD))
    assert life.due is None
    assert life.done(result_link="link").due is S.RESULT_UPLOADING
    assert life.answer().due is S.RESULT_UPLOADED


def test_the_upload_is_reported_with_its_link_and_the_callback_data() -> None:
    record = replace(revealed().now, callback_data="0xca11")
    life = Life(record).feed(notified(N.PLEASE_UPLOAD)).done(result_link="link")
    uploaded = Update(S.RESULT_UPLOADED, result_link="link", callback_data="0xca11")
    assert life.now.pending[-1] == uploaded


def test_no_later_outcome_changes_what_was_contributed() -> None:
    life = revealed().feed(notified(N.PLEASE_UPLOAD))
    life.done(digest=OTHER_HASH, callback_data="0xbad", result_link="link")
    assert (life.now.digest, life.now.callback_data) == (DIGEST, None)


def test_an_upload_that_takes_long_is_told_of_where_another_winner_may_do_it() -> None:
    alone = observed(TaskStatus.REVEALING, ContributionStatus.PROVED, overdue=True)
    in_time = observed(TaskStatus.REVEALING, ContributionStatus.PROVED, winners=2)
    life = revealed().feed(notified(N.PLEASE_UPLOAD))
    assert life.feed(alone).due is None
    assert life.feed(in_time).due is None
    assert life.feed(replace(in_time, overdue=True)).due is S.RESULT_UPLOADING
    assert life.answer().done(result_link="link").due is S.RESULT_UPLOADED


def test_a_refused_upload_waits_for_the_chain() -> None:
    life = revealed().feed(notified(N.PLEASE_UPLOAD)).done(result_link="link").answer()
    life.feed(Answered(S.RESULT_UPLOADED, AnswerKind.REFUSED, N.PLEASE_ABORT))
    assert (life.now.step, life.wants()) == (Step.UPLOAD, (Observe(),))
    life.feed(observed(TaskStatus.COMPLETED, ContributionStatus.PROVED, overdue=True))
    assert life.now.step is Step.COMPLETE


def test_a_completed_task_whose_reveal_only_the_chain_knows_of_is_completed() -> None:
    life = contributed().feed(
        observed(TaskStatus.COMPLETED, ContributionStatus.PROVED, overdue=True)
    )
    assert (life.now.step, life.now.revealed) == (Step.COMPLETE, True)
    assert [update.status for update in life.now.pending] == [S.COMPLETING]
    unreported = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    unreported.feed(Mined(Step.CONTRIBUTE, RECEIPT))
    unreported.feed(observed(TaskStatus.COMPLETED, ContributionStatus.PROVED, overdue=True))
    assert [update.status for update in unreported.now.pending] == [S.COMPLETING]


def test_a_task_that_failed_on_the_chain_is_aborted() -> None:
    life = contributed().feed(
        observed(TaskStatus.FAILED, ContributionStatus.CONTRIBUTED, overdue=True)
    )
    assert (life.now.step, life.now.staked) == (Step.ABORT, False)
    assert life.wants()[0] == StopWork()


def test_the_end_on_the_chain_leaves_the_scheduler_time_for_its_push() -> None:
    life = revealed().feed(observed(TaskStatus.COMPLETED, ContributionStatus.PROVED))
    assert life.now.step is Step.REVEAL


def test_the_final_deadline_by_the_heads_time_ends_a_task() -> None:
    life = revealed().feed(
        observed(TaskStatus.REVEALING, ContributionStatus.PROVED, head_s=4_001, overdue=True)
    )
    assert life.now.step is Step.COMPLETE


def test_a_computation_past_the_contribution_deadline_fails_its_step() -> None:
    life = Life().feed(observed(head_s=3_100))
    assert life.wants() == (StopWork(),)
    assert life.now.work is Work.FAILED
    assert life.now.pending[-1] == Update(S.START_FAILED, cause="CONTRIBUTION_TIMEOUT")


def test_a_computation_in_time_goes_on() -> None:
    life = Life()
    before = life.now
    life.feed(observed(head_s=3_099))
    assert (life.now, life.wants()) == (before, ())


def test_checks_of_a_contribution_that_take_until_its_deadline_fail_it() -> None:
    life = computed().answer().feed(observed(head_s=3_100))
    assert life.now.pending == (Update(S.CONTRIBUTE_FAILED, cause="CONTRIBUTION_TIMEOUT"),)


def test_a_contribute_in_the_outbox_is_not_given_up_for_what_the_chain_does_not_show() -> None:
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    before = life.now
    for seen in (observed(head_s=3_100), observed(TaskStatus.REVEALING)):
        life.feed(seen)
        assert (life.now, life.wants()) == (before, ())


def test_a_contribution_that_the_outbox_still_looks_for_is_not_taken_for_revealed() -> None:
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    before = life.now
    life.feed(observed(TaskStatus.REVEALING, ContributionStatus.PROVED, overdue=True))
    assert (life.now, life.wants()) == (before, ())


def test_a_computation_of_a_task_decided_without_us_fails_its_step() -> None:
    life = Life().feed(observed(TaskStatus.REVEALING))
    assert life.now.pending[-1].cause == "TASK_NOT_ACTIVE"


def test_complete_while_computing_is_an_abort() -> None:
    life = Life().feed(notified(N.PLEASE_COMPLETE))
    assert life.now.step is Step.ABORT


def test_complete_of_an_unrevealed_contribution_is_left_to_the_chain() -> None:
    assert contributed().feed(notified(N.PLEASE_COMPLETE)).wants() == (Observe(),)


@pytest.mark.parametrize("kind", [N.PLEASE_REVEAL, N.PLEASE_UPLOAD, N.PLEASE_WAIT])
def test_a_push_that_means_nothing_yet_changes_nothing(kind: NotificationType) -> None:
    life = Life()
    before = life.now
    assert life.feed(notified(kind)).now == before


def test_an_update_is_queued_once() -> None:
    update = Update(S.COMPUTED)
    once = granted().with_update(update)
    assert once.with_update(update) == once


@pytest.mark.parametrize(
    ("life", "effects"),
    [
        (Life(), (DoStep(Step.START, 1),)),
        (computed(), (DoStep(Step.CONTRIBUTE, 5), Observe())),
        (
            computed().feed(Prepared(Step.CONTRIBUTE, 1, 2)),
            (Transact(Step.CONTRIBUTE), Observe()),
        ),
        (contributed(), (Observe(),)),
        (contributed().feed(notified(N.PLEASE_REVEAL)), (Observe(),)),
        (revealed(), (Observe(),)),
        (
            revealed().feed(notified(N.PLEASE_UPLOAD)),
            (DoStep(Step.UPLOAD, 7), Observe()),
        ),
    ],
)
def test_a_start_asks_again_for_what_stands(life: Life, effects: tuple[Effect, ...]) -> None:
    assert lifecycle.resume(life.now) == (life.now, effects)


@pytest.mark.parametrize("life", [Life(), computed(), contributed(), revealed()])
def test_a_record_survives_the_journal(life: Life) -> None:
    record = life.feed(notified(N.PLEASE_ABORT, AbortCause.CONSENSUS_REACHED)).now
    assert Replicate.from_json(record.to_json()) == record
