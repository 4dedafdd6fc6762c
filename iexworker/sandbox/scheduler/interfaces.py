"""What the scheduler and the result proxy take from outside, as interfaces and values.

Behind them stand a real chain, a real store and the wall clock, or, in a replay of a recording,
its facts and a clock that the replay moves.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from iexworker.sandbox.scheduler.models import AbortCause, Action, Deal


class ChainTaskStatus(enum.IntEnum):
    """`TaskStatusEnum` of the contract (05, 2.4)."""

    UNSET = 0
    ACTIVE = 1
    REVEALING = 2
    COMPLETED = 3
    FAILED = 4


class ContributionStatus(enum.IntEnum):
    """`ContributionStatusEnum` of the contract (05, 2.4)."""

    UNSET = 0
    CONTRIBUTED = 1
    PROVED = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True)
class ChainTask:
    """A task on chain; instants are Unix seconds."""

    status: ChainTaskStatus
    deal_id: str
    consensus: str
    reveal_deadline_s: int
    final_deadline_s: int
    reveals: int
    winners: int


@dataclass(frozen=True, slots=True)
class ChainContribution:
    """A contribution on chain."""

    status: ContributionStatus
    result_hash: str
    weight: int


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction with its receipt."""

    block: int
    succeeded: bool
    out_of_gas: bool = False
    """It reverted because it used up what it was given."""


class ChainUnreachable(Exception):
    """The chain node does not answer."""


class ChainRefused(Exception):
    """The chain node answers that it does not take a transaction."""


class Clock(Protocol):
    """Time, as Unix seconds."""

    def now_s(self) -> float:
        """Return the present."""

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""


class Chain(Protocol):
    """The chain as the scheduler needs it; every method may raise `ChainUnreachable`."""

    def head(self) -> tuple[int, int]:
        """Return number and timestamp (Unix seconds) of the latest block."""

    def deals_since(self, block: int) -> Sequence[tuple[int, str]]:
        """Return block and id of the deals announced to our workerpool in `block` and later."""

    def deal(self, deal_id: str) -> Deal | None:
        """Return a deal, None when there is none or an asset of it cannot be read."""

    def task(self, task_id: str) -> ChainTask | None:
        """Return a task, None when it is not initialised."""

    def contribution(self, task_id: str, wallet: str) -> ChainContribution:
        """Return the contribution of a worker, UNSET when there is none."""

    def worker_weight(self, wallet: str) -> int:
        """Return the factor by which a contribution of this worker makes its group grow."""

    def consensus_block(self, task_id: str) -> int:
        """Return the block of the consensus, 0 when none is found."""

    def has_gas(self, wallet: str) -> bool:
        """Whether the wallet can pay for its transactions."""

    def initialize(self, deal_id: str, index: int) -> str:
        """Send `initialize` and return the transaction's hash; may raise `ChainRefused`."""

    def finalize(self, task_id: str, results: str, callback_data: str) -> str:
        """Send `finalize` and return the transaction's hash; may raise `ChainRefused`."""

    def mined(self, transaction: str) -> Mined | None:
        """Return the outcome of a transaction, None while it has none."""


class Results(Protocol):
    """The result proxy as the scheduler asks it."""

    def has_result(self, task_id: str) -> bool:
        """Whether a result of the task is recorded and readable."""


class Push(Protocol):
    """The notification channel."""

    def publish(
        self,
        task_id: str,
        action: Action,
        recipients: Sequence[str],
        *,
        block: int | None = None,
        cause: AbortCause | None = None,
    ) -> None:
        """Send to whoever is subscribed to the task's topic now; nobody gets it later."""
