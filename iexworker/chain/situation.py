"""All that the next moves of the outbox are decided on, as values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from iexworker.chain.actions import Action, ActionKey, Transaction
from iexworker.chain.gas import PriceRule
from iexworker.chain.models import (
    ActionKind,
    Contribution,
    ContributionStatus,
    Head,
    Nonces,
    Receipt,
)

SETTLE_BLOCKS = 2
"""Blocks to wait before the absence of a receipt or an effect is believed.

Of several nodes behind one address some are late.
"""


@dataclass(frozen=True, slots=True)
class Facts:
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
    refused_since: Mapping[ActionKey, int] = field(default_factory=dict)
    """Block since which a call with the action's input reverts; absent where it succeeds."""
    refusals: Mapping[ActionKey, str] = field(default_factory=dict)
    """Why it reverts."""
    spent_since: Mapping[int, int] = field(default_factory=dict)
    """Block at which a nonce was first seen spent without a receipt of ours."""
    tried: Mapping[str, int] = field(default_factory=dict)
    """Block at which a transaction was last broadcast."""
    underpriced: frozenset[str] = frozenset()
    """Hashes that the node refused for their price."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the outbox is, and what it may pay."""

    rule: PriceRule
    block_time_s: float

    @property
    def stuck_s(self) -> float:
        """Head's time after which a transaction that the node holds is replaced.

        Three blocks: a transaction at the network's price is in the next or the one after, and a
        reveal has hours; sooner would only outbid ourselves.
        """
        return 3 * self.block_time_s

    @property
    def late_s(self) -> float:
        """Head's time past a deadline after which a broadcast transaction counts as too late.

        Of several nodes behind one address the one that shows the contribution may lag.
        """
        return SETTLE_BLOCKS * self.block_time_s


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
