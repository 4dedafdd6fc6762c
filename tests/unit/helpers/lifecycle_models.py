"""A scheduler, a chain and an outbox as small models, around the real lifecycle.

The transition table is written from docs/spec/03, 9.2 anew: it must not be the worker's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from iexworker.core.messages import (
    AbortCause,
    AnswerKind,
    Notification,
    NotificationType,
    ReplicateStatus,
)
from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import (
    ChainReceipt,
    ChainTask,
    Contribution,
    ContributionStatus,
    Profile,
    TaskStatus,
)
from iexworker.task import lifecycle
from iexworker.task.events import (
    Answered,
    AskScheduler,
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
    SchedulerSaw,
    StepDone,
    Transact,
)
from iexworker.task.replicate import Replicate, Step

S = ReplicateStatus
N = NotificationType
TASK = "0x" + "ab" * 32
WALLET = "0x" + "11" * 20
DIGEST = "0x" + "dd" * 32
OTHER_DIGEST = "0x" + "ee" * 32
ZERO = "0x" + "00" * 32
CONTRIBUTION_DEADLINE_S, REVEAL_TIME_S, FINAL_DEADLINE_S = 700, 200, 1000

_FLOW = {
    S.CREATED: {S.STARTING},
    S.STARTING: {S.STARTED, S.START_FAILED},
    S.STARTED: {S.APP_DOWNLOADING},
    S.APP_DOWNLOADING: {S.APP_DOWNLOADED, S.APP_DOWNLOAD_FAILED},
    S.APP_DOWNLOAD_FAILED: {S.CONTRIBUTING},
    S.APP_DOWNLOADED: {S.DATA_DOWNLOADING},
    S.DATA_DOWNLOADING: {S.DATA_DOWNLOADED, S.DATA_DOWNLOAD_FAILED},
    S.DATA_DOWNLOAD_FAILED: {S.CONTRIBUTING},
    S.DATA_DOWNLOADED: {S.COMPUTING},
    S.COMPUTING: {S.COMPUTED, S.COMPUTE_FAILED},
    S.COMPUTED: {S.CONTRIBUTING},
    S.CONTRIBUTING: {S.CONTRIBUTED},
    S.CONTRIBUTED: {S.REVEALING},
    S.REVEALING: {S.REVEALED},
    S.REVEALED: {S.COMPLETING},
    S.RESULT_UPLOAD_REQUESTED: {S.RESULT_UPLOADING},
    S.RESULT_UPLOADING: {S.RESULT_UPLOADED, S.RESULT_UPLOAD_FAILED},
    S.RESULT_UPLOAD_FAILED: {S.COMPLETING},
    S.RESULT_UPLOADED: {S.COMPLETING},
    S.COMPLETING: {S.COMPLETED, S.COMPLETE_FAILED},
}
_FINAL = {S.COMPLETED, S.FAILED, S.ABORTED}
# Refused by the real scheduler whoever sends them (docs/spec/03, 9.3).
_NEVER = {S.CONTRIBUTE_FAILED, S.REVEAL_FAILED}
_NEXT = {
    S.STARTED: N.PLEASE_DOWNLOAD_APP,
    S.APP_DOWNLOADED: N.PLEASE_DOWNLOAD_DATA,
    S.DATA_DOWNLOADED: N.PLEASE_COMPUTE,
    S.COMPUTED: N.PLEASE_CONTRIBUTE,
    S.APP_DOWNLOAD_FAILED: N.PLEASE_CONTRIBUTE,
    S.DATA_DOWNLOAD_FAILED: N.PLEASE_CONTRIBUTE,
    S.START_FAILED: N.PLEASE_ABORT,
    S.COMPUTE_FAILED: N.PLEASE_ABORT,
    S.RESULT_UPLOAD_FAILED: N.PLEASE_ABORT,
    S.COMPLETE_FAILED: N.PLEASE_ABORT,
    S.ABORTED: None,
    S.CONTRIBUTED: N.PLEASE_WAIT,
    S.REVEALED: N.PLEASE_WAIT,
    S.RESULT_UPLOADED: N.PLEASE_WAIT,
    S.COMPLETED: N.PLEASE_WAIT,
}


class Forbidden(AssertionError):
    """The worker did what must never happen."""


@dataclass
class ChainModel:
    """One task and our contribution to it."""

    now_s: int = 0
    status: TaskStatus = TaskStatus.ACTIVE
    contribution: ContributionStatus = ContributionStatus.UNSET
    contributed_digest: str | None = None
    consensus_digest: str | None = None
    reveal_deadline_s: int = 0
    effects: list[Step] = field(default_factory=list)

    def execute(self, step: Step, digest: str) -> bool:
        """Mine a transaction; False when the contract reverts."""
        if step is Step.CONTRIBUTE:
            fits = (
                self.status is TaskStatus.ACTIVE
                and self.now_s < CONTRIBUTION_DEADLINE_S
                and self.contribution is ContributionStatus.UNSET
            )
            if fits:
                self.contribution = ContributionStatus.CONTRIBUTED
                self.contributed_digest = digest
        else:
            fits = self.revealable() and digest == self.consensus_digest
            if fits:
                self.contribution = ContributionStatus.PROVED
        if fits:
            self.effects.append(step)
        return fits

    def agree(self, digest: str) -> None:
        """Reach a consensus on a digest."""
        if self.status is TaskStatus.ACTIVE and self.now_s < CONTRIBUTION_DEADLINE_S:
            self.status = TaskStatus.REVEALING
            self.consensus_digest = digest
            self.reveal_deadline_s = self.now_s + REVEAL_TIME_S

    def revealable(self) -> bool:
        """Tell whether stake hangs on a reveal that is still possible."""
        return (
            self.status is TaskStatus.REVEALING
            and self.contribution is ContributionStatus.CONTRIBUTED
            and self.contributed_digest == self.consensus_digest
            and self.now_s < self.reveal_deadline_s
        )

    def at_stake(self) -> bool:
        """Tell whether files or digest may still be needed to win, or to be paid."""
        if self.now_s > FINAL_DEADLINE_S:
            return False
        if self.contribution is ContributionStatus.PROVED:
            return self.status is TaskStatus.REVEALING
        undecided = self.status is TaskStatus.ACTIVE and self.now_s < CONTRIBUTION_DEADLINE_S
        waiting = undecided and self.contribution is ContributionStatus.CONTRIBUTED
        return waiting or self.revealable()

    def task(self) -> ChainTask:
        consensus = ZERO if self.consensus_digest is None else self.consensus_digest
        return ChainTask(
            task_id=TASK,
            status=self.status,
            deal_id=ZERO,
            index=0,
            time_reference_s=100,
            contribution_deadline_s=CONTRIBUTION_DEADLINE_S,
            reveal_deadline_s=self.reveal_deadline_s,
            final_deadline_s=FINAL_DEADLINE_S,
            consensus=consensus,
            reveal_counter=0,
            winner_counter=1,
            contributors=(),
            results="0x",
        )


@dataclass
class SchedulerModel:
    """The scheduler's replicate, and what it pushes."""

    chain: ChainModel
    status: ReplicateStatus = S.CREATED
    history: list[ReplicateStatus] = field(default_factory=lambda: [S.CREATED])
    consensus_known: bool = False
    pushes: deque[NotificationType] = field(default_factory=deque)
    lost: bool = False
    others_reported: bool = True
    """False: another contribution to the consensus has not been reported yet (H30)."""

    def update(self, status: ReplicateStatus) -> Answered:
        if status in self.history:
            return Answered(status, AnswerKind.ALREADY, N.PLEASE_WAIT)
        if status in _NEVER or not self._allowed(status) or not self._verified(status):
            return Answered(status, AnswerKind.REFUSED, N.PLEASE_ABORT)
        self._record(status)
        return Answered(status, AnswerKind.ACCEPTED, _NEXT.get(status, N.PLEASE_CONTINUE))

    def _allowed(self, status: ReplicateStatus) -> bool:
        if self.status in _FINAL:
            return False
        return status is S.ABORTED or self.lost or status in _FLOW.get(self.status, set())

    def _verified(self, status: ReplicateStatus) -> bool:
        if status is S.CONTRIBUTED:
            return self.chain.contribution is not ContributionStatus.UNSET
        if status is S.REVEALED:
            return self.chain.contribution is ContributionStatus.PROVED
        return True

    def _record(self, status: ReplicateStatus) -> None:
        if status is S.REVEALING and not self.consensus_known:
            raise Forbidden("REVEALING before the scheduler has the consensus (H30)")
        self.status, self.lost = status, False
        self.history.append(status)
        self.look()

    def look(self) -> None:
        """Do what follows from chain and replicate: detectors included."""
        if self.status in _FINAL:
            return
        shown = self.chain.contribution
        if shown is not ContributionStatus.UNSET and S.CONTRIBUTING in self.history:
            self._discover(S.CONTRIBUTED)
        ours = self.chain.contributed_digest == self.chain.consensus_digest
        if (
            not self.consensus_known
            and self.others_reported
            and self.chain.status is TaskStatus.REVEALING
            and (S.CONTRIBUTED in self.history or not ours)
        ):
            self.consensus_known = True
            self.pushes.append(N.PLEASE_REVEAL if ours else N.PLEASE_ABORT)
        if shown is ContributionStatus.PROVED and S.REVEALING in self.history:
            self._discover(S.REVEALED)
        if self.status is S.REVEALED and S.RESULT_UPLOAD_REQUESTED not in self.history:
            self.status = S.RESULT_UPLOAD_REQUESTED
            self.history.append(S.RESULT_UPLOAD_REQUESTED)
            self.pushes.append(N.PLEASE_UPLOAD)
        if S.RESULT_UPLOADED in self.history and self.chain.status is TaskStatus.REVEALING:
            self.chain.status = TaskStatus.COMPLETED
            self.pushes.append(N.PLEASE_COMPLETE)
        self._deadlines()

    def _discover(self, status: ReplicateStatus) -> None:
        if status not in self.history:
            self.history.append(status)
            self.status = status

    def _deadlines(self) -> None:
        if self.chain.status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
            return
        timeout = (
            self.chain.status is TaskStatus.ACTIVE and self.chain.now_s >= CONTRIBUTION_DEADLINE_S
        )
        if timeout or self.chain.now_s > FINAL_DEADLINE_S:
            self.chain.status = TaskStatus.FAILED
            self.pushes.append(N.PLEASE_ABORT)


class WorkerModel:
    """The lifecycle with its journal, its outbox and the effects that wait to be done."""

    def __init__(self, chain: ChainModel, scheduler: SchedulerModel) -> None:
        self.chain, self.scheduler = chain, scheduler
        authorization = WorkerpoolAuthorization(TASK, WALLET, "0x" + "00" * 20, "0x", {})
        raw = {
            "chainTaskId": TASK,
            "workerWallet": WALLET,
            "enclaveChallenge": "0x" + "00" * 20,
            "signature": {"value": "0x"},
        }
        self.record = Replicate(replace(authorization, raw=raw), Profile.V9)
        self.effects: list[Effect] = []
        self.outbox: dict[Step, str] = {}
        """Durable: the digest that each wanted transaction carries."""
        self.ended = False
        self.purged = False
        self._settle(lifecycle.begin(self.record))

    def feed(self, event: Event) -> None:
        if not self.ended:
            self._settle(lifecycle.advance(self.record, event))

    def crash(self) -> None:
        """Lose all but the journal, and start again."""
        if not self.ended:
            self.record = Replicate.from_json(self.record.to_json())
            self.effects = []
            self._settle(lifecycle.resume(self.record))

    def _settle(self, change: tuple[Replicate, tuple[Effect, ...]]) -> None:
        self.record, effects = change
        self.effects += effects
        if any(isinstance(effect, Forget) for effect in effects):
            self.ended = True
            self.effects = []

    def observe(self, overdue: bool) -> None:
        digest = self.chain.contributed_digest or ZERO
        contribution = Contribution(self.chain.contribution, digest, ZERO, ZERO[:42])
        seen = Observed(
            self.chain.task(), contribution, self.record.digest, self.chain.now_s, overdue
        )
        self.feed(seen)

    def do(self, index: int, ok: bool, cause: str) -> None:
        """Do one of the effects that wait."""
        effect = self.effects.pop(index % len(self.effects))
        if isinstance(effect, DoStep):
            self._step(effect, ok, cause)
        elif isinstance(effect, Transact):
            self.transact(effect.step)
        elif isinstance(effect, Observe):
            self.observe(overdue=False)
        elif isinstance(effect, AskScheduler):
            asked = S.RESULT_UPLOAD_REQUESTED in self.scheduler.history
            self.feed(SchedulerSaw(self.scheduler.consensus_known, asked))

    def _step(self, effect: DoStep, ok: bool, cause: str) -> None:
        if effect.step in (Step.COMPLETE, Step.ABORT):
            self._purge()
            self.feed(StepDone(effect.step, effect.attempt, ok=True))
        elif effect.step is Step.CONTRIBUTE:
            self._contribute(effect)
        elif effect.step is Step.COMPUTE and ok:
            digest = DIGEST if cause != "OTHER" else OTHER_DIGEST
            self.feed(StepDone(effect.step, effect.attempt, ok=True, digest=digest, exit_code=0))
        else:
            self._plain(effect, ok, cause)

    def _plain(self, effect: DoStep, ok: bool, cause: str) -> None:
        failed = {
            Step.APP: "APP_IMAGE_DOWNLOAD_FAILED",
            Step.DATA: "INPUT_FILES_DOWNLOAD_FAILED",
        }.get(effect.step, cause)
        digest = None if ok or effect.step not in (Step.APP, Step.DATA) else DIGEST
        link = "link" if effect.step is Step.UPLOAD else None
        ok = ok or effect.step is Step.UPLOAD
        self.feed(
            StepDone(
                effect.step,
                effect.attempt,
                ok=ok,
                cause=None if ok else failed,
                digest=digest,
                result_link=link,
            )
        )

    def _contribute(self, effect: DoStep) -> None:
        causes = [
            cause
            for cause, holds in (
                ("TASK_NOT_ACTIVE", self.chain.status is not TaskStatus.ACTIVE),
                ("CONTRIBUTION_TIMEOUT", self.chain.now_s >= CONTRIBUTION_DEADLINE_S),
                (
                    "CONTRIBUTION_ALREADY_SET",
                    self.chain.contribution is not ContributionStatus.UNSET,
                ),
                ("DETERMINISM_HASH_NOT_FOUND", self.record.digest is None),
            )
            if holds
        ]
        if causes:
            self.feed(StepDone(effect.step, effect.attempt, ok=False, cause=causes[0]))
        else:
            self.feed(Prepared(effect.step, CONTRIBUTION_DEADLINE_S, FINAL_DEADLINE_S))

    def _purge(self) -> None:
        if self.chain.at_stake():
            raise Forbidden("files and digest purged while the stake hangs on them (H3)")
        self.purged = True

    def transact(self, step: Step) -> None:
        digest = self.record.digest
        if digest is None:
            raise Forbidden("a transaction without a digest")
        if self.outbox.setdefault(step, digest) != digest:
            raise Forbidden("another digest for a transaction that is journalled")

    def mine(self, step: Step) -> None:
        """Let the outbox come to the end of an action it has."""
        receipt = ChainReceipt(1, ZERO)
        done = step in self.chain.effects
        if done or self.chain.execute(step, self.outbox[step]):
            self.feed(Mined(step, receipt))
        else:
            self.feed(NotMined(step, "CHAIN_RECEIPT_NOT_VALID"))


def push(kind: NotificationType, cause: AbortCause = AbortCause.UNKNOWN) -> Notified:
    """Return a message of the task's topic."""
    return Notified(Notification(TASK, (WALLET,), kind, abort_cause=cause))
