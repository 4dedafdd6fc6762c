"""What the log tells of transactions: trouble in the same words and once, the usual at DEBUG.

That a contribution or a reveal took effect is told by the task's own log (scheduling/task_log.py).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from iexworker.outbox.actions import (
    ActionKey,
    ActionState,
    OutboxEntry,
    Transaction,
    TransactionState,
)
from iexworker.outbox.evidence import BroadcastAnswer
from iexworker.outbox.verdict import Fate

log = logging.getLogger(__name__)

_REFUSED: Mapping[BroadcastAnswer, str] = {
    BroadcastAnswer.NONCE_SPENT: "transaction refused: its nonce is spent; looking at what took it",
    BroadcastAnswer.NONCE_AHEAD: (
        "transaction refused: one before it is not mined; that one goes first"
    ),
    BroadcastAnswer.UNDERPRICED: "transaction refused: its price is too low",
    BroadcastAnswer.POOR: (
        "transaction refused: the wallet cannot pay for it; send it some gas money"
    ),
    BroadcastAnswer.SHORT_OF_GAS: (
        "transaction refused: its gas limit is too low; it is signed again with more"
    ),
    BroadcastAnswer.REFUSED: "transaction refused by the node",
}

_TROUBLES: Mapping[TransactionState, str] = {
    TransactionState.SENT: "transaction no longer mined: the chain was reorganised",
    TransactionState.REVERTED: "transaction mined and reverted: the contract refused it",
    TransactionState.VOID: "transaction void: one that the journal does not know took its nonce",
}


class EventLog:
    """Logs what happens to transactions, each situation once."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def keep_only(self, subjects: Collection[str]) -> None:
        """Forget what was said about anything but these hashes and tasks."""
        self._said = {item for item in self._said if item[0] in subjects}

    def wanted(self, key: ActionKey) -> None:
        """Tell that an action is journalled."""
        log.debug("transaction wanted", extra=_named(key))

    def signed(self, transaction: Transaction) -> None:
        """Tell that bytes are journalled."""
        log.debug("transaction signed", extra=_facts(transaction))

    def unanswered(self, transaction: Transaction, error: str) -> None:
        """Tell that the node did not say whether it has the bytes."""
        self._once(
            transaction.tx_hash,
            "transaction perhaps not sent: no answer, the same bytes follow",
            {**_facts(transaction), "error": error},
        )

    def refused(self, transaction: Transaction, answer: BroadcastAnswer, error: str) -> None:
        """Tell that the node did not take the bytes."""
        self._once(transaction.tx_hash, _REFUSED[answer], {**_facts(transaction), "error": error})

    def at_cap(self, transaction: Transaction) -> None:
        """Tell that a transaction waits and may not cost more."""
        self._once(
            transaction.tx_hash,
            "transaction waits: it is at the highest price allowed (IEXEC_GAS_PRICE_CAP)",
            _facts(transaction),
        )

    def would_revert(self, entry: OutboxEntry, error: str) -> None:
        """Tell that an action is not signed, because its contract would refuse it."""
        self._once(
            entry.action.task_id,
            "transaction not signed: the contract would refuse it now",
            {**_named(entry.action.key), "error": error},
        )

    def fate(self, transaction: Transaction, fate: Fate) -> None:
        """Tell what became of a transaction."""
        extra = {**_facts(transaction), "block": fate.block_number}
        if fate.state is TransactionState.MINED:
            log.debug("transaction mined", extra=extra)
        elif fate.state is TransactionState.VOID and not fate.foreign:
            log.debug("transaction void: another one of ours serves instead", extra=extra)
        else:
            log.warning(_TROUBLES[fate.state], extra=extra)

    def closed(self, entry: OutboxEntry) -> None:
        """Tell how an action ended."""
        named = _named(entry.action.key)
        if entry.state is ActionState.FAILED:
            extra = {**named, "cause": entry.cause, "reason": entry.text}
            log.error("transaction given up", extra=extra)
            return
        block = entry.receipt.block_number if entry.receipt else None
        log.debug("transaction took effect", extra={**named, "block": block})

    def _once(self, subject: str, event: str, extra: Mapping[str, object]) -> None:
        if (subject, event) not in self._said:
            self._said.add((subject, event))
            log.warning(event, extra=extra)


def _facts(transaction: Transaction) -> dict[str, object]:
    return {
        **_named(transaction.owner),
        "hash": transaction.tx_hash,
        "nonce": transaction.nonce,
        "price_wei": transaction.gas_price_wei,
    }


def _named(key: ActionKey | None) -> dict[str, object]:
    if key is None:
        return {"action": "empty transfer"}
    return {"task": key[0], "action": key[1].value}
