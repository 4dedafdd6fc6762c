"""What travels between worker and scheduler, as values (docs/spec/03, sections 5 to 8).

Enumerations carry the wire's texts. Parsers are lenient: unknown fields are ignored, a value of
the wrong type raises `MalformedMessage` with the field's name.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from iexworker.json_fields import MalformedMessage, integer, text
from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import ChainReceipt


class ReplicateStatus(enum.Enum):
    """The 33 states of a replicate, in the order in which the scheduler compares them (7.3)."""

    CREATED = "CREATED"
    STARTING = "STARTING"
    START_FAILED = "START_FAILED"
    STARTED = "STARTED"
    APP_DOWNLOADING = "APP_DOWNLOADING"
    APP_DOWNLOAD_FAILED = "APP_DOWNLOAD_FAILED"
    APP_DOWNLOADED = "APP_DOWNLOADED"
    DATA_DOWNLOADING = "DATA_DOWNLOADING"
    DATA_DOWNLOAD_FAILED = "DATA_DOWNLOAD_FAILED"
    DATA_DOWNLOADED = "DATA_DOWNLOADED"
    COMPUTING = "COMPUTING"
    COMPUTE_FAILED = "COMPUTE_FAILED"
    COMPUTED = "COMPUTED"
    CONTRIBUTING = "CONTRIBUTING"
    CONTRIBUTE_FAILED = "CONTRIBUTE_FAILED"
    CONTRIBUTED = "CONTRIBUTED"
    REVEALING = "REVEALING"
    REVEAL_FAILED = "REVEAL_FAILED"
    REVEALED = "REVEALED"
    RESULT_UPLOAD_REQUESTED = "RESULT_UPLOAD_REQUESTED"
    RESULT_UPLOADING = "RESULT_UPLOADING"
    RESULT_UPLOAD_FAILED = "RESULT_UPLOAD_FAILED"
    RESULT_UPLOADED = "RESULT_UPLOADED"
    CONTRIBUTE_AND_FINALIZE_ONGOING = "CONTRIBUTE_AND_FINALIZE_ONGOING"
    CONTRIBUTE_AND_FINALIZE_FAILED = "CONTRIBUTE_AND_FINALIZE_FAILED"
    CONTRIBUTE_AND_FINALIZE_DONE = "CONTRIBUTE_AND_FINALIZE_DONE"
    COMPLETING = "COMPLETING"
    COMPLETE_FAILED = "COMPLETE_FAILED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    ABORTED = "ABORTED"
    RECOVERING = "RECOVERING"
    WORKER_LOST = "WORKER_LOST"

    @property
    def success(self) -> bool:
        """The derived flag of an update; upload states are not in the list upstream either."""
        return self in _SUCCESS


_SUCCESS = frozenset(
    status
    for status in ReplicateStatus
    if not status.value.startswith("RESULT_UPLOAD")
    and not status.value.endswith("FAILED")
    and status.value not in ("ABORTED", "RECOVERING", "WORKER_LOST")
)


class NotificationType(enum.Enum):
    """What the scheduler asks for, by topic or as the answer to an update (7.1)."""

    PLEASE_CONTINUE = "PLEASE_CONTINUE"
    PLEASE_WAIT = "PLEASE_WAIT"
    PLEASE_START = "PLEASE_START"
    PLEASE_DOWNLOAD_APP = "PLEASE_DOWNLOAD_APP"
    PLEASE_DOWNLOAD_DATA = "PLEASE_DOWNLOAD_DATA"
    PLEASE_COMPUTE = "PLEASE_COMPUTE"
    PLEASE_CONTRIBUTE = "PLEASE_CONTRIBUTE"
    PLEASE_REVEAL = "PLEASE_REVEAL"
    PLEASE_UPLOAD = "PLEASE_UPLOAD"
    PLEASE_CONTRIBUTE_AND_FINALIZE = "PLEASE_CONTRIBUTE_AND_FINALIZE"
    PLEASE_COMPLETE = "PLEASE_COMPLETE"
    PLEASE_ABORT = "PLEASE_ABORT"


class AnswerKind(enum.Enum):
    """What the scheduler made of a status update (8.4)."""

    ACCEPTED = "accepted"
    ALREADY = "already"
    """The status was in the replicate's history; nothing has changed."""
    REFUSED = "refused"
    """Nothing was recorded: unknown replicate, forbidden transition, or verification failed."""


class AbortCause(enum.Enum):
    """Why the scheduler aborts a task (7.2); an absent one reads as UNKNOWN."""

    UNKNOWN = "UNKNOWN"
    CONTRIBUTION_TIMEOUT = "CONTRIBUTION_TIMEOUT"
    CONSENSUS_REACHED = "CONSENSUS_REACHED"


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a work request (`ReplicateTaskSummary`, 5.6)."""

    authorization: WorkerpoolAuthorization
    sms_url: str | None

    @classmethod
    def from_json(cls, data: object) -> Grant:
        """Read the JSON object; raises `MalformedMessage`."""
        if not isinstance(data, Mapping):
            raise MalformedMessage(f"grant: expected an object, got {data!r}")
        authorization = WorkerpoolAuthorization.from_json(data.get("workerpoolAuthorization"))
        return cls(authorization, text(data, "smsUrl", "") or None)


@dataclass(frozen=True, slots=True)
class Notification:
    """A message of a task's topic, or an item of the interrupted list (6.5)."""

    task_id: str
    recipients: tuple[str, ...] | None
    """None: the message is for nobody; empty: for everybody."""
    type: NotificationType
    block_number: int = 0
    abort_cause: AbortCause = AbortCause.UNKNOWN
    authorization: WorkerpoolAuthorization | None = None
    sms_url: str | None = None

    @classmethod
    def from_json(cls, data: object) -> Notification:
        """Read the JSON object; raises `MalformedMessage` (an unknown type too)."""
        if not isinstance(data, Mapping):
            raise MalformedMessage(f"notification: expected an object, got {data!r}")
        kind = text(data, "taskNotificationType")
        if kind not in NotificationType.__members__:
            raise MalformedMessage(f"taskNotificationType: unknown {kind!r}")
        recipients = data.get("workersAddress")
        if recipients is not None and not (
            isinstance(recipients, list) and all(isinstance(item, str) for item in recipients)
        ):
            raise MalformedMessage(f"workersAddress: expected a list of texts, got {recipients!r}")
        extra = data.get("taskNotificationExtra")
        if extra is not None and not isinstance(extra, Mapping):
            raise MalformedMessage(f"taskNotificationExtra: expected an object, got {extra!r}")
        extra = extra or {}
        cause = extra.get("taskAbortCause") or data.get("taskAbortCause")
        authorization = extra.get("workerpoolAuthorization")
        return cls(
            task_id=text(data, "chainTaskId").lower(),
            recipients=None if recipients is None else tuple(item.lower() for item in recipients),
            type=NotificationType[kind],
            block_number=integer(extra, "blockNumber", 0),
            abort_cause=(
                AbortCause[cause]
                if isinstance(cause, str) and cause in AbortCause.__members__
                else AbortCause.UNKNOWN
            ),
            authorization=(
                None if authorization is None else WorkerpoolAuthorization.from_json(authorization)
            ),
            sms_url=text(extra, "smsUrl", "") or None,
        )

    def concerns(self, wallet: str) -> bool:
        """Whether the message is meant for `wallet` (6.4)."""
        return self.recipients is not None and (
            not self.recipients or wallet.lower() in self.recipients
        )


@dataclass(frozen=True, slots=True)
class Details:
    """The details of a status update (8.2); every field is written, nulls too."""

    receipt: ChainReceipt | None = None
    result_link: str | None = None
    callback_data: str | None = None
    cause: str | None = None
    """The wire name of a ReplicateStatusCause."""
    stdout: str | None = None
    stderr: str | None = None
    with_logs: bool = False
    """Whether `computeLogs` is present; its empty members are left out even then."""
    exit_code: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object as the scheduler reads it."""
        logs = {
            key: text for key, text in (("stdout", self.stdout), ("stderr", self.stderr)) if text
        }
        return {
            "chainReceipt": None
            if self.receipt is None
            else {"blockNumber": self.receipt.block_number, "txHash": self.receipt.tx_hash},
            "resultLink": self.result_link,
            "chainCallbackData": self.callback_data,
            "errorMessage": None,
            "cause": self.cause,
            "computeLogs": logs if self.with_logs else None,
            "exitCode": self.exit_code,
            "teeSessionGenerationError": None,
        }


def update_body(status: ReplicateStatus, details: Details | None) -> dict[str, Any]:
    """Return the body of `POST /replicates/{id}/updateStatus` (8.2)."""
    return {
        "status": status.value,
        "modifier": None,
        "date": None,
        "details": None if details is None else details.to_json(),
        "success": status.success,
    }


@dataclass(frozen=True, slots=True)
class PublicConfiguration:
    """`GET /workers/config` (5.2)."""

    workerpool_address: str
    scheduler_address: str
    config_server_url: str
    result_proxy_url: str
    ask_period_ms: int
    required_version: str
    has_adapter_url: bool
    """The key `blockchainAdapterUrl` is there: a sign of an 8.x scheduler (section 10)."""
    raw: Mapping[str, Any] = field(compare=False)

    @classmethod
    def from_json(cls, data: object) -> PublicConfiguration:
        """Read the JSON object; raises `MalformedMessage`."""
        if not isinstance(data, Mapping):
            raise MalformedMessage(f"public configuration: expected an object, got {data!r}")
        adapter = text(data, "blockchainAdapterUrl", "")
        return cls(
            workerpool_address=text(data, "workerPoolAddress", "").lower(),
            scheduler_address=text(data, "schedulerPublicAddress", "").lower(),
            config_server_url=(text(data, "configServerUrl", "").strip() or adapter).rstrip("/"),
            result_proxy_url=text(data, "resultRepositoryURL", "").rstrip("/"),
            ask_period_ms=integer(data, "askForReplicatePeriod", 5000),
            required_version=text(data, "requiredWorkerVersion", ""),
            has_adapter_url="blockchainAdapterUrl" in data,
            raw=dict(data),
        )


@dataclass(frozen=True, slots=True)
class Registration:
    """What a worker says of itself when it registers (`WorkerModel`, 5.3)."""

    name: str
    wallet: str
    os: str
    cpu: str
    cpu_count: int
    memory_gib: int
    gpu: bool
    tee: bool
    tdx: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object; `tdxEnabled` too, which an 8.x scheduler ignores (10)."""
        return {
            "name": self.name,
            "walletAddress": self.wallet,
            "os": self.os,
            "cpu": self.cpu,
            "cpuNb": self.cpu_count,
            "memorySize": self.memory_gib,
            "gpuEnabled": self.gpu,
            "teeEnabled": self.tee,
            "tdxEnabled": self.tdx,
        }
