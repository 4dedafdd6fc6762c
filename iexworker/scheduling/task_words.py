"""The words of the lines about tasks: steps, causes, reasons and amounts, for an operator."""

from __future__ import annotations

import json
from collections.abc import Mapping

from iexworker.core.messages import AbortCause, AnswerKind
from iexworker.poco.models import TaskStatus
from iexworker.shared import money
from iexworker.task.events import Answered, Event, Notified, Observed
from iexworker.task.replicate import Step

UNKNOWN = "unknown"
NO_RESULT = "DETERMINISM_HASH_NOT_FOUND"

STEPS_IN_WORDS: Mapping[Step, str] = {
    Step.START: "start",
    Step.APP: "app download",
    Step.DATA: "data download",
    Step.COMPUTE: "compute",
    Step.CONTRIBUTE: "contribute",
    Step.REVEAL: "reveal",
    Step.UPLOAD: "upload",
    Step.COMPLETE: "clean up",
    Step.ABORT: "abort",
}

CAUSES_IN_WORDS: Mapping[str, str] = {
    "CHAIN_UNREACHABLE": "the chain node did not answer in time",
    "STAKE_TOO_LOW": "the wallet's deposit does not cover the stake of this task",
    "OUT_OF_GAS": "the wallet cannot pay for a transaction",
    "TASK_NOT_ACTIVE": "the task takes no contributions any more",
    "CONTRIBUTION_TIMEOUT": "the contribution deadline has passed",
    "CONTRIBUTION_ALREADY_SET": "this wallet has contributed to the task already",
    "TASK_DESCRIPTION_NOT_FOUND": "the chain does not know the task",
    "TASK_DESCRIPTION_INVALID": "a task without an enclave cannot have an encrypted result",
    "TEE_NOT_SUPPORTED": "the task needs an enclave, which this worker has not",
    "WORKERPOOL_AUTHORIZATION_NOT_FOUND": "the contract would not take the grant's authorisation",
    NO_RESULT: "the computation left no result that could be contributed",
    "RESULT_LINK_MISSING": "the result proxy has not taken the result, or has none to link to",
    "UNKNOWN": "an unexpected error of this worker",
}
"""Causes (docs/spec/04, section 1.5) that `scheduling` finds by itself, in words for an operator.

Those of a slot come with their own words: which image, which input, which exit code.
"""

OUR_FAULT = frozenset({"UNKNOWN", "CHAIN_UNREACHABLE", "STAKE_TOO_LOW", "OUT_OF_GAS"})
"""Causes that want a look at this worker; any other may be the task's own."""

_TOLD_TO_ABORT: Mapping[AbortCause, str] = {
    AbortCause.UNKNOWN: "the scheduler aborts the task",
    AbortCause.CONTRIBUTION_TIMEOUT: "the scheduler aborts: the contribution deadline has passed",
    AbortCause.CONSENSUS_REACHED: "the scheduler aborts: the other workers have agreed already",
}


def why_aborted(event: Event) -> str:
    """Say why the task is given up, from the event that made it so."""
    if isinstance(event, Notified):
        return _TOLD_TO_ABORT[event.notification.abort_cause]
    if isinstance(event, Observed):
        return why_over(event)
    if isinstance(event, Answered) and event.kind is AnswerKind.REFUSED:
        return f"the scheduler refuses the status {event.status.value}"
    return _TOLD_TO_ABORT[AbortCause.UNKNOWN]


def why_over(seen: Observed) -> str:
    """Say what the chain shows that leaves nothing to be won."""
    status = seen.task.status
    if status is TaskStatus.COMPLETED:
        return "the task was completed without our reveal"
    if status is TaskStatus.FAILED:
        return "the task has failed on the chain"
    if seen.head_s > seen.task.final_deadline_s:
        return "the task's final deadline has passed"
    if status is not TaskStatus.REVEALING:
        return "no agreement before the contribution deadline"
    if seen.contribution.result_hash != seen.task.consensus:
        return "the other workers agreed on another result"
    return "the reveal deadline has passed"


def place_of(link: str | None) -> dict[str, str]:
    """Return where a result lies, from the link that goes on the chain (docs/spec/09, 2.6)."""
    try:
        found = json.loads(link or "")
        return {"storage": found["storage"], "link": found["location"]}
    except (ValueError, TypeError, KeyError):
        return {"link": link or UNKNOWN}


def rlc(amount_nrlc: int | None) -> str:
    """Return an amount in RLC, without zeros at its end; one that is not known is None."""
    return UNKNOWN if amount_nrlc is None else money.rlc(amount_nrlc)
