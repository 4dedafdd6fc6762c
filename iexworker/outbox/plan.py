"""Decides what to sign and what to broadcast next; pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from iexworker.outbox import gas
from iexworker.outbox.actions import FREE, ActionKey, ActionState, OutboxEntry, Transaction
from iexworker.outbox.gas import EMPTY_TRANSFER_GAS
from iexworker.outbox.situation import ChainFacts, Policy, by_owner, shown_done
from iexworker.outbox.transaction import gas_limit_of
from iexworker.outbox.verdict import ineffective
from iexworker.poco.models import ActionKind

LONGEST_PAUSE_BLOCKS = 16
"""After a transaction that reverted; the shortest time to reveal is some hundred blocks."""
FIRST_PAUSE_S = 4.0
LONGEST_PAUSE_S = 60.0
"""The same where blocks come irregularly: the first pause, which doubles, and the longest."""
AGAIN_S = 1.0
"""Between two broadcasts of the same bytes where there is no pool."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign a transaction for `nonce`: an action's, or without one an empty transfer."""

    nonce: int
    entry: OutboxEntry | None
    gas_price_wei: int
    gas_limit: int = EMPTY_TRANSFER_GAS
    instead_of: tuple[Transaction, ...] = ()
    """Of the same action, which no node holds: they are never sent again."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Give the node the bytes (again)."""

    transaction: Transaction
    at_cap: bool = False
    """The node holds them; a higher price is not allowed, so that only waiting is left."""


Move = Sign | Broadcast


def moves(
    entries: Sequence[OutboxEntry],
    transactions: Sequence[Transaction],
    facts: ChainFacts,
    policy: Policy,
) -> list[Move]:
    """Return what to sign and to broadcast, in the order in which it has to be done."""
    owned = by_owner(transactions)
    waiting = [entry for entry in entries if ready(entry, owned[entry.action.key], facts)]
    waiting.sort(key=urgency)
    slots: dict[int, list[Transaction]] = defaultdict(list)
    for transaction in transactions:
        if transaction.state in FREE and transaction.nonce >= facts.nonces.latest:
            slots[transaction.nonce].append(transaction)
    board = _Board(alive(entries), waiting, owned, facts, policy)
    floor = max(facts.nonces.pending, facts.nonces.latest)
    planned: list[Move] = []
    for nonce in sorted({*slots, *range(floor, max(slots, default=-1))}):
        planned += board.slot(nonce, slots[nonce]) if nonce in slots else [board.gap(nonce)]
    first_new = max(floor, facts.top_nonce + 1)
    planned += (
        board.sign(nonce, entry, board.price_wei)
        for nonce, entry in enumerate(waiting, start=first_new)
    )
    return planned


def alive(entries: Iterable[OutboxEntry]) -> dict[ActionKey, OutboxEntry]:
    """Return the open actions that somebody still wants."""
    return {
        entry.action.key: entry
        for entry in entries
        if entry.state is ActionState.OPEN and not entry.abandoned
    }


def ready(entry: OutboxEntry, own: Sequence[Transaction], facts: ChainFacts) -> bool:
    """Tell whether an action may take a nonce now.

    All its nonces are spent, no receipt of it is a success, and its contribution is undone.
    """
    action = entry.action
    if entry.state is not ActionState.OPEN or entry.abandoned or action.key in facts.refusals:
        return False
    if any(facts.in_flight(transaction) for transaction in own):
        return False
    if shown_done(action, facts.contributions[action.task_id]):
        return False
    if _pauses(ineffective(own, facts), facts):
        return False
    if action.kind is not ActionKind.REVEAL and action.expired(facts.now_s):
        return False
    return not action.expired(facts.head.timestamp_s)


def _pauses(wasted: Sequence[Transaction], facts: ChainFacts) -> bool:
    """Tell whether it is too soon after transactions that changed nothing.

    What was refused in one block may pass in a later one; longer pauses save gas. Where blocks
    come irregularly the pause is in seconds.
    """
    if not wasted:
        return False
    if not facts.head.has_pool:
        since_s = min(facts.mined_s.get(transaction.tx_hash, math.inf) for transaction in wasted)
        return since_s < min(FIRST_PAUSE_S * 2.0 ** (len(wasted) - 1), LONGEST_PAUSE_S)
    last = max(transaction.block_number or 0 for transaction in wasted)
    return facts.head.number < last + min(1 << len(wasted), LONGEST_PAUSE_BLOCKS)


def urgency(entry: OutboxEntry) -> tuple[bool, int]:
    """Sort reveals first, then by deadline."""
    return entry.action.kind is not ActionKind.REVEAL, entry.action.deadline_s


def limit_for(entry: OutboxEntry, own: Iterable[Transaction], facts: ChainFacts) -> int:
    """Return the gas limit for the next transaction of an action, whose own are the former ones."""
    estimate = facts.estimates.get(entry.action.key)
    return gas.limit(entry.action.gas_limit, estimate, _too_little(own, facts))


def _too_little(own: Iterable[Transaction], facts: ChainFacts) -> list[int]:
    return [gas_limit_of(item.raw) for item in own if facts.short_of_gas(item)]


@dataclass(slots=True)
class _Board:
    """One round of planning: who may send, who still waits for a nonce."""

    alive: Mapping[ActionKey, OutboxEntry]
    waiting: list[OutboxEntry]
    owned: Mapping[ActionKey | None, Sequence[Transaction]]
    facts: ChainFacts
    policy: Policy

    @property
    def price_wei(self) -> int:
        """What a new transaction is sent at."""
        return self.policy.rule.price_wei(self.facts.network_wei, self.facts.head.base_fee_wei)

    def gap(self, nonce: int) -> Move:
        """Plan for a nonce below one of ours that nobody uses: it holds everything above back.

        One that was spent before is free again after a reorganisation, or the node is late: no
        action is risked on it.
        """
        taker = self._taker() if nonce > self.facts.settled_nonce else None
        return self.sign(nonce, taker, self.price_wei)

    def sign(self, nonce: int, entry: OutboxEntry | None, price_wei: int) -> Sign:
        """Return the move that signs an action, or an empty transfer, with gas enough."""
        if entry is None:
            own = [item for item in self.owned.get(None, ()) if item.nonce == nonce]
            limit = gas.limit(EMPTY_TRANSFER_GAS, None, _too_little(own, self.facts))
            return Sign(nonce, None, price_wei, limit)
        limit = limit_for(entry, self.owned.get(entry.action.key, ()), self.facts)
        return Sign(nonce, entry, price_wei, limit)

    def slot(self, nonce: int, rivals: Sequence[Transaction]) -> list[Move]:
        """Plan for a free nonce of ours; the transaction signed last is the one that is meant."""
        meant, facts = rivals[-1], self.facts
        higher_wei = self.policy.rule.replacement_wei(meant.gas_price_wei, self.facts.network_wei)
        if meant.owner is not None and meant.owner not in self.alive:
            held = any(rival.tx_hash in self.facts.known for rival in rivals)
            if held and higher_wei is None:
                return self._again(meant, at_cap=True)
            price_wei = higher_wei or max(self.price_wei, meant.gas_price_wei)
            return [self.sign(nonce, self._taker(), price_wei)]
        if meant.tx_hash in facts.refused_for_gas:
            return self._with_more_gas(meant)
        if not self._stuck(meant):
            return [] if meant.tx_hash in self.facts.known else self._again(meant)
        if higher_wei is None:
            return self._again(meant, at_cap=True)
        return [self.sign(nonce, self.alive[meant.owner] if meant.owner else None, higher_wei)]

    def _with_more_gas(self, refused: Transaction) -> list[Move]:
        """Sign anew at the same nonce, which nothing holds; at the most gas, try the same again.

        Where the contract refuses the action meanwhile, another one takes the nonce.
        """
        entry = self.alive[refused.owner] if refused.owner else None
        if entry is not None and entry.action.key in self.facts.refusals:
            entry = self._taker()
        price_wei = max(self.price_wei, refused.gas_price_wei)
        move = self.sign(refused.nonce, entry, price_wei)
        return [move] if move.gas_limit > gas_limit_of(refused.raw) else self._again(refused)

    def _taker(self) -> OutboxEntry | None:
        return self.waiting.pop(0) if self.waiting else None

    def _stuck(self, transaction: Transaction) -> bool:
        """Tell whether blocks went by since the node took it, by the head's time.

        A node may drop without a word what pays too little, and take it again when asked: so the
        first broadcast counts. After a restart the same bytes go first.
        """
        facts = self.facts
        if transaction.tx_hash in facts.underpriced:
            return not self._just_tried(transaction)
        if transaction.sent_head_s is None:
            return False
        if transaction.tx_hash not in facts.known and transaction.tx_hash not in facts.tried_s:
            return False
        return facts.head.timestamp_s >= transaction.sent_head_s + self.policy.stuck_s

    def _again(self, transaction: Transaction, *, at_cap: bool = False) -> list[Move]:
        if self._just_tried(transaction):
            return []
        return [Broadcast(transaction, at_cap)]

    def _just_tried(self, transaction: Transaction) -> bool:
        """Tell whether the node has answered to these bytes within a block time."""
        return self.facts.tried_s.get(transaction.tx_hash, math.inf) < self.policy.block_time_s
