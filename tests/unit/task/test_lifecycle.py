"""The lifecycle from the grant to the contribution, and what ends it on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iexworker.core.messages import (
    AbortCause,
    AnswerKind,
    NotificationType,
)
from iexworker.poco.models import ContributionStatus, TaskStatus
from iexworker.task import lifecycle
from iexworker.task.events import (
    Answered,
    DoStep,
    Effect,
    Forget,
    Mined,
    NotMined,
    Observe,
    Prepared,
    StepDone,
    StopWork,
    Transact,
)
from iexworker.task.replicate import Replicate, Step, Update, Work
from tests.helpers.lifecycle_driver import (
    DIGEST,
    RECEIPT,
    REVEALING,
    LifecycleDriver,
    N,
    S,
    computed,
    contributed,
    granted,
    notified,
    observed,
    revealed,
)


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
    life = LifecycleDriver()
    assert life.due is S.STARTING
    assert life.wants() == (DoStep(Step.START, 1),)


def test_the_answer_to_an_ing_update_is_not_followed() -> None:
    life = LifecycleDriver().feed(Answered(S.STARTING, AnswerKind.REFUSED, N.PLEASE_ABORT))
    assert life.now.step is Step.START
    assert S.STARTING not in life.now.acknowledged


def test_a_status_already_recorded_goes_on_with_the_usual_next_action() -> None:
    life = (
        LifecycleDriver()
        .answer()
        .done()
        .feed(Answered(S.STARTED, AnswerKind.ALREADY, N.PLEASE_WAIT))
    )
    assert life.now.step is Step.APP


def test_a_silent_acceptance_before_the_contribution_goes_on_all_the_same() -> None:
    assert LifecycleDriver().answer().done().answer(N.PLEASE_WAIT).now.step is Step.APP
    assert LifecycleDriver().answer().done().answer(None).now.step is Step.APP
    life = LifecycleDriver()
    for step in (Step.APP, Step.DATA, Step.COMPUTE, Step.CONTRIBUTE):
        assert life.answer().done().answer(N.PLEASE_WAIT).now.step is step


def test_an_answer_that_asks_for_what_is_done_changes_nothing() -> None:
    life = LifecycleDriver().answer().done()
    attempt = life.now.attempt
    life.answer(N.PLEASE_START)
    assert (life.now.step, life.now.work, life.now.attempt) == (Step.START, Work.DONE, attempt)
    assert life.wants() == ()


def test_an_acceptance_that_asks_for_an_abort_is_obeyed() -> None:
    life = LifecycleDriver().answer().done().answer(N.PLEASE_ABORT)
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
    life = LifecycleDriver().answer().done(ok=False, cause="STAKE_TOO_LOW")
    assert life.now.pending[-1] == Update(S.START_FAILED, cause="STAKE_TOO_LOW")
    assert not life.now.holds_slot
    life.answer(N.PLEASE_ABORT)
    assert life.wants() == (StopWork(), DoStep(Step.ABORT, life.now.attempt))
    life.done()
    assert life.now.pending == (Update(S.ABORTED, cause="UNKNOWN"),)
    assert life.wants() == ()  # kept until that is answered
    assert life.answer(None).wants() == (Forget(),)


def test_a_refused_abort_ends_the_task_too() -> None:
    life = LifecycleDriver().feed(notified(N.PLEASE_ABORT)).done()
    life.feed(Answered(S.ABORTED, AnswerKind.REFUSED, N.PLEASE_ABORT))
    assert life.wants() == (Forget(),)


def test_a_failed_purge_is_still_answered() -> None:
    life = (
        LifecycleDriver()
        .feed(notified(N.PLEASE_ABORT, AbortCause.CONTRIBUTION_TIMEOUT))
        .done(ok=False)
    )
    assert life.now.pending == (Update(S.ABORTED, cause="CONTRIBUTION_TIMEOUT"),)


def test_an_outcome_that_is_told_twice_counts_once() -> None:
    life = LifecycleDriver().answer()
    outcome = StepDone(Step.START, life.now.attempt, ok=True)
    before = life.feed(outcome).now
    assert before.work is Work.DONE
    assert life.feed(replace(outcome, ok=False, cause="UNKNOWN")).now == before


@pytest.mark.parametrize("kind", [N.PLEASE_ABORT, N.PLEASE_COMPLETE])
def test_an_abort_under_way_is_not_begun_again(kind: NotificationType) -> None:
    life = LifecycleDriver().feed(notified(N.PLEASE_ABORT, AbortCause.CONTRIBUTION_TIMEOUT))
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
    life = LifecycleDriver()
    late = StepDone(Step.START, life.now.attempt, ok=True)
    life.feed(notified(N.PLEASE_ABORT), late)
    assert life.now.step is Step.ABORT
    assert life.now.pending == ()


def test_an_answer_that_an_abort_has_overtaken_is_dropped() -> None:
    life = LifecycleDriver().feed(notified(N.PLEASE_ABORT))
    before = life.now
    assert life.feed(Answered(S.STARTING, AnswerKind.ACCEPTED)).now == before


def test_checks_of_another_step_put_nothing_at_stake() -> None:
    life = LifecycleDriver().feed(Prepared(Step.START, 3_100, 4_000))
    assert (life.now.staked, life.wants()) == (False, ())
    assert (life.now.contribution_deadline_s, life.now.final_deadline_s) == (3_100, 4_000)


def test_checks_that_an_abort_has_overtaken_put_nothing_at_stake() -> None:
    life = computed().feed(notified(N.PLEASE_ABORT), Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    assert (life.now.staked, life.wants()) == (False, ())
    earlier = LifecycleDriver().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    assert (earlier.now.staked, earlier.wants()) == (False, ())
    late = computed().feed(Prepared(Step.START, 3_100, 4_000))
    assert (late.now.staked, late.wants()) == (False, ())


def test_the_stake_counts_from_the_moment_the_outbox_is_asked() -> None:
    life = computed().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    assert life.now.staked
    assert life.wants() == (Transact(Step.CONTRIBUTE),)


def test_what_was_computed_is_kept_for_the_contribution() -> None:
    life = LifecycleDriver()
    for wants in (N.PLEASE_DOWNLOAD_APP, N.PLEASE_DOWNLOAD_DATA, N.PLEASE_COMPUTE):
        life.answer().done().answer(wants)
    life.answer().done(digest=DIGEST, callback_data="0xca11", exit_code=3, with_logs=True)
    assert life.now.pending == (Update(S.COMPUTED, exit_code=3, with_logs=True),)
    assert (life.now.digest, life.now.callback_data) == (DIGEST, "0xca11")
    assert life.now.work is Work.DONE
    life.answer(N.PLEASE_CONTRIBUTE).feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    assert (life.now.contribution_deadline_s, life.now.final_deadline_s) == (3_100, 4_000)


def test_a_success_is_reported_without_a_cause() -> None:
    assert LifecycleDriver().done(cause="UNKNOWN").now.pending[-1] == Update(S.STARTED)


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


def test_a_computation_past_the_contribution_deadline_fails_its_step() -> None:
    life = LifecycleDriver().feed(observed(head_s=3_100))
    assert life.wants() == (StopWork(),)
    assert life.now.work is Work.FAILED
    assert life.now.pending[-1] == Update(S.START_FAILED, cause="CONTRIBUTION_TIMEOUT")


def test_a_computation_in_time_goes_on() -> None:
    life = LifecycleDriver()
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
    life = LifecycleDriver().feed(observed(TaskStatus.REVEALING))
    assert life.now.pending[-1].cause == "TASK_NOT_ACTIVE"


def test_complete_while_computing_is_an_abort() -> None:
    life = LifecycleDriver().feed(notified(N.PLEASE_COMPLETE))
    assert life.now.step is Step.ABORT


def test_complete_of_an_unrevealed_contribution_is_left_to_the_chain() -> None:
    assert contributed().feed(notified(N.PLEASE_COMPLETE)).wants() == (Observe(),)


@pytest.mark.parametrize("kind", [N.PLEASE_REVEAL, N.PLEASE_UPLOAD, N.PLEASE_WAIT])
def test_a_push_that_means_nothing_yet_changes_nothing(kind: NotificationType) -> None:
    life = LifecycleDriver()
    before = life.now
    assert life.feed(notified(kind)).now == before


def test_an_update_is_queued_once() -> None:
    update = Update(S.COMPUTED)
    once = granted().with_update(update)
    assert once.with_update(update) == once


@pytest.mark.parametrize(
    ("life", "effects"),
    [
        (LifecycleDriver(), (DoStep(Step.START, 1),)),
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
def test_a_start_asks_again_for_what_stands(
    life: LifecycleDriver, effects: tuple[Effect, ...]
) -> None:
    assert lifecycle.resume(life.now) == (life.now, effects)


@pytest.mark.parametrize("life", [LifecycleDriver(), computed(), contributed(), revealed()])
def test_a_record_survives_the_journal(life: LifecycleDriver) -> None:
    record = life.feed(notified(N.PLEASE_ABORT, AbortCause.CONSENSUS_REACHED)).now
    assert Replicate.from_json(record.to_json()) == record
