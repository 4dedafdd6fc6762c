"""Transitions shared by scheduler events and chain observations."""

from __future__ import annotations

from dataclasses import replace

from iexworker.core.messages import AbortCause, ReplicateStatus
from iexworker.task.events import DoStep, Effect, Observe, StopWork
from iexworker.task.replicate import STATUSES, Redo, Replicate, Step, Update, Work

Change = tuple[Replicate, tuple[Effect, ...]]


def begin_step(replicate: Replicate, step: Step) -> Change:
    """Begin `step`: its first update is queued, its work is asked for."""
    replicate = replace(
        replicate,
        step=step,
        work=Work.DOING,
        attempt=replicate.attempt + 1,
        redo=replicate.redo if step is Step.REVEAL else None,
    )
    before = STATUSES[step].before
    # RESULT_UPLOADING starts a clock of two minutes: it waits until the proxy has the result (H31).
    if before is not None and step is not Step.UPLOAD:
        replicate = replicate.with_update(Update(before))
    # A reveal is sent by what the chain shows, never by a message alone.
    effect: Effect = Observe() if step is Step.REVEAL else DoStep(step, replicate.attempt)
    return replicate, (effect,)


def begin_redo(replicate: Replicate, step: Step, result_hash: str) -> Change:
    """Do `step` of a contributed task again, for the result that gives `result_hash`."""
    attempt = replicate.attempt + 1
    replicate = replace(replicate, attempt=attempt, redo=Redo(step, attempt, result_hash))
    return replicate, (DoStep(step, attempt),)


def upload_allowed(replicate: Replicate) -> bool:
    """Tell whether the reveal is known to be mined, and what is uploaded is there."""
    revealed = replicate.step is Step.REVEAL and replicate.work is Work.DONE
    return revealed and replicate.redo is None


def reveal_allowed(replicate: Replicate) -> bool:
    """Tell whether the contribution is known to be mined and the reveal not yet begun."""
    return replicate.step is Step.CONTRIBUTE and replicate.work is Work.DONE


def abort(replicate: Replicate) -> Change:
    """Give up a task on which no stake hangs: stop, purge, then answer ABORTED."""
    replicate = replace(
        replicate,
        step=Step.ABORT,
        work=Work.DOING,
        attempt=replicate.attempt + 1,
        pending=(),
        redo=None,
    )
    return replicate, (StopWork(), DoStep(Step.ABORT, replicate.attempt))


def lose(replicate: Replicate, cause: AbortCause) -> Change:
    """Answer ABORTED for a contribution that cannot win any more; its files stay for now."""
    replicate = replace(
        replicate,
        step=Step.ABORT,
        work=Work.DOING,
        attempt=replicate.attempt + 1,
        pending=(),
        redo=None,
        lost=True,
    )
    cause = replicate.abort_cause or cause
    aborted = Update(ReplicateStatus.ABORTED, cause=cause.value)
    return replicate.with_update(aborted), (StopWork(),)
