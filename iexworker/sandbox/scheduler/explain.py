"""What went wrong with a task, in words for the developer of its app.

The scheduler knows of a failure what its worker tells, a state, the name of a cause, an exit code,
and what it or the result proxy has refused. The words say what that means and what to look at; the
name stands behind them in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from iexworker.sandbox.scheduler import cause_words, workflow
from iexworker.sandbox.scheduler.models import (
    ENDED,
    Modifier,
    Profile,
    Refusal,
    Replicate,
    ReplicateStatus,
    StatusChange,
    Task,
    TaskStatus,
)

WHERE_TO_LOOK = (
    "more: what the app wrote with `iexworker sandbox result TASK`, what the scheduler took and "
    "refused in `iexworker sandbox logs server`, each step in the worker's own log, at task=0x..."
)

NOT_TAKEN = "no worker has taken it yet"

CALLBACK_SHOWN = 40
_HEX = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{2})*")

_S = ReplicateStatus
_T = TaskStatus

_KILLED = -1
"""The exit code that a worker tells of an app which it stopped."""

_STATES = {
    _S.APP_DOWNLOAD_FAILED: "the image {image} could not be pulled in time",
    _S.DATA_DOWNLOAD_FAILED: "the dataset or an input file could not be downloaded in time: "
    "does the worker reach its address?",
    _S.COMPUTE_FAILED: "the app could not be run",
    _S.START_FAILED: "the worker could not start with the task",
    _S.RESULT_UPLOAD_FAILED: "the result could not be uploaded",
    _S.CONTRIBUTE_AND_FINALIZE_FAILED: "the worker could not contribute and finalize",
    _S.COMPLETE_FAILED: "the worker could not clear up after the task",
}
"""Failures whose cause is not known to be the requester's fault."""

_NOT_UPLOADED = "the worker did not upload the result in time after it was asked to"

_ENDS = {
    _T.CONTRIBUTION_TIMEOUT: "the workers did not agree on a result before the deadline",
    _T.INITIALIZE_FAILED: "its transaction `initialize` failed",
    _T.FINALIZE_FAILED: "its transaction `finalize` failed",
    _T.FINAL_DEADLINE_REACHED: "it was not finalized before its final deadline",
}

_PROXY = {
    "token": "the result proxy gives no token",
    "upload": "the result proxy refuses the result",
}
_UPDATE = "update"
"""What is refused when it cannot even be read which status is told."""

_GAVE_UP = frozenset((_S.ABORTED, *(one for one in _S if one.value.endswith("FAILED"))))
_UNINTERESTING = frozenset(
    one.value for one in (_S.ABORTED, _S.RECOVERING, _S.COMPLETING, _S.COMPLETED)
)
"""Statuses whose refusal changes nothing for the task."""


def of_replicate(task: Task, replicate: Replicate) -> str:
    """Say what went wrong at one worker; empty when nothing did."""
    return (
        _of_app(task, replicate)
        or _of_history(task, replicate)
        or _of_refusals(task, replicate.wallet)
        or _of_end(task, replicate)
    )


def of_task(task: Task, profile: Profile) -> str:
    """Say why nobody works on a task, or why it was given up; empty for any other."""
    for change in task.history:
        if words := _ENDS.get(change.status):
            reason = f": {change.reason}" if change.reason else ""
            return f"given up by the scheduler: {words}{reason}"
    if task.status in ENDED:
        return ""
    if task.replicates:
        return _of_waiting(task)
    if workflow.is_tee(task.deal.tag, profile):
        return "its tag asks for an enclave, and this network has no secret service"
    return NOT_TAKEN


def of_both(task: Task, profile: Profile, names: Mapping[str, str]) -> list[str]:
    """List all that went wrong with a task; `names` are workers' by wallet in lower case."""
    found = [(one.wallet, of_replicate(task, one)) for one in task.every()]
    strangers = sorted({one.wallet for one in task.refusals} - task.replicates.keys())
    found += [(wallet, _of_refusals(task, wallet)) for wallet in strangers]
    lines = [
        f"{names.get(wallet, wallet) or 'somebody'}: {words}" for wallet, words in found if words
    ]
    own = (of_task(task, profile), _of_callback_data(task))
    return [printable(one) for one in (*lines, *own) if one]


def _of_callback_data(task: Task) -> str:
    """Say that what a contract gets is not what the app wrote."""
    data = task.callback_data or ""
    if not (task.deal.has_callback and data) or _HEX.fullmatch(data):
        return ""
    return (
        f"the callback-data {data[:CALLBACK_SHOWN]!r} is no text of whole hexadecimal bytes: "
        "the contract gets what web3j makes of it"
    )


def _of_waiting(task: Task) -> str:
    """Say that those who have contributed are too few, and nobody else is at it."""
    last = [one.last_relevant for one in task.every()]
    idle = all(one is _S.CONTRIBUTED or one in _GAVE_UP for one in last)
    if task.deal.trust == 1 or task.status is not _T.RUNNING or _S.CONTRIBUTED not in last:
        return ""
    return (
        f"waits for more workers: with trust {task.deal.trust} several must agree" if idle else ""
    )


def printable(text: str) -> str:
    """Keep what others wrote from steering the terminal that shows it."""
    return "".join(one if one.isprintable() or one == "\t" else "?" for one in text)


def _of_app(task: Task, replicate: Replicate) -> str:
    """Judge by the exit code, which 9.x tells without a cause."""
    code, over_time = replicate.exit_code or 0, cause_words.OVER_TIME
    if code == _KILLED or any(one.cause == over_time for one in replicate.history):
        return _with_name(task, cause_words.words(over_time), over_time)
    return f"the app ended with exit code {code} (APP_COMPUTE_FAILED)" if code else ""


def _of_history(task: Task, replicate: Replicate) -> str:
    """Say what the first failure that was recorded means."""
    for one in replicate.history:
        if one.status is _S.RESULT_UPLOAD_FAILED:
            return _of_upload(task, replicate, one)
        words = "" if one.status is _S.ABORTED else cause_words.words(one.cause)
        if words := words or _STATES.get(one.status, ""):
            return _with_name(task, words, one.cause)
    return ""


def _of_upload(task: Task, replicate: Replicate, failure: StatusChange) -> str:
    """Prefer what the proxy has said: of a refusal the worker itself knows only the number."""
    refusals = [one for one in task.refusals if one.wallet == replicate.wallet]
    told = [_words_of(task, one) for one in refusals if one.what in _PROXY]
    if told:
        name = "" if (failure.cause or "") in cause_words.UNKNOWN else f" ({failure.cause})"
        return told[-1] + name
    if failure.modifier is Modifier.POOL_MANAGER:
        return _NOT_UPLOADED
    words = cause_words.words(failure.cause) or _STATES[failure.status]
    return _with_name(task, words, failure.cause)


def _of_refusals(task: Task, wallet: str) -> str:
    """Say what was refused last and was not made good since."""
    standing = [_words_of(task, one) for one in _standing(task, wallet)]
    return standing[-1] if standing else ""


def _standing(task: Task, wallet: str) -> Iterator[Refusal]:
    if task.status is _T.COMPLETED:
        return
    replicate = task.replicates.get(wallet)
    told = {one.status.value for one in replicate.history} if replicate else set()
    for one in task.refusals:
        good = bool(task.result_link) if one.what in _PROXY else one.what in told | _UNINTERESTING
        if one.wallet == wallet and not good:
            yield one


def _words_of(task: Task, refusal: Refusal) -> str:
    if refusal.what in _PROXY:
        return f"{_PROXY[refusal.what]}: {refusal.reason}"
    if refusal.what == _UPDATE:
        return f"the scheduler cannot read a status update: {refusal.reason}"
    if words := cause_words.words(refusal.cause):
        return _with_name(task, words, refusal.cause)
    name = "" if (refusal.cause or "") in cause_words.UNKNOWN else f" ({refusal.cause})"
    return f"the scheduler refuses {refusal.what}{name}: {refusal.reason}"


def _of_end(task: Task, replicate: Replicate) -> str:
    agreed, own = task.consensus, replicate.contribution_hash
    if agreed and own and own != agreed:
        return "its result is not the one that the others agreed on: is the app deterministic?"
    if replicate.status is _S.WORKER_LOST:
        return "the worker is silent: does it run?"
    if replicate.last_relevant is not _S.ABORTED or own:
        return ""
    if words := cause_words.words(replicate.history[-1].cause):
        return words
    if replicate.has(_S.COMPUTED):
        return "the app left no valid result: look at /iexec_out/computed.json"
    return "the worker gave it up"


def _with_name(task: Task, words: str, cause: str | None) -> str:
    """Fill in what the words name of the task, and put the cause's name behind them."""
    filled = words.format(image=task.deal.app_image, seconds=task.deal.max_execution_ms / 1000)
    return filled if (cause or "") in cause_words.UNKNOWN else f"{filled} ({cause})"
