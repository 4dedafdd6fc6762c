"""Status updates of replicates: what is taken, checked and recorded (docs/spec/03, 9.1 - 9.6)."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass

from iexworker.sandbox.scheduler import explain, workflow
from iexworker.sandbox.scheduler.context import World
from iexworker.sandbox.scheduler.interfaces import (
    ChainTaskStatus,
    ChainUnreachable,
    ContributionStatus,
)
from iexworker.sandbox.scheduler.models import (
    FAILURES_BEFORE_COMPUTED,
    Action,
    Details,
    Modifier,
    Profile,
    Refusal,
    Replicate,
    ReplicateStatus,
    StatusChange,
    Task,
)
from iexworker.sandbox.scheduler.store import Book

log = logging.getLogger(__name__)

_S = ReplicateStatus

CHAIN_TRIES = 3
BLOCKS_BETWEEN_TRIES = 6
BLOCK_POLL_S = 0.5
BLOCKS_WAITED_FOR_RECEIPT = 10
"""How far our node may be behind the worker's; then its claim is judged by what we see."""

LOG_LINES_SHOWN = 20
"""Last lines of a failed app's output that our own log repeats."""

_TASK_UPDATERS_V9 = FAILURES_BEFORE_COMPUTED | {
    _S.STARTED,
    _S.CONTRIBUTED,
    _S.REVEALED,
    _S.RESULT_UPLOADED,
    _S.CONTRIBUTE_AND_FINALIZE_DONE,
}
"""Recorded states after which 9.x looks at the task; 8.5 does after every one (04, 11.1)."""

_NO_DETAILS = Details()
_NEVER_RECORDED = "no scheduler records it"


class Verdict(enum.Enum):
    """What became of an update; the value is the HTTP status."""

    RECORDED = 200
    REFUSED = 202
    ALREADY = 208


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to an update; `action` is None for the empty answer."""

    verdict: Verdict
    action: Action | None


_REFUSED = Outcome(Verdict.REFUSED, Action.ABORT)
_ALREADY = Outcome(Verdict.ALREADY, Action.WAIT)


class Replicates:
    """The replicates of all tasks."""

    def __init__(self, world: World, book: Book) -> None:
        self._world = world
        self._book = book
        self._checks: dict[ReplicateStatus, Callable[[Task, Replicate, Details], str | None]] = {
            _S.CONTRIBUTE_FAILED: lambda *_: _NEVER_RECORDED,
            _S.REVEAL_FAILED: lambda *_: _NEVER_RECORDED,
            _S.CONTRIBUTED: self._check_contributed,
            _S.REVEALED: self._check_revealed,
            _S.RESULT_UPLOADED: self._check_uploaded,
            _S.RESULT_UPLOAD_FAILED: self._check_upload_failed,
            _S.CONTRIBUTE_AND_FINALIZE_DONE: self._check_finalized,
        }

    def update(
        self,
        task_id: str,
        wallet: str,
        status: ReplicateStatus,
        details: Details = _NO_DETAILS,
        modifier: Modifier = Modifier.POOL_MANAGER,
    ) -> Outcome:
        """Judge one update and record it if it stands; may wait for the chain for minutes."""

        def refuse(reason: str) -> Outcome:
            self._refuse(task_id, wallet, status, reason, details.cause, modifier)
            return _REFUSED

        with self._book.lock:
            task = self._book.tasks.get(task_id)
            replicate = task.replicates.get(wallet) if task else None
            if task is None or replicate is None:
                return refuse("there is no such replicate")
            if replicate.has(status):
                return _ALREADY
            if reason := _misplaced(replicate, status):
                return refuse(reason)
        check = self._checks.get(status)
        lie = check(task, replicate, details) if check else None
        with self._book.lock:
            # While the chain was asked somebody else, a detector mostly, may have been faster.
            if replicate.has(status):
                return _ALREADY
            if objection := _misplaced(replicate, status) or lie:
                return refuse(objection)
            self._record(task, replicate, status, details, modifier)
        action = workflow.next_action(status, details.cause, task.deal, self._world.profile)
        return Outcome(Verdict.RECORDED, action)

    def _refuse(
        self,
        task_id: str,
        wallet: str,
        status: ReplicateStatus,
        reason: str,
        cause: str | None,
        modifier: Modifier,
    ) -> None:
        """Log a refusal; keep one of a worker's, since `sandbox tasks` tells it."""
        facts = {"task": task_id, "worker": wallet, "status": status.value, "reason": reason}
        log.warning("update refused", extra=facts | ({"cause": cause} if cause else {}))
        if modifier is Modifier.WORKER:
            now_ms = self._world.now_ms()
            self._book.note_refusal(task_id, Refusal(wallet, status.value, reason, now_ms, cause))

    # --- what is checked before a claim is believed (9.3) ----------------------------------------

    def _check_contributed(self, task: Task, replicate: Replicate, details: Details) -> str | None:
        self._await_block(details.receipt_block)
        chain = self._world.chain

        def contributed() -> bool:
            found = chain.contribution(task.task_id, replicate.wallet)
            return found.status in (ContributionStatus.CONTRIBUTED, ContributionStatus.PROVED)

        if not self._chain_says(contributed):
            return "the chain has no contribution of this worker"
        found = chain.contribution(task.task_id, replicate.wallet)
        if not found.weight or not int(found.result_hash, 16):
            return "its contribution on chain has no weight or no result hash"
        replicate.contribution_hash = found.result_hash
        return None

    def _check_revealed(self, task: Task, replicate: Replicate, details: Details) -> str | None:
        self._await_block(details.receipt_block)
        return (
            None
            if self._chain_says(lambda: self._proved(task, replicate))
            else ("the chain has no reveal of this worker")
        )

    def _check_uploaded(self, task: Task, replicate: Replicate, details: Details) -> str | None:
        if not self._has_result(task):
            return "the result proxy has no result of this task"
        if task.deal.has_callback:
            return None if details.callback_data else "a callback task needs its callback data"
        return None if details.result_link else "the result link is missing"

    def _check_upload_failed(
        self, task: Task, replicate: Replicate, details: Details
    ) -> str | None:
        return "the result proxy has the result" if self._has_result(task) else None

    def _check_finalized(self, task: Task, replicate: Replicate, details: Details) -> str | None:
        self._await_block(details.receipt_block)
        if not self._chain_says(lambda: self._proved(task, replicate)):
            return "the chain has no reveal of this worker"
        if not self._has_result(task):
            return "the result proxy has no result of this task"
        found = self._world.chain.task(task.task_id)
        completed = found is not None and found.status is ChainTaskStatus.COMPLETED
        return None if completed else "the task is not completed on chain"

    def _proved(self, task: Task, replicate: Replicate) -> bool:
        found = self._world.chain.contribution(task.task_id, replicate.wallet)
        return found.status is ContributionStatus.PROVED

    def _has_result(self, task: Task) -> bool:
        return task.deal.has_callback or self._world.results.has_result(task.task_id)

    def _await_block(self, block: int) -> None:
        clock, give_up = self._world.clock, self._world.block_time_s * BLOCKS_WAITED_FOR_RECEIPT
        deadline = clock.now_s() + give_up
        while clock.now_s() < deadline:
            try:
                if self._world.chain.head()[0] >= block:
                    return
            except ChainUnreachable:
                pass
            clock.sleep(BLOCK_POLL_S)

    def _chain_says(self, claim: Callable[[], bool]) -> bool:
        for _ in range(CHAIN_TRIES):
            try:
                if claim():
                    return True
            except ChainUnreachable:
                pass
            self._world.clock.sleep(BLOCKS_BETWEEN_TRIES * self._world.block_time_s)
        return False

    # --- what a recorded state does --------------------------------------------------------------

    def _record(
        self,
        task: Task,
        replicate: Replicate,
        status: ReplicateStatus,
        details: Details,
        modifier: Modifier,
    ) -> None:
        change = StatusChange(status, self._world.now_ms(), modifier, details.cause)
        replicate.history.append(change)
        _keep(replicate, status, details)
        _tell(task, replicate, status, details)
        self._free_slots(task, replicate.wallet, status)
        self._book.touch(task)
        if self._world.profile is Profile.V8 or status in _TASK_UPDATERS_V9:
            self._world.ask_task_update(task.task_id)
        if details.cause == "TASK_NOT_ACTIVE":
            self._world.ask_contribution_search(task.task_id)
        if self._world.profile is Profile.V8 and status is _S.CONTRIBUTE_AND_FINALIZE_FAILED:
            self._record(task, replicate, _S.FAILED, _NO_DETAILS, Modifier.POOL_MANAGER)

    def _free_slots(self, task: Task, wallet: str, status: ReplicateStatus) -> None:
        """Free what the state frees; ABORTED alone frees nothing (9.6)."""
        worker = self._book.workers.get(wallet)
        if worker is None:
            return
        if status in FAILURES_BEFORE_COMPUTED or status is _S.COMPUTED:
            worker.computing = [one for one in worker.computing if one != task.task_id]
        elif status in (_S.COMPLETED, _S.FAILED):
            worker.leave([task.task_id])
        self._book.touch(worker)


def _misplaced(replicate: Replicate, status: ReplicateStatus) -> str:
    """Say why a status cannot come now; empty when it can (9.1)."""
    allowed = workflow.allowed(replicate.status, status)
    return "" if allowed else f"it may not follow {replicate.status.value}"


def _tell(task: Task, replicate: Replicate, status: ReplicateStatus, details: Details) -> None:
    """Log a change; of a failure all that its requester may want to know."""
    facts: dict[str, object] = {
        "task": task.task_id,
        "worker": replicate.wallet,
        "status": status.value,
    }
    if details.cause:
        facts["cause"] = details.cause
    if details.exit_code:
        facts["exit_code"] = details.exit_code
    failed = status.value.endswith("FAILED") or bool(details.exit_code)
    reason = explain.of_replicate(task, replicate) if failed or status is _S.ABORTED else ""
    if reason:
        facts["reason"] = reason
    lines = (details.stdout + details.stderr).splitlines()[-LOG_LINES_SHOWN:] if failed else []
    if lines:
        facts["text_block"] = "\n".join(f"    | {explain.printable(line)}" for line in lines)
    log.log(logging.WARNING if failed else logging.INFO, "replicate changed", extra=facts)


def _keep(replicate: Replicate, status: ReplicateStatus, details: Details) -> None:
    """Keep what later steps and `GET /tasks` need; of logs the first that come (8.3)."""
    if details.exit_code is not None:
        replicate.exit_code = details.exit_code
    if details.result_link:
        replicate.result_link = details.result_link
    if details.callback_data is not None:
        replicate.callback_data = details.callback_data
    has_logs = status is _S.COMPUTED or details.cause == "APP_COMPUTE_FAILED"
    if has_logs and replicate.stdout is None:
        replicate.stdout, replicate.stderr = details.stdout, details.stderr
