"""What went wrong with a task, in words for the developer of its app.

The scheduler knows of a failure what its worker tells: a state, the name of a cause, an exit code.
The words say what that means and what to look at; the name stands behind them in brackets.
"""

from __future__ import annotations

from iexworker.sandbox.scheduler import workflow
from iexworker.sandbox.scheduler.models import (
    ENDED,
    AbortCause,
    Profile,
    Replicate,
    ReplicateStatus,
    Task,
    TaskStatus,
)

WHERE_TO_LOOK = (
    "more: the app's last words in `iexworker sandbox logs server`, "
    "each step in the worker's own log, at task=0x..."
)

NOT_TAKEN = "no worker has taken it yet"

_S = ReplicateStatus
_T = TaskStatus

_OVER_TIME = "APP_COMPUTE_TIMEOUT"
_KILLED = -1
"""The exit code that a worker tells of an app which it stopped."""

_CAUSES = {
    "APP_IMAGE_DOWNLOAD_FAILED": "the image {image} cannot be pulled: was it pushed, "
    "with this name and tag, to a registry that the worker reaches?",
    "APP_NOT_FOUND_LOCALLY": "the image {image} was gone from the worker's Docker "
    "engine, and could not be pulled again",
    "INPUT_FILES_DOWNLOAD_FAILED": "an input file cannot be downloaded: "
    "does each address in iexec_input_files answer with the file?",
    "DATASET_FILE_DOWNLOAD_FAILED": "the dataset cannot be downloaded: "
    "does its address answer with the file?",
    "DATASET_FILE_BAD_CHECKSUM": "the dataset has another SHA-256 than the deal says",
    "APP_COMPUTE_FAILED": "the app failed, or could not be started",
    _OVER_TIME: "the app did not end within the {seconds:g} s of its category and was stopped",
    "POST_COMPUTE_SEND_COMPUTED_FILE_FAILED": "the app left no /iexec_out/computed.json",
    "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND": "/iexec_out/computed.json cannot be read as JSON",
    "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED": "/iexec_out/computed.json names nothing in "
    "/iexec_out as the result (with a callback: has no callback-data)",
    "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME": "a file in /iexec_out has too long a name: "
    "31 characters at most",
    "TASK_DESCRIPTION_INVALID": "the deal's params ask for what this worker cannot do",
    "TEE_NOT_SUPPORTED": "the deal's tag asks for an enclave, which the worker has not",
    "RESULT_LINK_MISSING": "the result proxy has no result to link to",
    "STAKE_TOO_LOW": "the worker's stake is too low for the deal's price",
}

_STATES = {
    _S.APP_DOWNLOAD_FAILED: "the image {image} could not be pulled in time",
    _S.DATA_DOWNLOAD_FAILED: "the dataset or an input file could not be downloaded in time: "
    "does the worker reach its address?",
    _S.COMPUTE_FAILED: "the app could not be run",
    _S.START_FAILED: "the worker could not start with the task",
    _S.RESULT_UPLOAD_FAILED: "the result could not be uploaded",
}
"""Failures whose cause is UNKNOWN: not known to be the requester's fault."""

_ABORTS = {
    AbortCause.CONTRIBUTION_TIMEOUT.value: "it had contributed nothing when the deadline passed",
    AbortCause.CONSENSUS_REACHED.value: "the others agreed without it",
}

_ENDS = {
    _T.CONTRIBUTION_TIMEOUT: "the workers did not agree on a result before the deadline",
    _T.INITIALIZE_FAILED: "its transaction `initialize` reverted",
    _T.FINALIZE_FAILED: "its transaction `finalize` reverted (a callback that fails does not)",
    _T.FINAL_DEADLINE_REACHED: "it was not finalized before its final deadline",
}


def of_replicate(task: Task, replicate: Replicate) -> str:
    """Say what went wrong at one worker; empty when nothing did."""
    words = _of_app(task, replicate) or _of_cause(task, replicate) or _of_end(task, replicate)
    seconds = task.deal.max_execution_ms / 1000
    return words.format(image=task.deal.app_image, seconds=seconds)


def of_task(task: Task, profile: Profile) -> str:
    """Say why nobody works on a task, or why it was given up; empty for any other."""
    ends = [words for change in task.history if (words := _ENDS.get(change.status))]
    if ends:
        return f"given up by the scheduler: {ends[0]}"
    if task.replicates or task.status in ENDED:
        return ""
    if workflow.is_tee(task.deal.tag, profile):
        return "its tag asks for an enclave, and this network has no secret service"
    return NOT_TAKEN


def of_both(task: Task, profile: Profile, names: dict[str, str]) -> list[str]:
    """List all that went wrong with a task; `names` are workers' by wallet in lower case."""
    found = ((names.get(one.wallet, one.wallet), of_replicate(task, one)) for one in task.every())
    lines = [f"{name}: {words}" for name, words in found if words]
    return lines + [words for words in (of_task(task, profile),) if words]


def _of_app(task: Task, replicate: Replicate) -> str:
    """Judge by the exit code, which 9.x tells without a cause."""
    code = replicate.exit_code or 0
    if code == _KILLED or any(one.cause == _OVER_TIME for one in replicate.history):
        return f"{_CAUSES[_OVER_TIME]} ({_OVER_TIME})"
    return f"the app ended with exit code {code} (APP_COMPUTE_FAILED)" if code else ""


def _of_cause(task: Task, replicate: Replicate) -> str:
    for one in replicate.history:
        cause = one.cause or ""
        if cause in _CAUSES:
            return f"{_CAUSES[cause]} ({cause})"
        if one.status in _STATES:
            known = "" if cause in ("", "UNKNOWN") else f" ({cause})"
            return _STATES[one.status] + known
    return ""


def _of_end(task: Task, replicate: Replicate) -> str:
    agreed, own = task.consensus, replicate.contribution_hash
    if agreed and own and own != agreed:
        return "its result is not the one that the others agreed on: is the app deterministic?"
    if replicate.status is _S.WORKER_LOST:
        return "the worker is silent: does it run?"
    if replicate.last_relevant is not _S.ABORTED or own:
        return ""
    if replicate.has(_S.COMPUTED) and replicate.history[-1].cause not in _ABORTS:
        return "the app left no valid result: look at /iexec_out/computed.json"
    return _ABORTS.get(replicate.history[-1].cause or "", "the worker gave it up")
