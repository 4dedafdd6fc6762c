"""What the worker knows of the chain, as values (docs/spec/05, section 3).

Identifiers, hashes and addresses are lower-case texts with 0x; instants are Unix seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

ZERO_ADDRESS = "0x" + "00" * 20
ZERO_BYTES32 = "0x" + "00" * 32


class Profile(enum.Enum):
    """The generation of the scheduler spoken to; texts that enter a result digest follow it."""

    V8 = "8"
    V9 = "9"

    @classmethod
    def from_version(cls, version: str) -> Profile | None:
        """Return the profile for a version text such as `9.2.1`, None for one without a number."""
        major = version.strip().partition(".")[0]
        if not (major.isascii() and major.isdigit() and len(major) < 10):
            return None
        return cls.V8 if int(major) <= 8 else cls.V9


@dataclass(frozen=True, slots=True)
class ChainReceipt:
    """Where a transaction was mined, as updates carry it."""

    block_number: int
    tx_hash: str


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


def tee_framework(tag: str | None, profile: str) -> TeeFramework | None:
    """Return the framework that a tag names, by equality of its four low bits (3.5).

    Profile 8 knows no TDX; higher bits mean nothing.
    """
    low = int(tag, 16) & 0xF if tag else 0
    known = {3, 5} if profile == "8" else {3, 5, 9}
    return TeeFramework(low) if low in known else None


def needs_enclave_challenge(tag: str | None) -> bool:
    """Tell whether the contract refuses a contribution without an enclave challenge (3.5)."""
    return bool(tag and int(tag, 16) & 1)


class ActionKind(enum.Enum):
    """What the worker does to a task on the chain: the contract's functions that it sends."""

    CONTRIBUTE = "contribute"
    REVEAL = "reveal"
    CONTRIBUTE_AND_FINALIZE = "contributeAndFinalize"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block of the node."""

    number: int
    timestamp_s: int
    base_fee_wei: int | None = None
    """What a unit of gas costs at least; None on chains without fees of this kind."""
    has_pool: bool = True
    """False: a sequencer takes or refuses transactions at once (docs/spec/11, 1.5)."""


@dataclass(frozen=True, slots=True)
class Nonces:
    """Transactions of the wallet: mined at the head, and with those that the node holds."""

    latest: int
    pending: int


@dataclass(frozen=True, slots=True)
class Log:
    """An event of a contract; `block_number` is None where the node gives none."""

    topics: tuple[str, ...]
    data: str
    block_number: int | None
    tx_hash: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """`eth_getTransactionReceipt`, as far as the worker looks into it."""

    tx_hash: str
    success: bool
    block_number: int
    gas_used: int
    logs: tuple[Log, ...]
    gas_price_wei: int | None = None
    """What a unit of gas was charged; None where the node does not say."""

    @property
    def cost_wei(self) -> int | None:
        """What the transaction has cost the wallet."""
        return None if self.gas_price_wei is None else self.gas_used * self.gas_price_wei


@dataclass(frozen=True, slots=True)
class ContributionEvent:
    """`TaskContribute` of this wallet, as a lost journal is rebuilt from it (2.5)."""

    task_id: str
    result_hash: str
    block_number: int
    tx_hash: str


@dataclass(frozen=True, slots=True)
class Contributed:
    """What the input of a `contribute` says: with it a lost authorisation is had again (4.1)."""

    task_id: str
    enclave_challenge: str
    authorization: str
    """The signature of the workerpool's authorisation."""


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
class Resource:
    """An asset of a deal: its contract, who owned it when the deal was made, its price in nRLC."""

    address: str
    owner: str
    price: int


@dataclass(frozen=True, slots=True)
class Deal:
    """`viewDeal`, without the sponsor that only newer contracts have (2.2)."""

    app: Resource
    dataset: Resource
    workerpool: Resource
    trust: int
    category: int
    tag: str
    requester: str
    beneficiary: str
    callback: str
    params: str
    start_time_s: int
    bot_first: int
    bot_size: int
    worker_stake: int
    scheduler_reward_ratio: int


@dataclass(frozen=True, slots=True)
class Category:
    """`viewCategoryABILegacy`: a class of tasks by how long they may run."""

    name: str
    description: str
    time_reference_s: int


@dataclass(frozen=True, slots=True)
class TaskView:
    """What the chain shows of a task for this wallet, read in one round trip."""

    task: ChainTask | None
    """None: the contract does not know the task."""
    contribution: Contribution
    account: ChainAccount
    head: Head


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
    profile: str = "9"
    """The wire's text of the profile that the task was granted under; it decides what follows."""

    @property
    def tee_framework(self) -> TeeFramework | None:
        """The framework that the tag names, as far as the profile knows it."""
        return tee_framework(self.tag, self.profile)

    @property
    def requires_sgx(self) -> bool:
        """Scone or Gramine: what profile 8 calls a TEE task."""
        return self.tee_framework in (TeeFramework.SCONE, TeeFramework.GRAMINE)

    @property
    def requires_tdx(self) -> bool:
        """TDX, which only profile 9 knows."""
        return self.tee_framework is TeeFramework.TDX

    @property
    def has_callback(self) -> bool:
        """The result goes to a contract instead of a store."""
        return self.callback not in ("", ZERO_ADDRESS)

    @property
    def has_dataset(self) -> bool:
        """Address, location and checksum are all there; a blank one counts in profile 8."""
        parts = (self.dataset_address, self.dataset_uri, self.dataset_checksum)
        filled = parts if self.profile == "8" else tuple(part.strip() for part in parts)
        return all(filled) and self.dataset_address != ZERO_ADDRESS

    @property
    def has_input_files(self) -> bool:
        """The requester named files to download."""
        return bool(self.params.input_files)

    @property
    def is_bulk(self) -> bool:
        """The task works on a bulk of datasets (profile 9)."""
        return bool(self.params.bulk_cid and self.params.bulk_cid.strip())

    @property
    def requires_pre_compute(self) -> bool:
        """There is something to fetch before the app runs."""
        return self.has_dataset or self.has_input_files or self.is_bulk

    @property
    def finalizes_at_once(self) -> bool:
        """Eligible to contributeAndFinalize: no stake, no reveal (docs/spec/04, section 6)."""
        if self.trust != 1 or self.tee_framework is None:
            return False
        return self.profile != "8" or not self.has_callback


@dataclass(frozen=True, slots=True)
class Sighting:
    """Task and own contribution at one head of the chain."""

    task: ChainTask
    contribution: Contribution
    head_s: int
