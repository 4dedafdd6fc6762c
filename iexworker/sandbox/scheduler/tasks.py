"""The state machine of tasks (docs/spec/03, 6.6 and 9.5; 04, 6 and 11.1).

Only the engine's thread calls in here, so that a task has one writer; the book's lock is taken for
each change, because requests read tasks and change their replicates meanwhile.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence

from iexworker.poco.hashing import hex_text, keccak, lenient_bytes, result_hash
from iexworker.sandbox.scheduler import explain, workflow
from iexworker.sandbox.scheduler.context import World
from iexworker.sandbox.scheduler.interfaces import ChainRefused, ChainTask, ChainTaskStatus, Mined
from iexworker.sandbox.scheduler.models import (
    ENDED,
    AbortCause,
    Action,
    Deal,
    Profile,
    Replicate,
    ReplicateStatus,
    Task,
    TaskChange,
    TaskStatus,
)
from iexworker.sandbox.scheduler.replicates import Replicates
from iexworker.sandbox.scheduler.store import Book

log = logging.getLogger(__name__)

_S = ReplicateStatus
_T = TaskStatus

_BAD = frozenset(
    one for one in _T if "FAILED" in one.value or "TIMEOUT" in one.value or "DEADLINE" in one.value
)

OPEN_TO_CONTRIBUTIONS = frozenset((_T.INITIALIZED, _T.RUNNING))

REFUSED_SENDINGS = 3
"""So often the node may refuse a task's transaction, for instance for its nonce, before the task
fails. What the real one does of itself is the same: no transaction, so `..._FAILED`."""


class Tasks:
    """Moves each task as far as its replicates, the chain and the clock allow."""

    def __init__(
        self,
        world: World,
        book: Book,
        replicates: Replicates,
        choose: Callable[[Sequence[Replicate]], Replicate] = random.choice,
    ) -> None:
        self._world = world
        self._book = book
        self._replicates = replicates
        self._choose = choose
        self._sent: set[str] = set()
        self._refused: Counter[tuple[str, TaskStatus]] = Counter()
        self._steps: dict[TaskStatus, Callable[[Task], bool]] = {
            _T.RECEIVED: self._initialize,
            _T.INITIALIZING: self._await_initialization,
            _T.INITIALIZED: self._start,
            _T.RUNNING: self._leave_running,
            _T.CONTRIBUTION_TIMEOUT: self._fail,
            _T.CONSENSUS_REACHED: self._see_first_reveal,
            _T.AT_LEAST_ONE_REVEALED: self._request_upload,
            _T.RESULT_UPLOADING: self._see_upload,
            _T.RESULT_UPLOADED: self._finalize,
            _T.FINALIZING: self._await_finalization,
            _T.FINALIZED: self._complete,
            _T.INITIALIZE_FAILED: self._fail,
            _T.FINALIZE_FAILED: self._fail,
            _T.FINAL_DEADLINE_REACHED: self._fail,
        }

    def receive(self, deal: Deal, index: int, task_id: str) -> None:
        """Take on a task that somebody bought."""
        with self._book.lock:
            if task_id in self._book.tasks:
                return
            history = [TaskChange(_T.RECEIVED, self._world.now_ms())]
            task = Task(task_id, index, deal, history)
            self._book.tasks[task_id] = task
            self._book.touch(task)
        facts = {"task": task_id, "deal": deal.deal_id, "image": deal.app_image}
        log.info("task received", extra=facts)
        if workflow.is_tee(deal.tag, self._world.profile):
            reason = "its tag asks for an enclave, and this network has no secret service"
            log.warning("task stays ungranted", extra={"task": task_id, "reason": reason})
        self._world.ask_task_update(task_id)

    def update(self, task: Task) -> None:
        """Move the task on until it has to wait; raises `ChainUnreachable`."""
        if task.status in ENDED:
            return
        if self._is_past(task.deal.final_deadline_s):
            self._change(task, _T.FINAL_DEADLINE_REACHED)
        while task.status not in ENDED and self._steps[task.status](task):
            pass

    # --- from the deal to the first worker -------------------------------------------------------

    def _initialize(self, task: Task) -> bool:
        self._change(task, _T.INITIALIZING)
        return True

    def _await_initialization(self, task: Task) -> bool:
        """Send the transaction; what counts is the task on chain, whoever brought it there."""
        chain = self._world.chain
        # In this order: of a task that is there, the transaction that brought it is mined, too.
        there = chain.task(task.task_id) is not None
        outcome = chain.mined(task.transaction) if task.transaction else None
        if there:
            if outcome and outcome.succeeded:
                task.initialization_block = outcome.block
            task.transaction = None
            self._change(task, _T.INITIALIZED)
            return True
        if outcome and not outcome.succeeded and chain.task(task.task_id) is None:
            self._change(task, _T.INITIALIZE_FAILED, reason=_why_not_initialized(outcome))
            return True
        if task.transaction in self._sent:
            return False
        deal_id, index = task.deal.deal_id, task.index
        return self._send(task, lambda: chain.initialize(deal_id, index), _T.INITIALIZE_FAILED)

    def _start(self, task: Task) -> bool:
        if any(one.has(_S.STARTED) for one in task.every()):
            self._change(task, _T.RUNNING)
            return True
        return self._expire(task)

    # --- consensus -------------------------------------------------------------------------------

    def _leave_running(self, task: Task) -> bool:
        return self._see_consensus(task) or self._see_finalized(task) or self._expire(task)

    def _see_consensus(self, task: Task) -> bool:
        """Compare winners known here with the chain's count (9.5; H30 says why last_relevant)."""
        found = self._world.chain.task(task.task_id)
        if found is None or not consensus_known(task, found):
            return False
        block = self._world.chain.consensus_block(task.task_id)
        with self._book.lock:
            task.consensus, task.consensus_block = found.consensus, block
            task.reveal_deadline_s, task.winners = found.reveal_deadline_s, found.winners
            self._change(task, _T.CONSENSUS_REACHED)
            every = task.every()
            winners = [one.wallet for one in every if one.contribution_hash == found.consensus]
            losers = [one.wallet for one in every if one.wallet not in winners]
        push = self._world.push
        push.publish(task.task_id, Action.REVEAL, winners, block=block)
        if losers:
            push.publish(task.task_id, Action.ABORT, losers, cause=AbortCause.CONSENSUS_REACHED)
        return True

    def _see_finalized(self, task: Task) -> bool:
        """Take the result of a worker that contributed and finalized in one transaction."""
        done = task.with_status(_S.CONTRIBUTE_AND_FINALIZE_DONE)
        if not done:
            return False
        with self._book.lock:
            task.result_link, task.callback_data = done[0].result_link, done[0].callback_data
            self._change(task, _T.FINALIZED)
        return True

    def _expire(self, task: Task) -> bool:
        """Give up a task without consensus after its contribution deadline."""
        if not self._is_past(task.deal.contribution_deadline_s):
            return False
        found = self._world.chain.task(task.task_id)
        if found is None or found.status is not ChainTaskStatus.ACTIVE:
            return False
        self._change(task, _T.CONTRIBUTION_TIMEOUT)
        self._dismiss(task)
        wallets = list(task.replicates)
        if wallets:
            cause = AbortCause.CONTRIBUTION_TIMEOUT
            self._world.push.publish(task.task_id, Action.ABORT, wallets, cause=cause)
        return True

    # --- reveal and upload -----------------------------------------------------------------------

    def _see_first_reveal(self, task: Task) -> bool:
        """See that somebody has revealed; in 9.x an absence hides it, in 8.5 only later (H25)."""
        if self._world.profile is Profile.V8:
            seen = any(one.last_relevant is _S.REVEALED for one in task.every())
        else:
            seen = bool(task.with_status(_S.REVEALED))
        if seen:
            self._change(task, _T.AT_LEAST_ONE_REVEALED)
        return seen

    def _request_upload(self, task: Task) -> bool:
        """Ask one worker that is REVEALED now; an absence hides that state (04, 11.1).

        Nobody is asked while somebody is at it, asked or not.
        """
        with self._book.lock:
            revealed = task.with_status(_S.REVEALED)
            if not revealed or task.with_status(_S.RESULT_UPLOAD_REQUESTED, _S.RESULT_UPLOADING):
                return False
            chosen = self._choose(revealed)
            task.uploader = chosen.wallet
            self._change(task, _T.RESULT_UPLOADING)
        self._replicates.update(task.task_id, chosen.wallet, _S.RESULT_UPLOAD_REQUESTED)
        self._world.push.publish(task.task_id, Action.UPLOAD, [chosen.wallet])
        return False

    def _see_upload(self, task: Task) -> bool:
        with self._book.lock:
            uploaded = next(filter(_has_uploaded, task.every()), None)
            if uploaded is not None:
                task.uploader = uploaded.wallet
                task.result_link = uploaded.result_link
                task.callback_data = uploaded.callback_data
                self._change(task, _T.RESULT_UPLOADED)
                return True
            asked = task.replicates.get(task.uploader or "")
        return False if asked and _is_back_at_upload(asked) else self._request_upload(task)

    # --- the end ---------------------------------------------------------------------------------

    def _finalize(self, task: Task) -> bool:
        """Finalize when all winners revealed, or those who did until the deadline (9.5)."""
        found = self._world.chain.task(task.task_id)
        if found is None or found.status is not ChainTaskStatus.REVEALING:
            return False
        revealed = sum(one.has(_S.REVEALED) for one in task.every())
        complete = found.reveals == found.winners
        late = self._is_past(found.reveal_deadline_s) and found.reveals > 0
        if revealed != found.reveals or not (complete or late):
            return False
        self._change(task, _T.FINALIZING)
        return True

    def _await_finalization(self, task: Task) -> bool:
        """Send the transaction; take its end as late as the real scheduler hears of it."""
        found = self._world.chain.task(task.task_id)
        if found is not None and found.status is ChainTaskStatus.COMPLETED:
            heard_ms = task.since_ms + self._world.timers.finalize_delay_s * 1000
            if self._world.now_ms() < heard_ms:
                return False
            task.transaction = None
            self._change(task, _T.FINALIZED)
            return True
        outcome = self._world.chain.mined(task.transaction) if task.transaction else None
        if outcome and not outcome.succeeded:
            reason = _why_not_final(task, outcome)
            self._change(task, _T.FINALIZE_FAILED, reason=reason)
            return True
        if task.transaction in self._sent:
            return False
        return self._send(task, lambda: self._finalization(task), _T.FINALIZE_FAILED)

    def _finalization(self, task: Task) -> str:
        """Send `finalize`; return the transaction's hash."""
        data = _callback_data(task)
        try:
            return self._world.chain.finalize(task.task_id, task.result_link or "", data)
        except ChainRefused as error:
            raise ChainRefused(f"{_of_callback_data(data)}{error}") from error

    def _send(self, task: Task, send: Callable[[], str], failed: TaskStatus) -> bool:
        """Send a task's transaction; fail the task when the node refuses it again and again."""
        try:
            self._note(task, send())
        except ChainRefused as error:
            self._refused[task.task_id, failed] += 1
            if self._refused[task.task_id, failed] >= REFUSED_SENDINGS:
                self._change(task, failed, reason=f"no transaction: {error}")
                return True
        return False

    def _note(self, task: Task, transaction: str) -> None:
        """Remember a transaction; one of an earlier process may be lost and is sent again."""
        self._sent.add(transaction)
        with self._book.lock:
            task.transaction = transaction
            self._book.touch(task)

    def _complete(self, task: Task) -> bool:
        self._change(task, _T.COMPLETED)
        self._dismiss(task)
        self._world.push.publish(task.task_id, Action.COMPLETE, [])
        return False

    def _fail(self, task: Task) -> bool:
        self._change(task, _T.FAILED, reason=f"it was {task.status.value}")
        self._dismiss(task)
        self._world.push.publish(task.task_id, Action.ABORT, [])
        return False

    def _dismiss(self, task: Task) -> None:
        """Take the task off the lists of all its workers."""
        with self._book.lock:
            for wallet in list(task.replicates):
                worker = self._book.workers.get(wallet)
                if worker is not None:
                    worker.leave([task.task_id])
                    self._book.touch(worker)

    def _change(self, task: Task, status: TaskStatus, reason: str = "") -> None:
        with self._book.lock:
            task.history.append(TaskChange(status, self._world.now_ms(), reason))
            self._book.touch(task)
        level = logging.WARNING if status in _BAD else logging.INFO
        facts = {"task": task.task_id, "status": status.value}
        if reason:
            facts["reason"] = reason
        if status in _BAD and task.replicates:
            facts["replicates"] = "; ".join(_summary(task, one) for one in task.every())
        log.log(level, "task changed", extra=facts)

    def _is_past(self, deadline_s: int) -> bool:
        return self._world.clock.now_s() > deadline_s


def _callback_data(task: Task) -> str:
    """Give what goes to the callback; without one the contract would refuse any data."""
    return (task.callback_data or "") if task.deal.has_callback else ""


def _of_callback_data(data: str) -> str:
    digits = len(data.removeprefix("0x"))
    return f"callback data of {(digits + 1) // 2} bytes: " if data else ""


def _why_not_initialized(outcome: Mined) -> str:
    if outcome.out_of_gas:
        return "the transaction needs more gas than it is given: are the deal's params long?"
    return "the transaction reverted"


def _why_not_final(task: Task, outcome: Mined) -> str:
    """Say why `finalize` reverted; the contract itself gives no reason."""
    data = _callback_data(task)
    if outcome.out_of_gas:
        return f"{_of_callback_data(data)}the transaction needs more gas than it is given"
    digest = hex_text(keccak(lenient_bytes(data)))
    if task.deal.has_callback and result_hash(task.task_id, digest) != task.consensus:
        return "the callback data is not what the workers agreed on"
    return "the transaction reverted"


def _summary(task: Task, replicate: Replicate) -> str:
    """Say how far a worker came, and what went wrong there."""
    words = explain.of_replicate(task, replicate)
    came = f"{replicate.wallet} {replicate.last_relevant.value}"
    return f"{came}: {words}" if words else came


def consensus_known(task: Task, found: ChainTask) -> bool:
    """Whether the chain has a consensus and we know of all who made it (9.5)."""
    if found.status is not ChainTaskStatus.REVEALING:
        return False
    winners = [
        one
        for one in task.every()
        if one.last_relevant is _S.CONTRIBUTED and one.contribution_hash == found.consensus
    ]
    return len(winners) >= found.winners


def _is_back_at_upload(replicate: Replicate) -> bool:
    """RECOVERING from RESULT_UPLOADING; from RESULT_UPLOAD_REQUESTED it does not count."""
    return replicate.status is _S.RECOVERING and replicate.last_relevant is _S.RESULT_UPLOADING


def _has_uploaded(replicate: Replicate) -> bool:
    """RESULT_UPLOADED now, or right before the worker was lost (04, 11.1)."""
    states = [one.status for one in replicate.history]
    if states[-1] is _S.WORKER_LOST:
        states.pop()
    return states[-1] is _S.RESULT_UPLOADED
