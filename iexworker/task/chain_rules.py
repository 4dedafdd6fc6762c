"""How a replicate reacts to the state of the chain (docs/spec/04, section 11.1, steps 2-8).

The scheduler pushes nothing twice, so after an absence the chain alone decides; while
nothing was missed it only confirms what the scheduler pushes anyway.
"""

from __future__ import annotations

from dataclasses import replace

from iexworker.core.messages import AbortCause, ReplicateStatus
from iexworker.poco.models import ContributionStatus, TaskStatus
from iexworker.task.events import AskScheduler, DoStep, Observed, StopWork, Transact
from iexworker.task.replicate import STATUSES, Replicate, Step, Update, Work
from iexworker.task.transitions import (
    Change,
    abort,
    begin_step,
    lose,
    reveal_allowed,
    upload_allowed,
)

_S = ReplicateStatus


def ended(replicate: Replicate, seen: Observed) -> Change:
    """Finish: the task is COMPLETED or FAILED on the chain, or past its final deadline (step 2)."""
    if replicate.step is Step.COMPLETE:
        return replicate, ()
    if replicate.step is Step.ABORT:
        purge = replicate.lost and replicate.work is Work.DOING
        return replicate, (DoStep(Step.ABORT, replicate.attempt),) if purge else ()
    if not seen.overdue:
        return replicate, ()  # PLEASE_COMPLETE or PLEASE_ABORT is on its way
    proved = seen.contribution.status is ContributionStatus.PROVED
    if proved or replicate.revealed:
        return begin_step(replace(replicate, pending=(), revealed=True), Step.COMPLETE)
    return abort(replace(replicate, staked=False))


def under_way(replicate: Replicate, seen: Observed) -> Change:
    """Go on with a task that can still be contributed to, revealed or finalized."""
    if replicate.step in (Step.ABORT, Step.COMPLETE):
        return replicate, ()
    if seen.contribution.status is ContributionStatus.PROVED:
        return _proved(replicate, seen)
    if seen.contribution.status is ContributionStatus.CONTRIBUTED:
        return _contributed(replicate, seen)
    return _uncommitted(replicate, seen)


def _proved(replicate: Replicate, seen: Observed) -> Change:
    if reveal_allowed(replicate):
        replicate, _ = begin_step(replicate, Step.REVEAL)
    if replicate.step is Step.REVEAL and replicate.work is Work.DOING:
        return replicate, (Transact(Step.REVEAL),)  # the outbox finds it mined
    if replicate.step is Step.UPLOAD:
        return _uploading(replicate, seen), ()
    if replicate.step is not Step.REVEAL:
        return replicate, ()
    replicate, effects = _release(replicate, seen)
    if replicate.pending or effects or not upload_allowed(replicate):
        return replicate, effects
    if replicate.upload_asked or (seen.overdue and seen.task.winner_counter == 1):
        return begin_step(replicate, Step.UPLOAD)
    return replicate, (AskScheduler(),) if seen.overdue else ()


def _uploading(replicate: Replicate, seen: Observed) -> Replicate:
    """Let the scheduler's clock run when we cannot reach the proxy and another winner may (H31)."""
    others = seen.overdue and seen.task.winner_counter > 1
    if replicate.work is not Work.DOING or not others:
        return replicate
    return replicate.with_update(Update(_S.RESULT_UPLOADING))


def _contributed(replicate: Replicate, seen: Observed) -> Change:
    if seen.task.status is not TaskStatus.REVEALING:
        return _without_consensus(replicate, seen)
    if seen.contribution.result_hash != seen.task.consensus:
        return lose(replicate, AbortCause.CONSENSUS_REACHED)
    if seen.head_s >= seen.task.reveal_deadline_s:
        return lose(replicate, AbortCause.UNKNOWN)
    if seen.own_hash != seen.task.consensus:
        return replicate, ()  # the digest is gone: nothing that we could reveal
    if reveal_allowed(replicate):
        replicate, _ = begin_step(replicate, Step.REVEAL)
    if replicate.step is not Step.REVEAL or replicate.work is not Work.DOING:
        return replicate, ()
    replicate, effects = _release(replicate, seen)
    return replicate, (Transact(Step.REVEAL), *effects)


def _without_consensus(replicate: Replicate, seen: Observed) -> Change:
    """Give up where scheduler and chain both say that nobody can contribute any more."""
    told = replicate.abort_cause is AbortCause.CONTRIBUTION_TIMEOUT
    if told and seen.head_s >= seen.task.contribution_deadline_s:
        return lose(replicate, AbortCause.CONTRIBUTION_TIMEOUT)
    return replicate, ()


def _release(replicate: Replicate, seen: Observed) -> Change:
    """Ask whether held updates may go when the push that frees them does not come (step 5).

    A sole winner asks, too: of a contribution that was reorganised away and mined again the
    scheduler may have recorded the first, and not have seen the consensus yet.
    """
    held = bool(replicate.pending) and not replicate.consensus_known
    reported = _S.CONTRIBUTED in replicate.acknowledged
    return replicate, (AskScheduler(),) if held and reported and seen.overdue else ()


def _uncommitted(replicate: Replicate, seen: Observed) -> Change:
    if replicate.staked or replicate.work is not Work.DOING:
        return replicate, ()
    if replicate.step.rank > Step.CONTRIBUTE.rank:
        return replicate, ()
    if seen.task.status is not TaskStatus.ACTIVE:
        cause = "TASK_NOT_ACTIVE"
    elif seen.head_s >= seen.task.contribution_deadline_s:
        cause = "CONTRIBUTION_TIMEOUT"
    else:
        return replicate, ()
    failure = Update(STATUSES[replicate.step].failure, cause=cause)
    failed = replace(replicate, work=Work.FAILED).with_update(failure)
    return failed, (StopWork(),)
