"""Actions that the outbox is asked for, and transactions that it sends, as values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from iexworker.poco.models import ActionKind, ChainReceipt


class ActionState(enum.Enum):
    """Where an action stands."""

    OPEN = "open"
    """Asked for; signed when a transaction of it exists."""
    DONE = "done"
    FAILED = "failed"


class TransactionState(enum.Enum):
    """Where a transaction stands; its nonce is free in the first two."""

    SIGNED = "signed"
    """On disk; whether the node has it is not known."""
    SENT = "sent"
    """Broadcast at least once."""
    MINED = "mined"
    REVERTED = "reverted"
    """In a block, refused by the contract."""
    VOID = "void"
    """Another transaction took its nonce."""


FREE = (TransactionState.SIGNED, TransactionState.SENT)
"""The states in which a transaction may still be mined."""


class Pace(enum.Enum):
    """How soon to run the outbox's next pass."""

    BUSY = "busy"
    """An action is undecided, or a nonce is to be freed."""
    WATCHFUL = "watchful"
    """A reorganisation may still take back what was mined."""
    IDLE = "idle"


ActionKey = tuple[str, ActionKind]


@dataclass(frozen=True, slots=True)
class Action:
    """A call of the hub that the task needs; one of each kind for a task."""

    task_id: str
    kind: ActionKind
    calldata: bytes
    gas_limit: int
    deadline_s: int
    """Unix seconds: from this block time on the contract refuses it; 0 while it is not known."""

    @property
    def key(self) -> ActionKey:
        """What tells one action from another."""
        return self.task_id, self.kind

    def expired(self, at_s: float) -> bool:
        """Tell whether the contract refuses it at `at_s`."""
        return 0 < self.deadline_s <= at_s


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """An action as the ledger has it."""

    action: Action
    state: ActionState = ActionState.OPEN
    abandoned: bool = False
    receipt: ChainReceipt | None = None
    """Of a done action; None where only the contribution shows that it is done."""
    cause: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A signed transaction."""

    tx_hash: str
    nonce: int
    owner: ActionKey | None
    """None: an empty transfer to ourselves, which frees a nonce."""
    gas_price_wei: int
    raw: bytes
    state: TransactionState = TransactionState.SIGNED
    sent_head_s: int | None = None
    """The head's time at the first broadcast."""
    block_number: int | None = None


@dataclass(frozen=True, slots=True)
class ActionMined:
    """The chain shows the action done."""

    task_id: str
    kind: ActionKind
    receipt: ChainReceipt | None
    """None where only the contribution shows it and no event could be found."""
    gas_used: int | None = field(default=None, compare=False)
    """For people; None where the receipt was not read just now: it is not kept."""
    cost_wei: int | None = field(default=None, compare=False)
    """The same; None also where the node does not tell the price."""


@dataclass(frozen=True, slots=True)
class ActionFailed:
    """The chain shows the action undone, and no transaction of ours can do it any more."""

    task_id: str
    kind: ActionKind
    cause: str
    """The wire name of a cause."""
    text: str
    """For people: what happened."""


Result = ActionMined | ActionFailed


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a wallet's transactions since the start of the process."""

    success: int = 0
    """Mined with receipt status 1; one that a reorganised chain mines twice counts twice."""
    failure: int = 0
    """Mined and reverted."""
    replaced: int = 0
    """Never mined: another transaction took the nonce."""
    pending: int = 0
    """Signed and undecided, now."""
    spent_wei: int = 0
    """What the mined ones have cost, reverted or not, where the node tells it."""
