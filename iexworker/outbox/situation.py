"""The facts on which the outbox decides its next moves, as values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from iexworker.outbox import gas
from iexworker.outbox.actions import FREE, Action, ActionKey, Transaction
from iexworker.outbox.evidence import BroadcastAnswer
from iexworker.outbox.gas import PriceRule
from iexworker.outbox.transaction import gas_limit_of
from iexworker.poco.models import (
    ActionKind,
    Contribution,
    ContributionStatus,
    Head,
    Nonces,
    Receipt,
)

WATCH_BLOCKS = 12
"""Blocks for which a mined transaction is watched: a reorganisation may take it back."""


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What clock, node and the outbox's memory say."""

    wallet: str
    now_s: float
    head: Head
    nonces: Nonces
    network_wei: int | None
    receipts: Mapping[str, Receipt]
    """By transaction hash; those that are in a block."""
    known: frozenset[str]
    """Hashes that the node holds, in a block or waiting for one."""
    contributions: Mapping[str, Contribution]
    """Of this wallet, by task; of every open action."""
    top_nonce: int = -1
    """The highest nonce ever signed with."""
    settled_nonce: int = -1
    """The highest nonce known to be spent."""
    refusals: Mapping[ActionKey, str] = field(default_factory=dict)
    """Why a call with the action's input reverts now; absent where it succeeds."""
    refused_s: Mapping[ActionKey, float] = field(default_factory=dict)
    """For how long it has done so."""
    spent_s: Mapping[int, float] = field(default_factory=dict)
    """For how long a nonce has been seen spent without a receipt of ours."""
    tried_s: Mapping[str, float] = field(default_factory=dict)
    """How long ago the node answered to a broadcast; absent for one it was not given yet."""
    underpriced: frozenset[str] = frozenset()
    """Hashes that the node refused for their price."""
    refused_for_gas: frozenset[str] = frozenset()
    """Hashes that the node refused for their gas limit: it holds none of them."""
    estimates: Mapping[ActionKey, int] = field(default_factory=dict)
    """The gas that the node estimates for actions that may be signed now."""
    unheld: Mapping[str, BroadcastAnswer] = field(default_factory=dict)
    """By hash: what a node without a pool refused last. It holds nothing of these."""
    mined_s: Mapping[str, float] = field(default_factory=dict)
    """By hash: for how long a receipt has been seen."""
    ownerless_s: Mapping[str, float] = field(default_factory=dict)
    """By hash: for how long nobody has wanted it any more."""

    def in_flight(self, transaction: Transaction) -> bool:
        """Tell whether it may be mined without being broadcast again."""
        return transaction.state in FREE and transaction.tx_hash not in self.unheld

    def ran_out_of_gas(self, transaction: Transaction) -> bool:
        """Tell whether it was mined and failed for its gas limit."""
        receipt = self.receipts.get(transaction.tx_hash)
        if receipt is None:
            return False
        return gas.ran_out(receipt.success, receipt.gas_used, gas_limit_of(transaction.raw))

    def short_of_gas(self, transaction: Transaction) -> bool:
        """Tell whether its gas limit was too low, by the node's word or by its receipt."""
        return transaction.tx_hash in self.refused_for_gas or self.ran_out_of_gas(transaction)


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the outbox is, and what it may pay."""

    rule: PriceRule
    block_time_s: float
    has_pool: bool = True

    @property
    def stuck_s(self) -> float:
        """Head's time after which a transaction that the node holds is replaced.

        Three blocks: a transaction at the network's price is in the next or the one after, and a
        reveal has hours; sooner would only outbid ourselves.
        """
        return 3 * self.block_time_s

    @property
    def settle_s(self) -> float:
        """Time after which the absence of a receipt or of an effect is believed.

        Of several nodes behind one address some are late, by a block or two.
        """
        return self._at_least(2 * self.block_time_s, 10.0)

    @property
    def watch_blocks(self) -> int:
        """Blocks for which a mined transaction is kept in sight; without a pool at 0.25 s each."""
        return WATCH_BLOCKS if self.has_pool else 20 * WATCH_BLOCKS

    @property
    def refused_s(self) -> float:
        """Time over which the contract has to refuse a contribution before it is given up.

        A reorganisation may have taken away the task itself, which comes back like all else.
        """
        return self._at_least(WATCH_BLOCKS * self.block_time_s, 60.0)

    def _at_least(self, patience_s: float, floor_s: float) -> float:
        """Keep to the floor where blocks come when there is something to put in them."""
        return patience_s if self.has_pool else max(patience_s, floor_s)


def shown_done(action: Action, contribution: Contribution) -> bool:
    """Tell whether the contribution shows the effect of the action."""
    if action.kind is ActionKind.CONTRIBUTE:
        return contribution.status is not ContributionStatus.UNSET and _same_result(
            action, contribution
        )
    return contribution.status is ContributionStatus.PROVED


def _same_result(action: Action, contribution: Contribution) -> bool:
    # The second argument of `contribute` is the result hash.
    return contribution.result_hash == "0x" + action.calldata[36:68].hex()


def by_owner(transactions: Iterable[Transaction]) -> dict[ActionKey | None, list[Transaction]]:
    """Return the transactions of each action; a key without one has an empty list."""
    owned: dict[ActionKey | None, list[Transaction]] = defaultdict(list)
    for transaction in transactions:
        owned[transaction.owner].append(transaction)
    return owned
