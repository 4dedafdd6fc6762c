"""What the scheduler looks after by the clock (docs/spec/03, 9.7; 04, 9)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from iexworker.sandbox.scheduler.context import World
from iexworker.sandbox.scheduler.interfaces import ChainTaskStatus, ContributionStatus
from iexworker.sandbox.scheduler.models import (
    ENDED,
    Details,
    Replicate,
    ReplicateStatus,
    Task,
    TaskStatus,
)
from iexworker.sandbox.scheduler.replicates import Replicates, Verdict
from iexworker.sandbox.scheduler.store import Book
from iexworker.sandbox.scheduler.tasks import OPEN_TO_CONTRIBUTIONS

log = logging.getLogger(__name__)

_S = ReplicateStatus
_T = TaskStatus

_REVEAL_PHASE = frozenset((_T.CONSENSUS_REACHED, _T.AT_LEAST_ONE_REVEALED, _T.RESULT_UPLOADING))
_AFTER_FIRST_REVEAL = frozenset((_T.AT_LEAST_ONE_REVEALED, _T.RESULT_UPLOADING, _T.RESULT_UPLOADED))
FULL_SEARCH_EVERY = 10
"""Of the searches for what was not told, each tenth looks at every replicate."""

_TO_CONTRIBUTED = (
    *(_S.STARTING, _S.STARTED, _S.APP_DOWNLOADING, _S.APP_DOWNLOADED),
    *(_S.DATA_DOWNLOADING, _S.DATA_DOWNLOADED, _S.COMPUTING, _S.COMPUTED),
    *(_S.CONTRIBUTING, _S.CONTRIBUTED),
)
_TO_REVEALED = (*_TO_CONTRIBUTED, _S.REVEALING, _S.REVEALED)


@dataclass(slots=True)
class _Timer:
    period_s: float
    run: Callable[[], None]
    due_s: float


class Detectors:
    """All timers; `run_due` runs those whose time has come."""

    def __init__(
        self,
        world: World,
        book: Book,
        replicates: Replicates,
        last_alive_s: Mapping[str, float],
    ) -> None:
        """`last_alive_s` tells when each worker was last heard of in this process's life."""
        self._world = world
        self._book = book
        self._replicates = replicates
        self._last_alive_s = last_alive_s
        self._searches = 0
        timers, now = world.timers, world.clock.now_s()
        # All run at the start, too: what was mined while the scheduler was down is found then.
        self._timers = [
            _Timer(period, run, now)
            for period, run in (
                (timers.worker_lost_check_s, self.lose_workers),
                (timers.unnotified_check_s, self.find_unnotified),
                (timers.consensus_check_s, self.find_consensus),
                (timers.contribution_check_s, self.expire_contributions),
                (timers.reveal_check_s, self.expire_reveals),
                (timers.upload_check_s, self.expire_uploads),
                (timers.final_check_s, self.expire_tasks),
            )
        ]

    def run_due(self) -> None:
        """Run each timer that is due; one late by several periods runs once."""
        now = self._world.clock.now_s()
        for timer in self._timers:
            if timer.due_s <= now:
                timer.due_s += timer.period_s * (1 + (now - timer.due_s) // timer.period_s)
                timer.run()

    def lose_workers(self) -> None:
        """Mark what silent workers work on as WORKER_LOST; their slots stay taken."""
        oldest = self._world.clock.now_s() - self._world.timers.worker_lost_s
        with self._book.lock:
            silent = [
                worker
                for worker in self._book.workers.values()
                if self._last_alive_s.get(worker.wallet, oldest) < oldest
            ]
            lost = [
                (task, worker.wallet)
                for worker in silent
                for task in map(self._book.tasks.get, worker.participating)
                if task is not None and not self._is_past(task.deal.final_deadline_s)
            ]
        for task, wallet in lost:
            if task.replicates[wallet].status not in (_S.COMPLETED, _S.FAILED):
                self._record_quietly(task, wallet, _S.WORKER_LOST)

    def find_unnotified(self) -> None:
        """Record contributions and reveals that are on chain and that no worker told of."""
        self._searches += 1
        everywhere = self._searches % FULL_SEARCH_EVERY == 0
        for task in self._tasks(OPEN_TO_CONTRIBUTIONS):
            self.find_contributions(task, everywhere)
        for task in self._tasks(_REVEAL_PHASE):
            self._find_reveals(task, everywhere)

    def find_contributions(self, task: Task, everywhere: bool = True) -> None:
        """Search the chain for contributions to one task."""
        for replicate in task.every():
            last = replicate.last_relevant
            sought = last is _S.CONTRIBUTING or (everywhere and last.before(_S.CONTRIBUTING))
            states = (ContributionStatus.CONTRIBUTED, ContributionStatus.PROVED)
            if sought and self._on_chain(task, replicate) in states:
                self._catch_up(task, replicate, _TO_CONTRIBUTED)

    def _find_reveals(self, task: Task, everywhere: bool) -> None:
        for replicate in task.every():
            last = replicate.last_relevant
            sought = last is _S.REVEALING or (everywhere and last is _S.CONTRIBUTED)
            if sought and self._on_chain(task, replicate) is ContributionStatus.PROVED:
                self._catch_up(task, replicate, _TO_REVEALED)

    def _on_chain(self, task: Task, replicate: Replicate) -> ContributionStatus:
        return self._world.chain.contribution(task.task_id, replicate.wallet).status

    def _catch_up(
        self, task: Task, replicate: Replicate, path: tuple[ReplicateStatus, ...]
    ) -> None:
        """Record the missing success states up to the last of `path`."""
        last = replicate.last_relevant
        rest = path[path.index(last) + 1 :] if last in path else path[-2:]
        head = self._world.chain.head()[0]
        log.info(
            "found on chain what was not told",
            extra={"task": task.task_id, "worker": replicate.wallet, "status": path[-1].value},
        )
        for status in rest:
            self._replicates.update(task.task_id, replicate.wallet, status, Details(head))

    def find_consensus(self) -> None:
        """Have each running task looked at that has a consensus on chain.

        It is missed where a block was reorganised between a contribution and the look that follows
        its record. iexec-core does this since 8.4.1; no recording shows how often.
        """
        for task in self._tasks({_T.RUNNING}):
            found = self._world.chain.task(task.task_id)
            if found is not None and found.status is ChainTaskStatus.REVEALING:
                facts = {"task": task.task_id, "status": _T.CONSENSUS_REACHED.value}
                log.info("found on chain what was not told", extra=facts)
                self._world.ask_task_update(task.task_id)

    def expire_contributions(self) -> None:
        """Have each task looked at whose contribution deadline has passed."""
        for task in self._tasks(OPEN_TO_CONTRIBUTIONS):
            if self._is_past(task.deal.contribution_deadline_s):
                self._world.ask_task_update(task.task_id)

    def expire_reveals(self) -> None:
        """Fail the replicates that did not reveal in time; the task itself only waits."""
        for task in self._tasks({_T.CONSENSUS_REACHED}):
            if self._is_past(task.reveal_deadline_s):
                for replicate in task.with_status(_S.CONTRIBUTED, _S.REVEALING):
                    self._record_quietly(
                        task, replicate.wallet, _S.FAILED, Details(cause="REVEAL_TIMEOUT")
                    )
                self._world.ask_task_update(task.task_id)
        for task in self._tasks(_AFTER_FIRST_REVEAL):
            if self._is_past(task.reveal_deadline_s):
                self._world.ask_task_update(task.task_id)

    def expire_uploads(self) -> None:
        """Fail uploads that take too long; the first task not to be failed ends the scan (H31)."""
        for task in self._tasks({_T.RESULT_UPLOADING}):
            asked = task.replicates.get(task.uploader or "")
            due_ms = task.since_ms + self._world.timers.upload_timeout_s * 1000
            if asked is None or self._world.now_ms() <= due_ms:
                return
            if asked.has(_S.RESULT_UPLOAD_FAILED):
                return
            self._record_quietly(task, asked.wallet, _S.RESULT_UPLOAD_FAILED)
            self._world.ask_task_update(task.task_id)

    def expire_tasks(self) -> None:
        """Have each task looked at whose final deadline has passed."""
        for task in self._tasks(set(_T) - ENDED):
            if self._is_past(task.deal.final_deadline_s):
                self._world.ask_task_update(task.task_id)

    def _record_quietly(
        self, task: Task, wallet: str, status: ReplicateStatus, details: Details | None = None
    ) -> None:
        """Record for the scheduler itself; what is recorded already is no event."""
        if task.replicates[wallet].has(status):
            return
        outcome = self._replicates.update(task.task_id, wallet, status, details or Details())
        if outcome.verdict is Verdict.RECORDED:
            log.warning(
                "replicate given up",
                extra={"task": task.task_id, "worker": wallet, "status": status.value},
            )

    def _tasks(self, statuses: set[TaskStatus] | frozenset[TaskStatus]) -> Iterator[Task]:
        with self._book.lock:
            found = [task for task in self._book.tasks.values() if task.status in statuses]
        yield from found

    def _is_past(self, deadline_s: int) -> bool:
        return self._world.clock.now_s() > deadline_s
