"""The lifecycle of one replicate, as a state machine without side effects.

A record and an event give the next record and its effects. The runner journals the record
first, then executes the effects; after a crash `resume` returns them again. The protocol is
docs/spec/04; the chain outweighs the scheduler (docs/decisions/0003).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from iexworker.core.messages import AbortCause, AnswerKind, NotificationType, ReplicateStatus
from iexworker.poco.hashing import result_hash
from iexworker.poco.models import TaskStatus
from iexworker.task import chain_rules
from iexworker.task.events import (
    Answered,
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
from iexworker.task.replicate import (
    CONTRIBUTABLE_CAUSES,
    STATUSES,
    STEP_OF,
    Redo,
    Replicate,
    Step,
    Update,
    Work,
)
from iexworker.task.transitions import (
    Change,
    abort,
    begin_redo,
    begin_step,
    reveal_allowed,
    upload_allowed,
)

_S = ReplicateStatus
_BEFORE = frozenset(item.before for item in STATUSES.values())
# The stake hangs on these: a refusal is answered by sending them again (docs/spec/04, H3).
_INSISTED = frozenset({_S.CONTRIBUTED, _S.REVEALED})
_REDO_NEXT = {Step.APP: Step.DATA, Step.DATA: Step.COMPUTE}


def begin(replicate: Replicate) -> Change:
    """Start a granted replicate."""
    return begin_step(replicate, Step.START)


def resume(replicate: Replicate) -> Change:
    """Return what has to be done again after a start: every effect is idempotent."""
    if replicate.redo is not None:
        return replicate, (DoStep(replicate.redo.step, replicate.redo.attempt), Observe())
    if replicate.work is not Work.DOING:
        return replicate, (Observe(),)
    if replicate.step is Step.CONTRIBUTE and replicate.staked:
        return replicate, (Transact(Step.CONTRIBUTE), Observe())
    if replicate.step is Step.REVEAL or replicate.lost:
        return replicate, (Observe(),)
    if replicate.step.rank < Step.CONTRIBUTE.rank:
        return replicate, (DoStep(replicate.step, replicate.attempt),)
    return replicate, (DoStep(replicate.step, replicate.attempt), Observe())


def next_update(replicate: Replicate) -> Update | None:
    """Return the update to send now; None when there is none, or it has to be held.

    REVEALING before the scheduler has the consensus takes our vote out of its count of winners,
    and the task stands still for everybody (H30).
    """
    if not replicate.pending:
        return None
    update = replicate.pending[0]
    if update.status in (_S.REVEALING, _S.REVEALED) and not replicate.consensus_known:
        return None
    return update


def advance(replicate: Replicate, event: Event) -> Change:
    """Return the record after `event`, and what has to be done for it."""
    return _HANDLERS[type(event)](replicate, event)


def usual_next(update: Update) -> NotificationType:
    """Return the action that the scheduler gives for an accepted update (docs/spec/03, 9.4).

    Used where its answer says nothing: a repeated update gets 208 without the next action.
    """
    if update.status in (_S.APP_DOWNLOAD_FAILED, _S.DATA_DOWNLOAD_FAILED):
        contributable = update.cause in CONTRIBUTABLE_CAUSES
        return (
            NotificationType.PLEASE_CONTRIBUTE if contributable else NotificationType.PLEASE_ABORT
        )
    return _USUAL_NEXT.get(update.status, NotificationType.PLEASE_WAIT)


_USUAL_NEXT = {
    _S.STARTED: NotificationType.PLEASE_DOWNLOAD_APP,
    _S.APP_DOWNLOADED: NotificationType.PLEASE_DOWNLOAD_DATA,
    _S.DATA_DOWNLOADED: NotificationType.PLEASE_COMPUTE,
    _S.COMPUTED: NotificationType.PLEASE_CONTRIBUTE,
    _S.START_FAILED: NotificationType.PLEASE_ABORT,
    _S.COMPUTE_FAILED: NotificationType.PLEASE_ABORT,
    _S.CONTRIBUTE_FAILED: NotificationType.PLEASE_ABORT,
    _S.RESULT_UPLOAD_FAILED: NotificationType.PLEASE_ABORT,
    _S.COMPLETE_FAILED: NotificationType.PLEASE_ABORT,
}


def _answered(replicate: Replicate, event: Answered) -> Change:
    if not replicate.pending or replicate.pending[0].status is not event.status:
        return replicate, ()  # the answer to an update that an abort has overtaken
    update, rest = replicate.pending[0], replicate.pending[1:]
    refused = event.kind is AnswerKind.REFUSED
    if refused and update.status in _INSISTED:
        return replicate, (Resend(), Observe())
    replicate = replace(replicate, pending=rest)
    if not refused:
        replicate = replace(replicate, acknowledged=(*replicate.acknowledged, update.status))
    if update.status in _BEFORE:
        return replicate, ()  # upstream follows no answer to these either, not even a refusal
    return _after_final(replicate, update, event)


def _after_final(replicate: Replicate, update: Update, event: Answered) -> Change:
    if update.status in (_S.COMPLETED, _S.COMPLETE_FAILED):
        return replicate, (Forget(),)
    if update.status is _S.ABORTED:
        # A lost contribution keeps its files until the task has ended on the chain.
        return replicate, () if replicate.work is Work.DOING else (Forget(),)
    if event.kind is AnswerKind.REFUSED:
        return _asked_to_abort(replicate, AbortCause.UNKNOWN)
    return _follow(replicate, _next_of(replicate, update, event))


def _next_of(replicate: Replicate, update: Update, event: Answered) -> NotificationType:
    # Before the contribution the way goes on only by answers, so an answer without one is filled in
    if event.kind is AnswerKind.ACCEPTED and event.next is not None:
        silent = event.next in (NotificationType.PLEASE_WAIT, NotificationType.PLEASE_CONTINUE)
        if not (silent and replicate.step.rank <= Step.COMPUTE.rank):
            return event.next
    return usual_next(update)


def _follow(replicate: Replicate, kind: NotificationType) -> Change:
    step = STEP_OF.get(kind)
    if step is None:
        return replicate, ()
    if step is Step.ABORT:
        return _asked_to_abort(replicate, AbortCause.UNKNOWN)
    if step.rank <= replicate.step.rank:
        return replicate, ()  # asked a second time: it is done, or under way
    return begin_step(replicate, step)


def _asked_to_abort(replicate: Replicate, cause: AbortCause) -> Change:
    if replicate.step in (Step.ABORT, Step.COMPLETE):
        return replicate, ()
    if cause is AbortCause.UNKNOWN:
        cause = replicate.abort_cause or cause  # an answer says less than a message before it
    replicate = replace(replicate, abort_cause=cause)
    if replicate.staked:
        return replicate, (Observe(),)  # ABORTED takes a winner away: the chain decides
    return abort(replicate)


def _notified(replicate: Replicate, event: Notified) -> Change:
    notification = event.notification
    if notification.type is NotificationType.PLEASE_ABORT:
        return _asked_to_abort(replicate, notification.abort_cause)
    handler = _ON_TOPIC.get(notification.type)
    return (replicate, ()) if handler is None else handler(replicate)


def _please_reveal(replicate: Replicate) -> Change:
    if not replicate.staked or replicate.step in (Step.ABORT, Step.COMPLETE):
        return replicate, ()
    replicate = replace(replicate, consensus_known=True)
    if reveal_allowed(replicate):
        replicate, _ = begin_step(replicate, Step.REVEAL)
    return replicate, (Observe(),)


def _please_upload(replicate: Replicate) -> Change:
    if not replicate.staked or replicate.step.rank >= Step.UPLOAD.rank:
        return replicate, ()
    replicate = replace(replicate, consensus_known=True, upload_asked=True)
    if upload_allowed(replicate):
        return begin_step(replicate, Step.UPLOAD)
    return replicate, (Observe(),)


def _please_complete(replicate: Replicate) -> Change:
    if replicate.step in (Step.COMPLETE, Step.ABORT):
        return replicate, ()
    if replicate.revealed:
        return begin_step(replicate, Step.COMPLETE)
    if replicate.staked:
        return replicate, (Observe(),)
    return abort(replicate)


_ON_TOPIC: dict[NotificationType, Callable[[Replicate], Change]] = {
    NotificationType.PLEASE_REVEAL: _please_reveal,
    NotificationType.PLEASE_UPLOAD: _please_upload,
    NotificationType.PLEASE_COMPLETE: _please_complete,
}


def _prepared(replicate: Replicate, event: Prepared) -> Change:
    replicate = replace(
        replicate,
        contribution_deadline_s=event.contribution_deadline_s,
        final_deadline_s=event.final_deadline_s,
    )
    if event.step is not Step.CONTRIBUTE or replicate.step is not Step.CONTRIBUTE:
        return replicate, ()
    return replace(replicate, staked=True), (Transact(Step.CONTRIBUTE),)


def _redone(replicate: Replicate, redo: Redo, event: StepDone) -> Change:
    """Go on computing again; what does not give the contributed hash is of no use."""
    if event.ok and redo.step in _REDO_NEXT:
        return begin_redo(replicate, _REDO_NEXT[redo.step], redo.result_hash)
    replicate = replace(replicate, redo=None)
    found = event.digest
    if found is not None and result_hash(replicate.task_id, found) == redo.result_hash:
        replicate = replace(replicate, digest=found, callback_data=event.callback_data)
    return replicate, (Observe(),)


def _step_done(replicate: Replicate, event: StepDone) -> Change:
    redo = replicate.redo
    if redo is not None and (event.step, event.attempt) == (redo.step, redo.attempt):
        return _redone(replicate, redo, event)
    if (event.step, event.attempt) != (replicate.step, replicate.attempt):
        return replicate, ()  # an outcome that an abort has overtaken
    if replicate.work is not Work.DOING:
        return replicate, ()
    if replicate.step is Step.ABORT:
        return _purged(replicate)
    if replicate.step is Step.CONTRIBUTE and event.cause == "CONTRIBUTION_ALREADY_SET":
        # Ours, from before a crash: the outbox finds the transaction on the chain.
        return replace(replicate, staked=True), (Transact(Step.CONTRIBUTE),)
    statuses = STATUSES[replicate.step]
    status = statuses.success if event.ok else statuses.failure
    replicate = replace(replicate, work=Work.DONE if event.ok else Work.FAILED)
    if not replicate.staked:
        replicate = replace(
            replicate,
            digest=event.digest or replicate.digest,
            callback_data=event.callback_data or replicate.callback_data,
        )
    if replicate.step is Step.UPLOAD:
        replicate = replicate.with_update(Update(_S.RESULT_UPLOADING))
    return replicate.with_update(_final_update(replicate, status, event)), ()


def _final_update(replicate: Replicate, status: ReplicateStatus, event: StepDone) -> Update:
    update = Update(status, cause=None if event.ok else event.cause)
    if replicate.step is Step.UPLOAD and event.ok:
        return replace(update, result_link=event.result_link, callback_data=replicate.callback_data)
    return replace(update, exit_code=event.exit_code, with_logs=event.with_logs)


def _purged(replicate: Replicate) -> Change:
    # ABORTED is sent even when something could not be deleted: the purge remembers it (H17).
    cause = (replicate.abort_cause or AbortCause.UNKNOWN).value
    replicate = replace(replicate, work=Work.DONE).with_update(Update(_S.ABORTED, cause=cause))
    return replicate, () if replicate.pending else (Forget(),)


def _mined(replicate: Replicate, event: Mined) -> Change:
    if event.step is not replicate.step or replicate.work is not Work.DOING:
        return replicate, ()
    replicate = replace(replicate, work=Work.DONE)
    if event.step is Step.CONTRIBUTE:
        update = Update(_S.CONTRIBUTED, receipt=event.receipt)
        return replicate.with_update(update), (Observe(),)
    replicate = replace(replicate, revealed=True)
    replicate = replicate.with_update(Update(_S.REVEALED, receipt=event.receipt))
    if replicate.upload_asked and upload_allowed(replicate):
        return begin_step(replicate, Step.UPLOAD)
    return replicate, ()


def _not_mined(replicate: Replicate, event: NotMined) -> Change:
    if event.step is Step.REVEAL:
        return replicate, (Observe(),)
    if replicate.step is not Step.CONTRIBUTE or replicate.work is not Work.DOING:
        return replicate, ()
    replicate = replace(replicate, staked=False, work=Work.FAILED)
    if replicate.abort_cause is not None:
        return abort(replicate)
    return replicate.with_update(Update(_S.CONTRIBUTE_FAILED, cause=event.cause)), ()


def _scheduler_saw(replicate: Replicate, event: SchedulerSaw) -> Change:
    replicate = replace(
        replicate,
        consensus_known=replicate.consensus_known or event.consensus,
        upload_asked=replicate.upload_asked or event.asked_to_upload,
    )
    if replicate.upload_asked and upload_allowed(replicate) and not replicate.pending:
        return begin_step(replicate, Step.UPLOAD)
    return replicate, ()


def _observed(replicate: Replicate, event: Observed) -> Change:
    ended = event.task.status in (TaskStatus.COMPLETED, TaskStatus.FAILED)
    if ended or event.head_s > event.task.final_deadline_s:
        return chain_rules.ended(replicate, event)
    return chain_rules.under_way(replicate, event)


_HANDLERS: dict[type, Callable[..., Change]] = {
    Answered: _answered,
    Notified: _notified,
    Prepared: _prepared,
    StepDone: _step_done,
    Mined: _mined,
    NotMined: _not_mined,
    SchedulerSaw: _scheduler_saw,
    Observed: _observed,
}

__all__ = ["Effect", "StopWork", "advance", "begin", "next_update", "resume", "usual_next"]
