"""Makes records of replicates that the journal lacks, from what is known elsewhere; pure.

Contributions come from the chain, lost grants from the scheduler (docs/spec/04, 11.1, step 9);
what to do about either depends on the chain alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from iexworker.core.messages import AbortCause, ReplicateStatus
from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ChainReceipt,
    ChainTask,
    Contributed,
    ContributionStatus,
    Profile,
    Sighting,
    TaskStatus,
)
from iexworker.recovery.task_folders import Kept
from iexworker.task import lifecycle
from iexworker.task.replicate import STATUSES, Replicate, Step, Update, Work
from iexworker.task.transitions import abort, begin_redo

_S = ReplicateStatus
_NO_SIGNATURE = "0x" + "00" * 65
_OURS = (ContributionStatus.CONTRIBUTED, ContributionStatus.PROVED)
_ENDED = (TaskStatus.COMPLETED, TaskStatus.FAILED)
_FIRST_STEPS = (Step.START, Step.APP, Step.DATA, Step.COMPUTE)
_ABSENCES = (_S.RECOVERING, _S.WORKER_LOST)


@dataclass(frozen=True, slots=True)
class Traces:
    """All that is left of a contribution of ours."""

    authorization: WorkerpoolAuthorization
    profile: Profile
    sighting: Sighting
    contributed: ChainReceipt
    revealed: ChainReceipt | None
    """Where the reveal was mined; None unless it was."""
    kept: Kept
    repeatable: bool
    """A standard task: what is lost of its result can be computed again."""


def is_ours(sighting: Sighting) -> bool:
    """Tell whether a contribution of this wallet stands."""
    return sighting.contribution.status in _OURS


def is_over(sighting: Sighting) -> bool:
    """Tell whether the task has ended, or is past its final deadline."""
    task = sighting.task
    return task.status in _ENDED or sighting.head_s > task.final_deadline_s


def may_begin(sighting: Sighting) -> bool:
    """Tell whether the task is without a contribution of ours, and in time for one."""
    return not is_ours(sighting) and too_late(sighting) is None


def too_late(sighting: Sighting) -> str | None:
    """Return the cause for which a task without a contribution cannot be begun any more."""
    if sighting.task.status is not TaskStatus.ACTIVE:
        return "TASK_NOT_ACTIVE"
    if sighting.head_s >= sighting.task.contribution_deadline_s:
        return "CONTRIBUTION_TIMEOUT"
    return None


def contributed(traces: Traces) -> Replicate:
    """Return the record of a contribution that the chain shows.

    CONTRIBUTING comes first: the scheduler takes CONTRIBUTED from nowhere else, and it may have
    been lost with the journal. What it knows already, it says so.
    """
    sighting, kept = traces.sighting, traces.kept
    revealed = sighting.contribution.status is ContributionStatus.PROVED
    pending = [Update(_S.CONTRIBUTING), Update(_S.CONTRIBUTED, receipt=traces.contributed)]
    if revealed:
        receipt = traces.revealed or traces.contributed
        pending += [Update(_S.REVEALING), Update(_S.REVEALED, receipt=receipt)]
    record = Replicate(
        traces.authorization,
        traces.profile,
        step=Step.REVEAL if revealed else Step.CONTRIBUTE,
        work=Work.DONE,
        pending=tuple(pending),
        digest=kept.digest,
        callback_data=kept.callback_data,
        staked=True,
        revealed=revealed,
        contribution_deadline_s=sighting.task.contribution_deadline_s,
        final_deadline_s=sighting.task.final_deadline_s,
    )
    if kept.uploadable or not traces.repeatable or is_over(sighting):
        return record
    return begin_redo(record, Step.APP, sighting.contribution.result_hash)[0]


def granted(
    authorization: WorkerpoolAuthorization, profile: Profile, sms_url: str | None
) -> Replicate:
    """Return the record of a grant that `interrupted` has told again.

    From RECOVERING the scheduler takes every status but STARTING (docs/spec/03, 5.8).
    """
    record = Replicate(authorization, profile, sms_url=sms_url, acknowledged=(_S.STARTING,))
    return lifecycle.begin(record)[0]


def given_up(
    authorization: WorkerpoolAuthorization,
    profile: Profile,
    history: Iterable[ReplicateStatus],
    cause: str,
    abort_cause: AbortCause = AbortCause.UNKNOWN,
) -> Replicate:
    """Return the record of a grant that only gets its answer: a failure, then ABORTED.

    `history` is the replicate's at the scheduler: from COMPUTED on no failure frees a slot.
    """
    record = Replicate(authorization, profile, work=Work.FAILED, abort_cause=abort_cause)
    for update in failure(list(history), cause):
        record = record.with_update(update)
    return record if record.pending else abort(record)[0]


def failure(history: list[ReplicateStatus], cause: str) -> tuple[Update, ...]:
    """Return the updates that report a failure after `history` (docs/spec/04, 1.4 and 11.1)."""
    last = history[-1] if history else _S.CREATED
    if last in _ABSENCES:
        return () if _S.COMPUTED in history else (Update(_S.COMPUTE_FAILED, cause=cause),)
    before = _S.CREATED
    for step in _FIRST_STEPS:
        statuses = STATUSES[step]
        failed = Update(statuses.failure, cause=cause)
        if statuses.before is not None and last is before:
            return (Update(statuses.before), failed)
        if last is statuses.before:
            return (failed,)
        before = statuses.success
    return ()


def authorization(
    wallet: str, task: ChainTask, profile: Profile, found: Contributed
) -> WorkerpoolAuthorization:
    """Return the authorisation of a contribution, in the scheduler's shape (docs/spec/03, 5.6)."""
    place: dict[str, str | int] = {}
    if profile is Profile.V9:
        place = {"dealId": task.deal_id, "taskIndex": task.index}
    return _authorization(wallet, task.task_id, found.enclave_challenge, found.authorization, place)


def no_authorization(wallet: str, task_id: str) -> WorkerpoolAuthorization:
    """Return what stands for one that cannot be had: enough to answer, and to reveal."""
    return _authorization(wallet, task_id, ZERO_ADDRESS, _NO_SIGNATURE, {})


def _authorization(
    wallet: str, task_id: str, challenge: str, signature: str, place: Mapping[str, str | int]
) -> WorkerpoolAuthorization:
    return WorkerpoolAuthorization.from_json(
        {
            "chainTaskId": task_id,
            **place,
            "workerWallet": wallet,
            "enclaveChallenge": challenge,
            "signature": {"value": signature},
        }
    )
