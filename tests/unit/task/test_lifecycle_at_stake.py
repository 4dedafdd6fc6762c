"""The lifecycle of a contributed task: what the chain shows outweighs what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iexworker.core.messages import (
    AbortCause,
    AnswerKind,
)
from iexworker.poco.models import ContributionStatus, TaskStatus
from iexworker.task.events import (
    Answered,
    AskScheduler,
    DoStep,
    Forget,
    Mined,
    Observe,
    Prepared,
    Resend,
    SchedulerSaw,
    StopWork,
    Transact,
)
from iexworker.task.replicate import Step, Update, Work
from tests.helpers.lifecycle_driver import (
    DIGEST,
    OTHER_HASH,
    RECEIPT,
    REVEALING,
    LifecycleDriver,
    N,
    S,
    computed,
    contributed,
    notified,
    observed,
    revealed,
)


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
    aborting = LifecycleDriver().feed(notified(N.PLEASE_ABORT))
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
    life = LifecycleDriver(record).feed(notified(N.PLEASE_UPLOAD)).done(result_link="link")
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


def test_a_task_that_is_being_completed_goes_on_with_that_whatever_the_chain_shows() -> None:
    completed = observed(TaskStatus.COMPLETED, ContributionStatus.PROVED, overdue=True)
    life = revealed().feed(notified(N.PLEASE_COMPLETE))
    assert life.due is S.COMPLETING
    before = life.now
    assert (life.feed(completed).now, life.wants()) == (before, ())


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
