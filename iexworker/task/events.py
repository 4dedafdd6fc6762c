"""What can happen to a replicate, and what has to be done for it: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from iexworker.core.messages import AnswerKind, Notification, NotificationType, ReplicateStatus
from iexworker.poco.models import ChainReceipt, ChainTask, Contribution
from iexworker.task.replicate import Step


@dataclass(frozen=True, slots=True)
class Answered:
    """The scheduler answered the update `status`; `next` is what it asks for, if anything."""

    status: ReplicateStatus
    kind: AnswerKind
    next: NotificationType | None = None


@dataclass(frozen=True, slots=True)
class Notified:
    """A message of the task's topic, meant for this wallet."""

    notification: Notification


@dataclass(frozen=True, slots=True)
class Prepared:
    """The checks before a step passed; the deadlines were read on the way."""

    step: Step
    contribution_deadline_s: int
    final_deadline_s: int


@dataclass(frozen=True, slots=True)
class StepDone:
    """The work of a step ended. `cause` is the wire name when it failed."""

    step: Step
    attempt: int
    ok: bool
    cause: str | None = None
    digest: str | None = None
    callback_data: str | None = None
    exit_code: int | None = None
    with_logs: bool = False
    """The update carries the app's output."""
    result_link: str | None = None
    reason: str = ""
    """Why it failed, in words; empty where the cause says it all."""
    told: bool = False
    """Whoever found the failure has logged it."""


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction of ours took effect."""

    step: Step
    receipt: ChainReceipt
    gas_used: int | None = None
    """None where the receipt was not read just now."""
    cost_wei: int | None = None


@dataclass(frozen=True, slots=True)
class NotMined:
    """A transaction of ours is void: its nonce is spent and the chain shows the action undone."""

    step: Step
    cause: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the chain shows of the task and of our contribution, at the head's time."""

    task: ChainTask
    contribution: Contribution
    own_hash: str | None
    """The result hash of our digest, None without a digest."""
    head_s: int
    overdue: bool
    """The scheduler had its time to push what would follow from this (see `push_timeout`)."""


@dataclass(frozen=True, slots=True)
class SchedulerSaw:
    """`GET /tasks/<id>`: whether the scheduler has the consensus, and asked us to upload."""

    consensus: bool
    asked_to_upload: bool


Event = Answered | Notified | Prepared | StepDone | Mined | NotMined | Observed | SchedulerSaw


@dataclass(frozen=True, slots=True)
class DoStep:
    """Do the work of a step (its checks first)."""

    step: Step
    attempt: int


@dataclass(frozen=True, slots=True)
class Transact:
    """Hand the contribute or reveal of this task to the outbox."""

    step: Step


@dataclass(frozen=True, slots=True)
class StopWork:
    """Stop the task's containers and tell its slot to let go."""


@dataclass(frozen=True, slots=True)
class Observe:
    """Read task and contribution from the chain."""


@dataclass(frozen=True, slots=True)
class AskScheduler:
    """Ask `GET /tasks/<id>`."""


@dataclass(frozen=True, slots=True)
class Resend:
    """Send the first pending update again, later."""


@dataclass(frozen=True, slots=True)
class Forget:
    """The replicate has its answer and left nothing behind: drop record and subscription."""


Effect = DoStep | Transact | StopWork | Observe | AskScheduler | Resend | Forget
