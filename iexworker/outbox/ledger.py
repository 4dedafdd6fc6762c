"""The outbox's part of the journal: every action asked for, every transaction signed.

Written before anything is sent. The file is the journal's: WAL mode,
`synchronous=FULL`, so a statement has reached the disk when it returns. One connection a thread.
Rows carry the key of chain, contracts and wallet; those of other keys are left alone.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from iexworker.errors import JournalError
from iexworker.outbox.actions import (
    FREE,
    Action,
    ActionKey,
    ActionState,
    OutboxEntry,
    Transaction,
    TransactionState,
)
from iexworker.poco.models import ActionKind, ChainReceipt

SCHEMA = """
CREATE TABLE IF NOT EXISTS actions (
    key TEXT NOT NULL,
    task TEXT NOT NULL,
    kind TEXT NOT NULL,
    calldata BLOB NOT NULL,
    gas_limit INTEGER NOT NULL,
    deadline_s INTEGER NOT NULL,
    state TEXT NOT NULL,
    abandoned INTEGER NOT NULL DEFAULT 0,
    block_number INTEGER,
    tx_hash TEXT,
    cause TEXT,
    text TEXT,
    created_s REAL NOT NULL,
    ended_s REAL,
    PRIMARY KEY (key, task, kind)
) STRICT;
CREATE TABLE IF NOT EXISTS transactions (
    key TEXT NOT NULL,
    tx_hash TEXT NOT NULL,
    nonce INTEGER NOT NULL,
    task TEXT,
    kind TEXT,
    gas_price_wei TEXT NOT NULL,
    raw BLOB NOT NULL,
    state TEXT NOT NULL,
    sent_head_s INTEGER,
    block_number INTEGER,
    signed_s REAL NOT NULL,
    settled_s REAL,
    PRIMARY KEY (key, tx_hash)
) STRICT;
CREATE INDEX IF NOT EXISTS transactions_by_nonce ON transactions (key, nonce);
"""
"""`gas_price_wei` is a text because a price may not fit into 63 bits."""


_ENTRIES = (
    "SELECT task, kind, calldata, gas_limit, deadline_s, state, abandoned, block_number, tx_hash, "
    "cause, text FROM actions WHERE key=? AND "
)
_TRANSACTIONS = (
    "SELECT t.tx_hash, t.nonce, t.task, t.kind, t.gas_price_wei, t.raw, t.state, t.sent_head_s, "
    "t.block_number FROM transactions t LEFT JOIN actions a "
    "ON a.key=t.key AND a.task=t.task AND a.kind=t.kind "
    "WHERE t.key=? AND (t.state IN (?, ?) OR t.block_number>=? OR a.state=?) "
    "ORDER BY t.nonce, t.rowid"
)


class Ledger:
    """Actions and transactions of one key; every method raises `JournalError`."""

    def __init__(self, connection: sqlite3.Connection, key: str) -> None:
        self._connection = connection
        self._key = key

    def add(self, action: Action) -> None:
        """Write an action down as open, over an earlier one of the same task and kind."""
        self._execute(
            "INSERT OR REPLACE INTO actions (key, task, kind, calldata, gas_limit, deadline_s, "
            "state, created_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            self._key,
            action.task_id,
            action.kind.value,
            action.calldata,
            action.gas_limit,
            action.deadline_s,
            ActionState.OPEN.value,
            time.time(),
        )

    def set_deadline(self, action: Action) -> None:
        """Write down a deadline that was not known, or was another, when the action was added."""
        self._execute(
            "UPDATE actions SET deadline_s=? WHERE key=? AND task=? AND kind=?",
            action.deadline_s,
            self._key,
            action.task_id,
            action.kind.value,
        )

    def entry(self, key: ActionKey) -> OutboxEntry | None:
        """Return an action, None when it was never asked for."""
        found = self._entries("task=? AND kind=?", key[0], key[1].value)
        return found[0] if found else None

    def open_entries(self) -> list[OutboxEntry]:
        """Return the actions that are not yet done or failed, oldest first."""
        return self._entries("state=?", ActionState.OPEN.value)

    def close(self, entry: OutboxEntry) -> None:
        """Write the outcome of an action down."""
        receipt = entry.receipt
        self._execute(
            "UPDATE actions SET state=?, block_number=?, tx_hash=?, cause=?, text=?, ended_s=? "
            "WHERE key=? AND task=? AND kind=?",
            entry.state.value,
            receipt and receipt.block_number,
            receipt and receipt.tx_hash,
            entry.cause,
            entry.text,
            time.time(),
            self._key,
            entry.action.task_id,
            entry.action.kind.value,
        )

    def reopen(self, key: ActionKey) -> bool:
        """Take back that an action is done, and tell whether it was.

        Its block is no longer part of the chain.
        """
        changed = self._execute(
            "UPDATE actions SET state=?, block_number=NULL, tx_hash=NULL, ended_s=NULL "
            "WHERE key=? AND task=? AND kind=? AND state=?",
            ActionState.OPEN.value,
            self._key,
            key[0],
            key[1].value,
            ActionState.DONE.value,
        )
        return changed.rowcount > 0

    def in_flight(self, key: ActionKey) -> bool:
        """Tell whether a transaction of the action may still be mined."""
        found = self._execute(
            "SELECT 1 FROM transactions WHERE key=? AND task=? AND kind=? AND state IN (?, ?)",
            self._key,
            key[0],
            key[1].value,
            *(state.value for state in FREE),
        )
        return found.fetchone() is not None

    def abandon(self, key: ActionKey) -> None:
        """Mark an action as no longer wanted."""
        self._execute(
            "UPDATE actions SET abandoned=1 WHERE key=? AND task=? AND kind=?",
            self._key,
            key[0],
            key[1].value,
        )

    def sign(self, transaction: Transaction) -> None:
        """Write a signed transaction down, before anybody sees it."""
        task, kind = transaction.owner or (None, None)
        self._execute(
            "INSERT OR IGNORE INTO transactions (key, tx_hash, nonce, task, kind, gas_price_wei, "
            "raw, state, signed_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self._key,
            transaction.tx_hash,
            transaction.nonce,
            task,
            kind and kind.value,
            str(transaction.gas_price_wei),
            transaction.raw,
            TransactionState.SIGNED.value,
            time.time(),
        )

    def sent(self, tx_hash: str, head_s: int) -> None:
        """Write down that the node took a transaction; the first time counts."""
        self._execute(
            "UPDATE transactions SET state=?, sent_head_s=coalesce(sent_head_s, ?) "
            "WHERE key=? AND tx_hash=?",
            TransactionState.SENT.value,
            head_s,
            self._key,
            tx_hash,
        )

    def pending(self) -> int:
        """Count the transactions that may still be mined, empty transfers too."""
        found = self._execute(
            "SELECT count(*) FROM transactions WHERE key=? AND state IN (?, ?)",
            self._key,
            *(state.value for state in FREE),
        )
        return int(found.fetchone()[0])

    def settle(self, tx_hash: str, state: TransactionState, block_number: int | None) -> None:
        """Write down what became of a transaction, or that it is free again after all."""
        self._execute(
            "UPDATE transactions SET state=?, block_number=?, settled_s=? "
            "WHERE key=? AND tx_hash=?",
            state.value,
            block_number,
            None if state in FREE else time.time(),
            self._key,
            tx_hash,
        )

    def transactions(self, since_block: int) -> list[Transaction]:
        """Return what matters still, by nonce, then in the order of signing.

        That is: the transactions that may be mined, those mined in `since_block` or later, and
        all those of open actions.
        """
        rows = self._execute(
            _TRANSACTIONS,
            self._key,
            *(state.value for state in FREE),
            since_block,
            ActionState.OPEN.value,
        ).fetchall()
        return [_transaction(row) for row in rows]

    def top_nonce(self) -> int:
        """Return the highest nonce ever signed with, -1 when there is none."""
        return self._highest("SELECT max(nonce) FROM transactions WHERE key=?")

    def settled_nonce(self) -> int:
        """Return the highest nonce that is known to be spent, -1 when there is none."""
        return self._highest(
            "SELECT max(nonce) FROM transactions WHERE key=? AND state NOT IN (?, ?)",
            *(state.value for state in FREE),
        )

    def newest_block(self) -> int:
        """Return the highest block that a transaction of ours is in, -1 when there is none."""
        return self._highest("SELECT max(block_number) FROM transactions WHERE key=?")

    def forget(self, task_id: str) -> None:
        """Drop the closed actions of a task and what was sent for them.

        The transaction with the highest nonce stays: the next nonce is counted from it.
        """
        self._execute(
            "DELETE FROM actions WHERE key=? AND task=? AND state<>?",
            self._key,
            task_id,
            ActionState.OPEN.value,
        )
        self._execute(
            "DELETE FROM transactions WHERE key=?1 AND task=?2 AND state NOT IN (?3, ?4) "
            "AND nonce<(SELECT max(nonce) FROM transactions WHERE key=?1) "
            "AND NOT EXISTS (SELECT 1 FROM actions WHERE key=?1 AND task=?2)",
            self._key,
            task_id,
            *(state.value for state in FREE),
        )

    def _highest(self, statement: str, *values: object) -> int:
        (nonce,) = self._execute(statement, self._key, *values).fetchone()
        return -1 if nonce is None else int(nonce)

    def _entries(self, condition: str, *values: object) -> list[OutboxEntry]:
        rows = self._execute(_ENTRIES + condition, self._key, *values).fetchall()
        return [_entry(row) for row in rows]

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise JournalError(f"journal, transactions: {error}") from error


def _entry(row: tuple[Any, ...]) -> OutboxEntry:
    task, kind, calldata, gas_limit, deadline_s, state, abandoned, block, tx_hash, cause, text = row
    return OutboxEntry(
        Action(task, ActionKind(kind), calldata, gas_limit, deadline_s),
        ActionState(state),
        bool(abandoned),
        None if block is None else ChainReceipt(block, tx_hash),
        cause or "",
        text or "",
    )


def _transaction(row: tuple[Any, ...]) -> Transaction:
    tx_hash, nonce, task, kind, gas_price_wei, raw, state, sent_head_s, block = row
    return Transaction(
        tx_hash,
        nonce,
        None if task is None else (task, ActionKind(kind)),
        int(gas_price_wei),
        raw,
        TransactionState(state),
        sent_head_s,
        block,
    )
