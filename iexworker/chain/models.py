"""What the worker knows of the chain, as values (docs/spec/05, section 3).

Identifiers, hashes and addresses are lower-case texts with 0x; instants are Unix seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

ZERO_ADDRESS = "0x" + "00" * 20


class TaskStatus(enum.IntEnum):
    """`TaskStatusEnum` of the contract."""

    UNSET = 0
    ACTIVE = 1
    REVEALING = 2
    COMPLETED = 3
    FAILED = 4


class ContributionStatus(enum.IntEnum):
    """`ContributionStatusEnum` of the contract (PROVED is what upstream calls REVEALED)."""

    UNSET = 0
    CONTRIBUTED = 1
    PROVED = 2
    REJECTED = 3


class TeeFramework(enum.Enum):
    """What a tag's four low bits name (3.5)."""

    SCONE = 3
    GRAMINE = 5
    TDX = 9


@dataclass(frozen=True, slots=True)
class ChainConfiguration:
    """`GET {config server}/config/chain` (docs/spec/02, 4.2)."""

    chain_id: int
    hub_address: str
    node_url: str
    sidechain: bool
    """True where transactions are free: the gas balance is not checked."""
    block_time_s: float


@dataclass(frozen=True, slots=True)
class ChainTask:
    """`viewTaskABILegacy` (3.1)."""

    task_id: str
    status: TaskStatus
    deal_id: str
    index: int
    time_reference_s: int
    contribution_deadline_s: int
    reveal_deadline_s: int
    """0 until a consensus."""
    final_deadline_s: int
    consensus: str
    reveal_counter: int
    winner_counter: int
    contributors: tuple[str, ...]
    results: str


@dataclass(frozen=True, slots=True)
class Contribution:
    """`viewContributionABILegacy` (3.7)."""

    status: ContributionStatus
    result_hash: str
    result_seal: str
    enclave_challenge: str


@dataclass(frozen=True, slots=True)
class ChainAccount:
    """`viewAccountABILegacy`: nRLC free to be staked, and locked."""

    stake: int
    locked: int


@dataclass(frozen=True, slots=True)
class DealParams:
    """The deal's `params` text, read by the rules of its profile (3.3)."""

    args: str | None = None
    input_files: tuple[str | None, ...] | None = ()
    secrets: Mapping[str, str | None] | None = field(default_factory=dict)
    result_encryption: bool = False
    storage_provider: str | None = None
    storage_proxy: str | None = None
    bulk_cid: str | None = ""
    """Profile 9 only."""
    developer_logger: bool = False
    """Profile 8 only, as the two below."""
    tee_post_compute_image: str | None = None
    tee_post_compute_fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class TaskDescription:
    """All that computing needs to know of a task; cached, it does not change (3.6)."""

    task_id: str
    deal_id: str
    index: int
    app_address: str
    app_type: str
    app_image: str
    app_enclave: str
    """The text of the app's enclave configuration, empty for a standard app."""
    dataset_address: str
    """The zero address when the deal has none."""
    dataset_uri: str
    dataset_checksum: str
    workerpool_address: str
    workerpool_owner: str
    requester: str
    beneficiary: str
    callback: str
    tag: str
    trust: int
    category: int
    worker_stake: int
    """nRLC that a contribution locks."""
    bot_first_index: int
    bot_size: int
    start_time_s: int
    max_execution_time_s: int
    contribution_deadline_s: int
    final_deadline_s: int
    params: DealParams

    @property
    def tee_framework(self) -> TeeFramework | None:
        """The framework that the tag names, by equality of its four low bits (3.5)."""
        low = int(self.tag, 16) & 0xF
        return TeeFramework(low) if low in (3, 5, 9) else None

    @property
    def has_callback(self) -> bool:
        """The result goes to a contract instead of a store."""
        return self.callback not in ("", ZERO_ADDRESS)

    @property
    def has_dataset(self) -> bool:
        """Address, location and checksum are all there."""
        return bool(
            self.dataset_address.strip()
            and self.dataset_address != ZERO_ADDRESS
            and self.dataset_uri.strip()
            and self.dataset_checksum.strip()
        )
