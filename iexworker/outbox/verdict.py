"""Judges what became of actions and transactions; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from iexworker.outbox.actions import FREE, Action, OutboxEntry, Transaction, TransactionState
from iexworker.outbox.situation import ChainFacts, Policy, shown_done
from iexworker.poco import receipts
from iexworker.poco.models import ActionKind, ChainReceipt, Contribution, ContributionStatus

MAX_ATTEMPTS = 3
"""Contributions mined without effect before the action is given up; a reveal never is so."""
MAX_ATTEMPTS_FOR_GAS = 6
"""The same for those that ran out of gas: the limit has grown eightfold by then."""


@dataclass(frozen=True, slots=True)
class Done:
    """The action took effect; without `receipt` only the contribution shows it."""

    receipt: ChainReceipt | None
    gas_used: int | None = field(default=None, compare=False)
    cost_wei: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Over:
    """The action is undone and cannot be done any more."""

    cause: str
    text: str


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a transaction."""

    tx_hash: str
    state: TransactionState
    block_number: int | None = None
    foreign: bool = False
    """Of a void one: no transaction of ours took its nonce."""


def fates(transactions: Sequence[Transaction], facts: ChainFacts, policy: Policy) -> Iterator[Fate]:
    """Yield what became of transactions: settled ones, and mined ones that are free again."""
    nonces_mined = {
        transaction.nonce for transaction in transactions if transaction.tx_hash in facts.receipts
    }
    for transaction in transactions:
        receipt = facts.receipts.get(transaction.tx_hash)
        if receipt is not None:
            state = TransactionState.MINED if receipt.success else TransactionState.REVERTED
            if transaction.state is not state:
                yield Fate(transaction.tx_hash, state, receipt.block_number)
        elif transaction.state is TransactionState.VOID:
            continue
        elif transaction.nonce in nonces_mined:
            yield Fate(transaction.tx_hash, TransactionState.VOID)
        elif _spent_by_others(transaction, facts, policy):
            yield Fate(transaction.tx_hash, TransactionState.VOID, foreign=True)
        elif transaction.state not in FREE and transaction.nonce >= facts.nonces.latest:
            yield Fate(transaction.tx_hash, TransactionState.SENT)


def _spent_by_others(transaction: Transaction, facts: ChainFacts, policy: Policy) -> bool:
    if transaction.nonce >= facts.nonces.latest:
        return False
    return facts.spent_s.get(transaction.nonce, 0.0) >= policy.settle_s


def verdict(
    entry: OutboxEntry, own: Sequence[Transaction], facts: ChainFacts, policy: Policy
) -> Done | Over | None:
    """Judge an open action by its transactions; None: it is not decided yet.

    A failure is only reported when the contribution, read after nonces and receipts, shows the
    action undone and no transaction of ours can do it any more.
    """
    action, contribution = entry.action, facts.contributions[entry.action.task_id]
    in_flight = [transaction for transaction in own if facts.in_flight(transaction)]
    proof = _proof(action, own, facts)
    if proof is not None and not _contradicted(action, contribution):
        return proof
    late = action.expired(facts.head.timestamp_s - (policy.settle_s if in_flight else 0))
    if shown_done(action, contribution):
        # What the node holds is most likely what did it: its receipt comes with the next pass.
        held = any(_holds(transaction, facts, policy) for transaction in in_flight)
        return None if held and not late else Done(None)
    if late:
        return Over(_too_late(action.kind), "its deadline has passed by the time of the chain")
    return None if in_flight else _unsent(entry, own, facts, policy)


def _holds(transaction: Transaction, facts: ChainFacts, policy: Policy) -> bool:
    """Tell whether the node has the transaction; without a pool: whether it got it lately."""
    if facts.head.has_pool:
        return transaction.tx_hash in facts.known
    return facts.tried_s.get(transaction.tx_hash, math.inf) < policy.settle_s


def _contradicted(action: Action, contribution: Contribution) -> bool:
    """Tell whether another result is contributed, by an earlier action of the task for one."""
    return (
        action.kind is ActionKind.CONTRIBUTE
        and contribution.status is not ContributionStatus.UNSET
        and not shown_done(action, contribution)
    )


def _proof(action: Action, own: Iterable[Transaction], facts: ChainFacts) -> Done | None:
    for transaction in own:
        receipt = facts.receipts.get(transaction.tx_hash)
        if receipt is not None:
            proof = receipts.confirmation(
                receipt, action.kind, action.task_id, facts.wallet, facts.head.number
            )
            if proof is not None:
                return Done(proof, receipt.gas_used, receipt.cost_wei)
    return None


def _unsent(
    entry: OutboxEntry, own: Sequence[Transaction], facts: ChainFacts, policy: Policy
) -> Over | None:
    """Judge an action of which no transaction can be mined now."""
    action = entry.action
    if entry.abandoned:
        return Over("CHAIN_RECEIPT_NOT_VALID", "it is no longer wanted and nothing of it was mined")
    if action.kind is ActionKind.REVEAL:
        return None
    if _contradicted(action, facts.contributions[action.task_id]):
        return Over("CONTRIBUTION_ALREADY_SET", "this wallet has contributed another result")
    if action.expired(facts.now_s):
        return Over(_too_late(action.kind), "its deadline has passed by the clock of this machine")
    refusal = facts.refusals.get(action.key, "no event of ours in the receipt")
    if sum(map(facts.ran_out_of_gas, own)) >= MAX_ATTEMPTS_FOR_GAS:
        return Over("CHAIN_RECEIPT_NOT_VALID", f"out of gas, {MAX_ATTEMPTS_FOR_GAS} times")
    if len(ineffective(own, facts)) >= MAX_ATTEMPTS:
        return Over(
            "CHAIN_RECEIPT_NOT_VALID", f"mined without effect, {MAX_ATTEMPTS} times: {refusal}"
        )
    if facts.refused_s.get(action.key, 0.0) >= policy.refused_s:
        return Over("CHAIN_RECEIPT_NOT_VALID", f"the contract refuses it: {refusal}")
    return None


def _too_late(kind: ActionKind) -> str:
    return "CANNOT_REVEAL" if kind is ActionKind.REVEAL else "CONTRIBUTION_TIMEOUT"


def ineffective(own: Iterable[Transaction], facts: ChainFacts) -> list[Transaction]:
    """Return the transactions that are in a block and changed nothing that counts.

    Those that ran out of gas tell nothing of the call: they are signed anew with more.
    """
    mined = (TransactionState.MINED, TransactionState.REVERTED)
    return [item for item in own if item.state in mined and not facts.ran_out_of_gas(item)]
