"""The durable record of one replicate: all that a restart needs to continue it.

The record is written to the journal before anything that follows from it is done.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from iexworker.core.messages import AbortCause, NotificationType, ReplicateStatus
from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import ChainReceipt, Profile


class Step(enum.Enum):
    """What a notification asks for; the order is that of a task's way (docs/spec/04, 4.1)."""

    START = "start"
    APP = "app"
    DATA = "data"
    COMPUTE = "compute"
    CONTRIBUTE = "contribute"
    REVEAL = "reveal"
    UPLOAD = "upload"
    COMPLETE = "complete"
    ABORT = "abort"

    @property
    def rank(self) -> int:
        """Return the place in the task's way, from 0."""
        return _RANKS[self]


_RANKS = {step: rank for rank, step in enumerate(Step)}


class Work(enum.Enum):
    """How far the work of the present step is."""

    DOING = "doing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepStatuses:
    """The update before a step's work, and the two after it."""

    before: ReplicateStatus | None
    success: ReplicateStatus
    failure: ReplicateStatus


_S = ReplicateStatus
STATUSES: Mapping[Step, StepStatuses] = {
    Step.START: StepStatuses(_S.STARTING, _S.STARTED, _S.START_FAILED),
    Step.APP: StepStatuses(_S.APP_DOWNLOADING, _S.APP_DOWNLOADED, _S.APP_DOWNLOAD_FAILED),
    Step.DATA: StepStatuses(_S.DATA_DOWNLOADING, _S.DATA_DOWNLOADED, _S.DATA_DOWNLOAD_FAILED),
    Step.COMPUTE: StepStatuses(_S.COMPUTING, _S.COMPUTED, _S.COMPUTE_FAILED),
    Step.CONTRIBUTE: StepStatuses(_S.CONTRIBUTING, _S.CONTRIBUTED, _S.CONTRIBUTE_FAILED),
    Step.REVEAL: StepStatuses(_S.REVEALING, _S.REVEALED, _S.REVEAL_FAILED),
    Step.UPLOAD: StepStatuses(_S.RESULT_UPLOADING, _S.RESULT_UPLOADED, _S.RESULT_UPLOAD_FAILED),
    Step.COMPLETE: StepStatuses(_S.COMPLETING, _S.COMPLETED, _S.COMPLETE_FAILED),
    Step.ABORT: StepStatuses(None, _S.ABORTED, _S.ABORTED),
}

STEP_OF: Mapping[NotificationType, Step] = {
    NotificationType.PLEASE_START: Step.START,
    NotificationType.PLEASE_DOWNLOAD_APP: Step.APP,
    NotificationType.PLEASE_DOWNLOAD_DATA: Step.DATA,
    NotificationType.PLEASE_COMPUTE: Step.COMPUTE,
    NotificationType.PLEASE_CONTRIBUTE: Step.CONTRIBUTE,
    NotificationType.PLEASE_REVEAL: Step.REVEAL,
    NotificationType.PLEASE_UPLOAD: Step.UPLOAD,
    NotificationType.PLEASE_COMPLETE: Step.COMPLETE,
    NotificationType.PLEASE_ABORT: Step.ABORT,
}

# The causes of a failed download that the scheduler answers with PLEASE_CONTRIBUTE (1.5).
CONTRIBUTABLE_CAUSES = frozenset(
    {
        "APP_IMAGE_DOWNLOAD_FAILED",
        "DATASET_FILE_DOWNLOAD_FAILED",
        "DATASET_FILE_BAD_CHECKSUM",
        "INPUT_FILES_DOWNLOAD_FAILED",
    }
)


@dataclass(frozen=True, slots=True)
class Update:
    """One status update that the scheduler has not acknowledged yet."""

    status: ReplicateStatus
    cause: str | None = None
    receipt: ChainReceipt | None = None
    result_link: str | None = None
    callback_data: str | None = None
    exit_code: int | None = None
    with_logs: bool = False
    """The app's output goes along; its texts stay in the task folder until then."""

    def to_json(self) -> dict[str, Any]:
        """Return the update as the journal keeps it."""
        return {
            "status": self.status.value,
            "cause": self.cause,
            "receipt": receipt_to_json(self.receipt),
            "link": self.result_link,
            "callback": self.callback_data,
            "exit_code": self.exit_code,
            "with_logs": self.with_logs,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Update:
        """Read what `to_json` gave."""
        return cls(
            status=ReplicateStatus(data["status"]),
            cause=data["cause"],
            receipt=receipt_from_json(data["receipt"]),
            result_link=data["link"],
            callback_data=data["callback"],
            exit_code=data["exit_code"],
            with_logs=data["with_logs"],
        )


def receipt_to_json(receipt: ChainReceipt | None) -> dict[str, Any] | None:
    """Return the receipt as the journal keeps it."""
    return None if receipt is None else {"block": receipt.block_number, "hash": receipt.tx_hash}


def receipt_from_json(data: Mapping[str, Any] | None) -> ChainReceipt | None:
    """Read what `receipt_to_json` gave."""
    return None if data is None else ChainReceipt(data["block"], data["hash"])


@dataclass(frozen=True, slots=True)
class Redo:
    """A contributed task is computed again, unreported: its digest or archive is lost."""

    step: Step
    attempt: int
    result_hash: str
    """What our contribution has on the chain: only a result that gives it is of use."""

    def to_json(self) -> dict[str, Any]:
        """Return it as the journal keeps it."""
        return {"step": self.step.value, "attempt": self.attempt, "result_hash": self.result_hash}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Redo:
        """Read what `to_json` gave."""
        return cls(Step(data["step"]), data["attempt"], data["result_hash"])


@dataclass(frozen=True, slots=True)
class Replicate:
    """The execution of one task by this worker."""

    authorization: WorkerpoolAuthorization
    profile: Profile
    """The generation it was granted under; it keeps it."""
    sms_url: str | None = None
    step: Step = Step.START
    work: Work = Work.DOING
    attempt: int = 0
    """Counts begun steps, so that an order and its outcome name each other."""
    pending: tuple[Update, ...] = ()
    """Updates to be acknowledged, in their order."""
    acknowledged: tuple[ReplicateStatus, ...] = ()
    digest: str | None = None
    """32 bytes as 0x text: with it a reveal is possible, whatever else is lost."""
    callback_data: str | None = None
    staked: bool = False
    """A contribute was handed to the outbox: it counts as contributed until the chain denies it."""
    revealed: bool = False
    consensus_known: bool = False
    """The scheduler has the consensus: before, REVEALING would take our vote away (H30)."""
    upload_asked: bool = False
    abort_cause: AbortCause | None = None
    """The scheduler asked to abort; a staked task is not aborted for it alone."""
    lost: bool = False
    """The chain shows that our contribution cannot win any more."""
    redo: Redo | None = None
    contribution_deadline_s: int | None = None
    final_deadline_s: int | None = None
    granted_at_s: float = field(default=0.0, compare=False)

    @property
    def task_id(self) -> str:
        """Return the chain's identifier of the task."""
        return self.authorization.task_id

    @property
    def at_risk(self) -> bool:
        """A contribution that is not revealed yet: its stake is lost when it never is."""
        return self.staked and not self.revealed

    @property
    def holds_slot(self) -> bool:
        """Whether a slot is kept for it: from the grant until computed, failed or aborted."""
        if self.redo is not None:
            return True
        if self.step is Step.COMPUTE:
            return self.work is Work.DOING
        return self.step.rank < Step.COMPUTE.rank and self.work is not Work.FAILED

    def with_update(self, update: Update) -> Replicate:
        """Return the record with one more update to send; one already known is not added."""
        known = {item.status for item in self.pending} | set(self.acknowledged)
        return self if update.status in known else replace(self, pending=(*self.pending, update))

    def to_json(self) -> dict[str, Any]:
        """Return the record as the journal keeps it."""
        return {
            "authorization": dict(self.authorization.raw),
            "profile": self.profile.value,
            "sms_url": self.sms_url,
            "step": self.step.value,
            "work": self.work.value,
            "attempt": self.attempt,
            "pending": [update.to_json() for update in self.pending],
            "acknowledged": [status.value for status in self.acknowledged],
            "digest": self.digest,
            "callback_data": self.callback_data,
            "staked": self.staked,
            "revealed": self.revealed,
            "consensus_known": self.consensus_known,
            "upload_asked": self.upload_asked,
            "abort_cause": None if self.abort_cause is None else self.abort_cause.value,
            "lost": self.lost,
            "redo": None if self.redo is None else self.redo.to_json(),
            "contribution_deadline_s": self.contribution_deadline_s,
            "final_deadline_s": self.final_deadline_s,
            "granted_at_s": self.granted_at_s,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Replicate:
        """Read what `to_json` gave."""
        cause, redo = data["abort_cause"], data["redo"]
        return cls(
            authorization=WorkerpoolAuthorization.from_json(data["authorization"]),
            profile=Profile(data["profile"]),
            sms_url=data["sms_url"],
            step=Step(data["step"]),
            work=Work(data["work"]),
            attempt=data["attempt"],
            pending=tuple(Update.from_json(item) for item in data["pending"]),
            acknowledged=tuple(ReplicateStatus(item) for item in data["acknowledged"]),
            digest=data["digest"],
            callback_data=data["callback_data"],
            staked=data["staked"],
            revealed=data["revealed"],
            consensus_known=data["consensus_known"],
            upload_asked=data["upload_asked"],
            abort_cause=None if cause is None else AbortCause(cause),
            lost=data["lost"],
            redo=None if redo is None else Redo.from_json(redo),
            contribution_deadline_s=data["contribution_deadline_s"],
            final_deadline_s=data["final_deadline_s"],
            granted_at_s=data["granted_at_s"],
        )
