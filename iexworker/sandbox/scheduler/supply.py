"""Which task a worker gets, and what one that comes back is told (docs/spec/03, 5.6 and 5.8)."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from iexworker.sandbox.scheduler import workflow
from iexworker.sandbox.scheduler.context import World
from iexworker.sandbox.scheduler.interfaces import ContributionStatus
from iexworker.sandbox.scheduler.models import (
    AbortCause,
    Action,
    Details,
    Modifier,
    Replicate,
    ReplicateStatus,
    StatusChange,
    Task,
    TaskStatus,
    Worker,
)
from iexworker.sandbox.scheduler.replicates import Replicates
from iexworker.sandbox.scheduler.store import Book
from iexworker.sandbox.scheduler.tasks import OPEN_TO_CONTRIBUTIONS, consensus_known

log = logging.getLogger(__name__)

_S = ReplicateStatus
_T = TaskStatus

_GAVE_UP = frozenset(
    status for status in _S if status.value.endswith("FAILED") or status is _S.ABORTED
)
_REVEAL_PHASE = frozenset(
    (_T.CONSENSUS_REACHED, _T.AT_LEAST_ONE_REVEALED, _T.RESULT_UPLOADING, _T.RESULT_UPLOADED)
)


@dataclass(frozen=True, slots=True)
class Missed:
    """What a worker that comes back should do about one task."""

    task: Task
    action: Action
    block: int = 0
    cause: AbortCause | None = None


class Supply:
    """Gives tasks out."""

    def __init__(self, world: World, book: Book, replicates: Replicates) -> None:
        self._world = world
        self._book = book
        self._replicates = replicates

    def assign(self, worker: Worker) -> Task | None:
        """Create a replicate of the most urgent fitting task and take a slot for it; or None."""
        with self._book.lock:
            if self._most_urgent(worker) is None:
                return None
        # Asked without the lock, and only where there is a task: the node may be slow.
        weight = self._world.chain.worker_weight(worker.wallet)
        with self._book.lock:
            task = self._most_urgent(worker)
            if task is None:
                return None
            created = StatusChange(_S.CREATED, self._world.now_ms(), Modifier.POOL_MANAGER)
            task.replicates[worker.wallet] = Replicate(worker.wallet, [created], weight=weight)
            worker.participating.append(task.task_id)
            worker.computing.append(task.task_id)
            self._book.touch(task)
            self._book.touch(worker)
        log.info("task given", extra={"task": task.task_id, "worker": worker.wallet})
        return task

    def _most_urgent(self, worker: Worker) -> Task | None:
        if len(worker.computing) >= worker.slots:
            return None
        fitting = (task for task in self._book.tasks.values() if self._fits(task, worker))
        return min(fitting, key=_urgency, default=None)

    def _fits(self, task: Task, worker: Worker) -> bool:
        now_s = self._world.clock.now_s()
        return (
            task.status in OPEN_TO_CONTRIBUTIONS
            and now_s < task.deal.contribution_deadline_s
            # A TEE task needs a secret service, which this network has not.
            and not workflow.is_tee(task.deal.tag, self._world.profile)
            and worker.wallet not in task.replicates
            and self._needs_weight(task)
        )

    def _needs_weight(self, task: Task) -> bool:
        """Whether what is contributed and what is under way cannot make the consensus yet."""
        oldest_ms = self._world.now_ms() - task.deal.max_execution_ms
        every = task.every()
        voted: Counter[str] = Counter()
        for one in every:
            if one.last_relevant is _S.CONTRIBUTED:
                voted[one.contribution_hash] = (voted[one.contribution_hash] or 1) * one.weight
        pending = math.prod(
            one.weight
            for one in every
            if one.history[0].at_ms > oldest_ms
            and one.last_relevant is not _S.CONTRIBUTED
            and not one.has(*_GAVE_UP)
        )
        best = max(voted.values(), default=1)
        others = voted.total() - best if voted else 0
        # Nobody at all is no group: the product of nothing must not pass for a consensus.
        best = best * pending if voted or pending > 1 else 0
        return not reaches_consensus(best, best + others, task.deal.trust)

    # --- after an absence ------------------------------------------------------------------------

    def interrupted(self, worker: Worker, block: int) -> list[Missed]:
        """Tell what to do about each task under way, and mark its replicate RECOVERING (5.8)."""
        with self._book.lock:
            tasks = [
                self._book.tasks[one] for one in worker.participating if one in self._book.tasks
            ]
        found = []
        for task in tasks:
            replicate = task.replicates[worker.wallet]
            missed = self._missed(task, replicate, block)
            if missed is None:
                continue
            found.append(missed)
            # One that gave up is told to contribute like the others, yet nothing is recorded.
            if workflow.allowed(replicate.status, _S.RECOVERING):
                self._replicates.update(task.task_id, worker.wallet, _S.RECOVERING)
        return found

    def _missed(self, task: Task, replicate: Replicate, block: int) -> Missed | None:
        if task.status in OPEN_TO_CONTRIBUTIONS:
            return self._before_consensus(task, replicate, block)
        if task.status is _T.CONTRIBUTION_TIMEOUT:
            return Missed(task, Action.ABORT, cause=AbortCause.CONTRIBUTION_TIMEOUT)
        if task.status is _T.CONSENSUS_REACHED and not replicate.has(_S.CONTRIBUTED):
            return Missed(task, Action.ABORT, cause=AbortCause.CONSENSUS_REACHED)
        if task.status in _REVEAL_PHASE:
            in_reveal = self._in_reveal(task, replicate, block)
            return (
                self._in_upload(task, replicate)
                if task.status is _T.RESULT_UPLOADING
                else in_reveal
            )
        if task.status in (_T.FINALIZING, _T.FINALIZED) and replicate.has(_S.REVEALED):
            return Missed(task, Action.WAIT)
        return None

    def _before_consensus(self, task: Task, replicate: Replicate, block: int) -> Missed | None:
        last = replicate.last_relevant
        if last.before(_S.CONTRIBUTING):
            return Missed(task, Action.CONTRIBUTE)
        if last is _S.CONTRIBUTING:
            if self._on_chain(task, replicate) is ContributionStatus.UNSET:
                return Missed(task, Action.CONTRIBUTE)
            self._replicates.update(task.task_id, replicate.wallet, _S.CONTRIBUTED, Details(block))
            last = replicate.last_relevant
        if last is not _S.CONTRIBUTED:
            return None
        found = self._world.chain.task(task.task_id)
        if found is None or not consensus_known(task, found):
            return Missed(task, Action.WAIT)
        self._world.ask_task_update(task.task_id)
        return Missed(task, Action.REVEAL, task.consensus_block)

    def _in_reveal(self, task: Task, replicate: Replicate, block: int) -> Missed | None:
        last = replicate.last_relevant
        if last is _S.CONTRIBUTED:
            return Missed(task, Action.REVEAL, task.consensus_block)
        if last is _S.REVEALING:
            if self._on_chain(task, replicate) is not ContributionStatus.PROVED:
                return Missed(task, Action.REVEAL, task.consensus_block)
            self._replicates.update(task.task_id, replicate.wallet, _S.REVEALED, Details(block))
            last = replicate.last_relevant
        if last is _S.REVEALED:
            return Missed(task, Action.WAIT)
        return Missed(task, Action.UPLOAD) if last is _S.RESULT_UPLOAD_REQUESTED else None

    def _in_upload(self, task: Task, replicate: Replicate) -> Missed | None:
        """Answer for RESULT_UPLOADING; a found result is recorded by nobody but the worker."""
        last = replicate.last_relevant
        if last is _S.RESULT_UPLOAD_REQUESTED:
            return Missed(task, Action.UPLOAD)
        if last is _S.RESULT_UPLOADING:
            there = task.deal.has_callback or self._world.results.has_result(task.task_id)
            return Missed(task, Action.WAIT if there else Action.UPLOAD)
        return Missed(task, Action.WAIT) if last is _S.RESULT_UPLOADED else None

    def _on_chain(self, task: Task, replicate: Replicate) -> ContributionStatus:
        return self._world.chain.contribution(task.task_id, replicate.wallet).status


def _urgency(task: Task) -> tuple[bool, int]:
    return task.status is not _T.RUNNING, task.deal.contribution_deadline_s


def reaches_consensus(group: int, total: int, trust: int) -> bool:
    """Whether a group of weight `group` among `total` is the consensus (`IexecPoco2Facet`)."""
    return group * trust > (1 + total) * (trust - 1)


def excluded_tags(worker: Worker) -> Iterable[str]:
    """Tags of the tasks that the worker is not offered, in the order of the real answer."""
    low = [9] if not worker.tdx else []
    low += [3, 5] if not worker.tee else []
    return [f"0x{one:064x}" for one in low]
