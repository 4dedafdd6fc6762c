"""What the sandbox's scheduler knows: workers, tasks and their replicates (docs/spec/03, 7 and 9).

These types are the sandbox's own; the worker's stay out, so that one mistake is not made twice.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

ZERO_ADDRESS = "0x" + "00" * 20


class Profile(enum.Enum):
    """The generation of scheduler that is played."""

    V8 = "8"
    V9 = "9"

    @property
    def version(self) -> str:
        """What `GET /version` says."""
        return "8.5.0" if self is Profile.V8 else "9.2.1"


class Action(enum.Enum):
    """What a worker is asked to do (7.1)."""

    CONTINUE = "PLEASE_CONTINUE"
    WAIT = "PLEASE_WAIT"
    DOWNLOAD_APP = "PLEASE_DOWNLOAD_APP"
    DOWNLOAD_DATA = "PLEASE_DOWNLOAD_DATA"
    COMPUTE = "PLEASE_COMPUTE"
    CONTRIBUTE = "PLEASE_CONTRIBUTE"
    REVEAL = "PLEASE_REVEAL"
    UPLOAD = "PLEASE_UPLOAD"
    CONTRIBUTE_AND_FINALIZE = "PLEASE_CONTRIBUTE_AND_FINALIZE"
    COMPLETE = "PLEASE_COMPLETE"
    ABORT = "PLEASE_ABORT"


class AbortCause(enum.Enum):
    """Why a task is aborted (7.2)."""

    UNKNOWN = "UNKNOWN"
    CONTRIBUTION_TIMEOUT = "CONTRIBUTION_TIMEOUT"
    CONSENSUS_REACHED = "CONSENSUS_REACHED"


class ReplicateStatus(enum.Enum):
    """The states of a replicate in the order that "before" refers to (7.3)."""

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

    def before(self, other: ReplicateStatus) -> bool:
        """Whether this state stands before `other` in the enumeration."""
        return _POSITIONS[self] < _POSITIONS[other]


_POSITIONS = {status: position for position, status in enumerate(ReplicateStatus)}

ABSENCES = frozenset((ReplicateStatus.RECOVERING, ReplicateStatus.WORKER_LOST))
"""States that say where the worker is, and nothing of its work."""

FAILURES_BEFORE_COMPUTED = frozenset(
    (
        ReplicateStatus.START_FAILED,
        ReplicateStatus.APP_DOWNLOAD_FAILED,
        ReplicateStatus.DATA_DOWNLOAD_FAILED,
        ReplicateStatus.COMPUTE_FAILED,
    )
)


class TaskStatus(enum.Enum):
    """The states of a task in the scheduler (9.7, end)."""

    RECEIVED = "RECEIVED"
    INITIALIZING = "INITIALIZING"
    INITIALIZED = "INITIALIZED"
    INITIALIZE_FAILED = "INITIALIZE_FAILED"
    RUNNING = "RUNNING"
    RUNNING_FAILED = "RUNNING_FAILED"
    CONTRIBUTION_TIMEOUT = "CONTRIBUTION_TIMEOUT"
    CONSENSUS_REACHED = "CONSENSUS_REACHED"
    AT_LEAST_ONE_REVEALED = "AT_LEAST_ONE_REVEALED"
    RESULT_UPLOADING = "RESULT_UPLOADING"
    RESULT_UPLOADED = "RESULT_UPLOADED"
    FINALIZING = "FINALIZING"
    FINALIZED = "FINALIZED"
    FINALIZE_FAILED = "FINALIZE_FAILED"
    FINAL_DEADLINE_REACHED = "FINAL_DEADLINE_REACHED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


ENDED = frozenset((TaskStatus.COMPLETED, TaskStatus.FAILED))


class Modifier(enum.Enum):
    """Who made a change of state."""

    WORKER = "WORKER"
    POOL_MANAGER = "POOL_MANAGER"


@dataclass(frozen=True, slots=True)
class Details:
    """The details of a status update, as the scheduler reads them (8.2)."""

    receipt_block: int = 0
    """0 stands for no receipt."""
    result_link: str | None = None
    callback_data: str | None = None
    cause: str | None = None
    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class StatusChange:
    """One entry of a replicate's history."""

    status: ReplicateStatus
    at_ms: int
    modifier: Modifier
    cause: str | None = None


@dataclass(slots=True)
class Replicate:
    """One worker's execution of one task."""

    wallet: str
    history: list[StatusChange]
    contribution_hash: str = ""
    weight: int = 2
    """Factor by which its contribution makes its group's weight grow (2 for a new worker)."""
    result_link: str | None = None
    callback_data: str | None = None
    exit_code: int | None = None
    stdout: str | None = None
    """None until logs came; the first ones that come stay (8.3)."""
    stderr: str | None = None

    @property
    def status(self) -> ReplicateStatus:
        """The current state."""
        return self.history[-1].status

    @property
    def last_relevant(self) -> ReplicateStatus:
        """The last state that is no absence (04, 11)."""
        return next(one.status for one in reversed(self.history) if one.status not in ABSENCES)

    def has(self, *statuses: ReplicateStatus) -> bool:
        """Whether one of the states stands anywhere in the history."""
        return any(one.status in statuses for one in self.history)


@dataclass(frozen=True, slots=True)
class Deal:
    """What the scheduler keeps of a deal; every task of it has the same."""

    deal_id: str
    trust: int
    tag: str
    app_type: str
    app_image: str
    command: str
    callback: str
    max_execution_ms: int
    start_s: int
    first: int
    size: int
    proxy_url: str | None = None
    """The result proxy that the requester names, if any."""

    @property
    def has_callback(self) -> bool:
        """The result goes to a contract."""
        return self.callback != ZERO_ADDRESS

    @property
    def contribution_deadline_s(self) -> int:
        """Deal start + 7 x the category's time (04, 1.6)."""
        return self.start_s + 7 * self.max_execution_ms // 1000

    @property
    def final_deadline_s(self) -> int:
        """Deal start + 10 x the category's time (04, 1.6)."""
        return self.start_s + 10 * self.max_execution_ms // 1000


@dataclass(frozen=True, slots=True)
class TaskChange:
    """One entry of a task's history."""

    status: TaskStatus
    at_ms: int
    reason: str = ""
    """Why, where the status alone does not tell."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something of a worker's that scheduler or result proxy did not take."""

    wallet: str
    what: str
    """The status that was told; or `update`, `token`, `upload`."""
    reason: str
    at_ms: int
    cause: str | None = None
    """What a refused status gave as its cause."""


@dataclass(slots=True)
class Task:
    """One task of a deal and its replicates, oldest first."""

    task_id: str
    index: int
    deal: Deal
    history: list[TaskChange]
    replicates: dict[str, Replicate] = field(default_factory=dict)
    transaction: str | None = None
    """Hash of the initialisation or finalisation in flight."""
    initialization_block: int = 0
    consensus: str | None = None
    consensus_block: int = 0
    reveal_deadline_s: int = 0
    winners: int = 0
    """Contributions that the chain counts into the consensus."""
    uploader: str | None = None
    result_link: str | None = None
    callback_data: str | None = None
    refusals: list[Refusal] = field(default_factory=list)
    """The latest of each kind and worker."""

    @property
    def status(self) -> TaskStatus:
        """The current state."""
        return self.history[-1].status

    @property
    def since_ms(self) -> int:
        """When the current state began."""
        return self.history[-1].at_ms

    def every(self) -> list[Replicate]:
        """Return the replicates there are now; others may join while the list is read."""
        return list(self.replicates.values())

    def with_status(self, *statuses: ReplicateStatus) -> list[Replicate]:
        """Return the replicates whose current state is one of `statuses`."""
        return [one for one in self.every() if one.status in statuses]


@dataclass(slots=True)
class Worker:
    """A registered worker (5.3)."""

    identifier: str
    wallet: str
    name: str
    os: str
    cpu: str
    cpu_count: int
    memory_gib: int
    tee: bool
    gpu: bool
    tdx: bool
    participating: list[str] = field(default_factory=list)
    computing: list[str] = field(default_factory=list)

    @property
    def slots(self) -> int:
        """How many tasks it may compute at once: one with a GPU."""
        return 1 if self.gpu else self.cpu_count

    def leave(self, task_ids: Iterable[str]) -> None:
        """Take the tasks off both lists."""
        gone = set(task_ids)
        self.participating = [one for one in self.participating if one not in gone]
        self.computing = [one for one in self.computing if one not in gone]
