from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace

import pytest

from iexworker.errors import JournalError
from iexworker.outbox.actions import Action, ActionState, OutboxEntry, Transaction, TransactionState
from iexworker.outbox.ledger import SCHEMA, Ledger
from iexworker.poco.models import ActionKind, ChainReceipt

ACTION = Action("0x01", ActionKind.CONTRIBUTE, b"\1\2", 500_000, 2_000)
SIGNED = Transaction("0xaa", 7, ACTION.key, 10**25, b"\3\4")
EVER = 2**62


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    found = sqlite3.connect(":memory:", isolation_level=None)
    found.executescript(SCHEMA)
    yield found
    found.close()


@pytest.fixture
def ledger(connection: sqlite3.Connection) -> Ledger:
    return Ledger(connection, "134/0xhub/0xgenesis/0xwallet")


def test_an_action_is_kept_as_it_was_given(ledger: Ledger) -> None:
    ledger.add(ACTION)

    assert ledger.entry(ACTION.key) == OutboxEntry(ACTION)
    assert ledger.open_entries() == [OutboxEntry(ACTION)]
    assert ledger.entry(("0x01", ActionKind.REVEAL)) is None


def test_the_two_actions_of_a_task_are_apart(ledger: Ledger) -> None:
    reveal = replace(ACTION, kind=ActionKind.REVEAL)
    ledger.add(ACTION)
    ledger.add(reveal)

    ledger.abandon(reveal.key)

    assert [entry.abandoned for entry in ledger.open_entries()] == [False, True]


def test_an_outcome_is_kept(ledger: Ledger) -> None:
    ledger.add(ACTION)
    done = OutboxEntry(ACTION, ActionState.DONE, receipt=ChainReceipt(5, "0xaa"))
    ledger.close(done)
    assert ledger.entry(ACTION.key) == done
    assert ledger.open_entries() == []

    failed = OutboxEntry(ACTION, ActionState.FAILED, cause="CAUSE", text="why")
    ledger.close(failed)
    assert ledger.entry(ACTION.key) == replace(failed, receipt=None)


def test_an_action_added_again_is_open_again(ledger: Ledger) -> None:
    ledger.add(ACTION)
    ledger.abandon(ACTION.key)
    ledger.close(OutboxEntry(ACTION, ActionState.FAILED, cause="CAUSE", text="why"))

    ledger.add(replace(ACTION, deadline_s=9))

    assert ledger.entry(ACTION.key) == OutboxEntry(replace(ACTION, deadline_s=9))


def test_only_a_done_action_is_reopened(ledger: Ledger) -> None:
    ledger.add(ACTION)
    assert not ledger.reopen(ACTION.key)
    ledger.close(OutboxEntry(ACTION, ActionState.DONE, receipt=ChainReceipt(5, "0xaa")))

    assert ledger.reopen(ACTION.key)
    assert ledger.entry(ACTION.key) == OutboxEntry(ACTION)


def test_a_deadline_can_change(ledger: Ledger) -> None:
    ledger.add(ACTION)

    ledger.set_deadline(replace(ACTION, deadline_s=9))

    assert ledger.open_entries()[0].action.deadline_s == 9


def test_a_transaction_is_kept_with_its_price_and_bytes(ledger: Ledger) -> None:
    ledger.sign(SIGNED)
    ledger.sign(SIGNED)

    assert ledger.transactions(EVER) == [SIGNED]
    assert ledger.in_flight(ACTION.key)
    assert not ledger.in_flight(("0x02", ActionKind.CONTRIBUTE))
    assert ledger.pending() == 1


def test_the_first_broadcast_counts(ledger: Ledger) -> None:
    ledger.sign(SIGNED)
    ledger.sent("0xaa", 100)
    ledger.sent("0xaa", 200)

    (found,) = ledger.transactions(EVER)
    assert (found.state, found.sent_head_s) == (TransactionState.SENT, 100)


def test_transactions_come_by_nonce_then_in_the_order_of_signing(ledger: Ledger) -> None:
    for tx_hash, nonce in (("0xcc", 8), ("0xbb", 7), ("0xaa", 7)):
        ledger.sign(replace(SIGNED, tx_hash=tx_hash, nonce=nonce, owner=None))

    assert [one.tx_hash for one in ledger.transactions(EVER)] == ["0xbb", "0xaa", "0xcc"]


def test_settled_transactions_show_while_they_are_watched(ledger: Ledger) -> None:
    ledger.sign(SIGNED)
    ledger.settle("0xaa", TransactionState.MINED, 50)

    assert ledger.transactions(51) == []
    (found,) = ledger.transactions(50)
    assert (found.state, found.block_number) == (TransactionState.MINED, 50)
    assert ledger.pending() == 0
    assert ledger.newest_block() == 50


def test_settled_transactions_of_an_open_action_show_always(ledger: Ledger) -> None:
    ledger.add(ACTION)
    ledger.sign(SIGNED)
    ledger.settle("0xaa", TransactionState.REVERTED, 50)

    assert [one.state for one in ledger.transactions(EVER)] == [TransactionState.REVERTED]


def test_nonces_are_counted_from_what_was_signed(ledger: Ledger) -> None:
    assert (ledger.top_nonce(), ledger.settled_nonce(), ledger.newest_block()) == (-1, -1, -1)
    ledger.sign(SIGNED)
    ledger.sign(replace(SIGNED, tx_hash="0xbb", nonce=8))
    ledger.settle("0xaa", TransactionState.VOID, None)

    assert (ledger.top_nonce(), ledger.settled_nonce()) == (8, 7)


def test_a_forgotten_task_keeps_what_is_open_and_the_highest_nonce(ledger: Ledger) -> None:
    reveal = replace(ACTION, kind=ActionKind.REVEAL)
    ledger.add(ACTION)
    ledger.add(reveal)
    ledger.sign(SIGNED)
    ledger.settle("0xaa", TransactionState.MINED, 50)
    ledger.close(OutboxEntry(ACTION, ActionState.DONE, receipt=ChainReceipt(50, "0xaa")))

    ledger.forget("0x01")
    assert [entry.action for entry in ledger.open_entries()] == [reveal]
    assert len(ledger.transactions(0)) == 1

    ledger.sign(replace(SIGNED, tx_hash="0xbb", nonce=8, owner=reveal.key))
    ledger.settle("0xbb", TransactionState.MINED, 51)
    ledger.close(OutboxEntry(reveal, ActionState.DONE, receipt=ChainReceipt(51, "0xbb")))
    ledger.forget("0x01")
    assert ledger.open_entries() == []
    assert [one.tx_hash for one in ledger.transactions(0)] == ["0xbb"]


def test_rows_of_another_key_are_left_alone(ledger: Ledger, connection: sqlite3.Connection) -> None:
    other = Ledger(connection, "1/0xhub/0xgenesis/0xwallet")
    other.add(ACTION)
    other.sign(SIGNED)

    assert ledger.open_entries() == []
    assert ledger.transactions(0) == []
    assert ledger.top_nonce() == -1
    ledger.forget("0x01")
    ledger.abandon(ACTION.key)
    ledger.settle("0xaa", TransactionState.VOID, None)
    assert other.open_entries() == [OutboxEntry(ACTION)]
    assert other.transactions(EVER) == [SIGNED]


def test_a_file_that_cannot_be_written_is_a_journal_error(
    ledger: Ledger, connection: sqlite3.Connection
) -> None:
    connection.close()

    with pytest.raises(JournalError, match="journal, transactions"):
        ledger.add(ACTION)
