"""Decides what to sign and what to broadcast where no pool of transactions exists; pure.

A sequencer takes a transaction or refuses it, at once (docs/spec/11, 1.5). What it refused it does
not hold: its nonce is free for any action, so that one action's trouble holds up no other. What it
took it orders: no price replaces that. So nothing is outbid, and no gap is filled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from iexworker.outbox.actions import FREE, ActionKey, OutboxEntry, Transaction, TransactionState
from iexworker.outbox.evidence import BroadcastAnswer
from iexworker.outbox.plan import (
    AGAIN_S,
    Broadcast,
    Move,
    Sign,
    alive,
    limit_for,
    ready,
    urgency,
)
from iexworker.outbox.situation import ChainFacts, Policy, by_owner
from iexworker.outbox.transaction import gas_limit_of
from iexworker.outbox.verdict import Fate
from iexworker.poco.models import ActionKind

ABORTED_S = 30.0
"""A sequencer gives up what it has not ordered after 24 s."""

_Owned = Mapping[ActionKey | None, Sequence[Transaction]]


def moves(
    entries: Sequence[OutboxEntry],
    transactions: Sequence[Transaction],
    facts: ChainFacts,
    policy: Policy,
) -> list[Move]:
    """Return what to broadcast again and what to sign, in the order of the nonces."""
    owned = by_owner(transactions)
    wanted = alive(entries)
    uncertain = sorted(
        (item for item in transactions if item.owner in wanted and _may_be_mined(item, facts)),
        key=lambda item: item.nonce,
    )
    planned: list[Move] = [Broadcast(item) for item in uncertain if _is_due(item, facts)]
    nonce = max([facts.nonces.latest, *(item.nonce + 1 for item in uncertain)])
    waiting = [entry for entry in entries if ready(entry, owned[entry.action.key], facts)]
    for entry in sorted(waiting, key=lambda entry: _turn(entry, owned, facts)):
        move = _next(entry, nonce, owned[entry.action.key], facts, policy)
        if move is not None:
            planned.append(move)
            nonce += 1
    return planned


def dropped(
    entries: Sequence[OutboxEntry], transactions: Sequence[Transaction], facts: ChainFacts
) -> Iterator[Fate]:
    """Yield the transactions that nobody wants and that no node holds, or can still be holding."""
    wanted = alive(entries)
    for item in transactions:
        if item.state not in FREE or item.owner in wanted:
            continue
        if item.tx_hash in facts.unheld or facts.ownerless_s.get(item.tx_hash, 0) >= ABORTED_S:
            yield Fate(item.tx_hash, TransactionState.VOID)


def _may_be_mined(transaction: Transaction, facts: ChainFacts) -> bool:
    return facts.in_flight(transaction) and transaction.nonce >= facts.nonces.latest


def _is_due(transaction: Transaction, facts: ChainFacts) -> bool:
    """Tell whether the same bytes may be tried again; a restart counts as long ago."""
    return facts.tried_s.get(transaction.tx_hash, math.inf) >= AGAIN_S


def _turn(entry: OutboxEntry, owned: _Owned, facts: ChainFacts) -> tuple[bool, bool, int]:
    """Sort what was refused within the last second behind the rest, then by urgency.

    The action with the lowest nonce goes first, and the others only after its answer.
    """
    held_up = any(
        facts.unheld[item.tx_hash] is not BroadcastAnswer.NONCE_AHEAD and not _is_due(item, facts)
        for item in owned[entry.action.key]
        if item.tx_hash in facts.unheld
    )
    return held_up, *urgency(entry)


def _price_wei(entry: OutboxEntry, facts: ChainFacts, policy: Policy) -> int:
    """Return the price; a reveal may pass the cap, by twice the base fee, where that is allowed."""
    base_fee_wei = facts.head.base_fee_wei
    price_wei = policy.rule.price_wei(facts.network_wei, base_fee_wei)
    if policy.rule.reveal_may_pass_cap and entry.action.kind is ActionKind.REVEAL:
        return max(price_wei, 2 * (base_fee_wei or 0))
    return price_wei


def _next(
    entry: OutboxEntry,
    nonce: int,
    own: Sequence[Transaction],
    facts: ChainFacts,
    policy: Policy,
) -> Move | None:
    """Return how an action takes a nonce; None while it would only be refused as before."""
    price_wei = _price_wei(entry, facts, policy)
    limit = limit_for(entry, own, facts)
    refused = tuple(item for item in own if item.state in FREE)
    for item in refused:
        better = price_wei > item.gas_price_wei or limit > gas_limit_of(item.raw)
        out_of_turn = facts.unheld[item.tx_hash] is BroadcastAnswer.NONCE_AHEAD
        if not (better or out_of_turn or _is_due(item, facts)):
            return None
        if item.nonce == nonce and not better:
            return Broadcast(item) if _is_due(item, facts) else None
    return Sign(nonce, entry, price_wei, limit, refused)
