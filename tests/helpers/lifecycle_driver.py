"""One replicate's life, event by event, and the stages that tests begin at."""

from __future__ import annotations

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
    Effect,
    Event,
    Mined,
    Notified,
    Observed,
    Prepared,
    StepDone,
)
from iexworker.task.replicate import Replicate, Step

S = ReplicateStatus
N = NotificationType
TASK = "0x" + "ab" * 32
WALLET = "0x" + "11" * 20
DIGEST = "0x" + "dd" * 32
OWN_HASH = "0x" + "0a" * 32
OTHER_HASH = "0x" + "0b" * 32
RECEIPT = ChainReceipt(7, "0x" + "cc" * 32)


def granted(profile: Profile = Profile.V9, task_id: str = TASK) -> Replicate:
    authorization = WorkerpoolAuthorization.from_json(
        {
            "chainTaskId": task_id,
            "workerWallet": WALLET,
            "enclaveChallenge": "0x" + "00" * 20,
            "signature": {"value": "0x" + "22" * 65},
        }
    )
    return Replicate(authorization, profile)


class LifecycleDriver:
    """Drives one replicate and keeps what it asked for."""

    def __init__(self, replicate: Replicate | None = None) -> None:
        self.effects: tuple[Effect, ...] = ()
        if replicate is None:
            self.now, self.effects = lifecycle.begin(granted())
        else:
            self.now = replicate

    def feed(self, *events: Event) -> LifecycleDriver:
        for event in events:
            self.now, self.effects = lifecycle.advance(self.now, event)
        return self

    def answer(self, wants: NotificationType | None = N.PLEASE_CONTINUE) -> LifecycleDriver:
        """Accept the update that is due."""
        update = lifecycle.next_update(self.now)
        assert update is not None
        return self.feed(Answered(update.status, AnswerKind.ACCEPTED, wants))

    def done(self, **facts: object) -> LifecycleDriver:
        event = StepDone(self.now.step, self.now.attempt, **{"ok": True, **facts})  # type: ignore[arg-type]  # keyword table
        return self.feed(event)

    def wants(self) -> tuple[Effect, ...]:
        """What the last event asked for."""
        return self.effects

    @property
    def due(self) -> ReplicateStatus | None:
        update = lifecycle.next_update(self.now)
        return None if update is None else update.status


def observed(
    task_status: TaskStatus = TaskStatus.ACTIVE,
    contribution: ContributionStatus = ContributionStatus.UNSET,
    *,
    consensus: str = OWN_HASH,
    head_s: int = 1_000,
    overdue: bool = False,
    winners: int = 1,
    own_hash: str | None = OWN_HASH,
) -> Observed:
    task = ChainTask(
        task_id=TASK,
        status=task_status,
        deal_id="0x" + "de" * 32,
        index=0,
        time_reference_s=300,
        contribution_deadline_s=3_100,
        reveal_deadline_s=1_600,
        final_deadline_s=4_000,
        consensus=consensus,
        reveal_counter=0,
        winner_counter=winners,
        contributors=(WALLET,),
        results="0x",
    )
    own = Contribution(contribution, OWN_HASH, "0x" + "5e" * 32, "0x" + "00" * 20)
    return Observed(task, own, own_hash, head_s, overdue)


def notified(kind: NotificationType, cause: AbortCause = AbortCause.UNKNOWN) -> Notified:
    return Notified(Notification(TASK, (WALLET,), kind, abort_cause=cause))


def computed() -> LifecycleDriver:
    """A replicate whose COMPUTED has been accepted."""
    life = LifecycleDriver()
    for wants in (N.PLEASE_DOWNLOAD_APP, N.PLEASE_DOWNLOAD_DATA, N.PLEASE_COMPUTE):
        life.answer().done().answer(wants)
    life.answer().done(digest=DIGEST, exit_code=0, with_logs=True)
    return life.answer(N.PLEASE_CONTRIBUTE)


def contributed() -> LifecycleDriver:
    """A replicate whose contribution is mined and reported."""
    life = computed().answer().feed(Prepared(Step.CONTRIBUTE, 3_100, 4_000))
    return life.feed(Mined(Step.CONTRIBUTE, RECEIPT)).answer(N.PLEASE_WAIT)


def revealed() -> LifecycleDriver:
    """A replicate whose reveal is mined and reported."""
    life = contributed().feed(notified(N.PLEASE_REVEAL)).answer()
    return life.feed(Mined(Step.REVEAL, RECEIPT)).answer(N.PLEASE_WAIT)


REVEALING = observed(TaskStatus.REVEALING, ContributionStatus.CONTRIBUTED)
