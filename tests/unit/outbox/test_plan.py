from __future__ import annotations

from dataclasses import replace

import pytest

from iexworker.outbox import plan, verdict
from iexworker.outbox.actions import ActionState, OutboxEntry, Transaction, TransactionState
from iexworker.outbox.gas import EMPTY_TRANSFER_GAS, PriceRule
from iexworker.outbox.plan import Broadcast, Sign
from iexworker.outbox.situation import ChainFacts, Policy
from iexworker.poco import receipts
from iexworker.poco.models import ChainReceipt, ContributionStatus, Head, Log, Nonces, Receipt
from tests.helpers.fake_chain import WALLET, contribute, reveal, task
from tests.helpers.fake_gateway import UNSET

NOW_S = 1_000
DEADLINE_S = 2_000
POLICY = Policy(PriceRule(1.0, 1_000), block_time_s=5.0)
ONE = OutboxEntry(contribute(task(1), DEADLINE_S))
TWO = OutboxEntry(contribute(task(2), DEADLINE_S + 1))
REVEAL = OutboxEntry(reveal(task(3), DEADLINE_S + 2))
SENT = Transaction(
    "0xaa", 7, ONE.action.key, 100, b"bytes", TransactionState.SENT, sent_head_s=NOW_S
)
MADE = replace(
    UNSET,
    status=ContributionStatus.CONTRIBUTED,
    result_hash="0x" + ONE.action.calldata[36:68].hex(),
)
FACTS = ChainFacts(
    wallet=WALLET.address,
    now_s=NOW_S,
    head=Head(50, NOW_S),
    nonces=Nonces(7, 7),
    network_wei=100,
    receipts={},
    known=frozenset(),
    contributions={task(number): UNSET for number in range(1, 4)},
    top_nonce=6,
    settled_nonce=6,
)
FLYING = replace(FACTS, nonces=Nonces(7, 8), top_nonce=7, known=frozenset({"0xaa"}))


def planned(
    facts: ChainFacts, *entries: OutboxEntry, sent: tuple[Transaction, ...] = ()
) -> list[plan.Move]:
    return plan.moves(entries, sent, facts, POLICY)


def sign(nonce: int, entry: OutboxEntry | None, gas_price_wei: int) -> Sign:
    """Return the move that signs with upstream's gas limit: these facts hold no estimate."""
    limit = EMPTY_TRANSFER_GAS if entry is None else entry.action.gas_limit
    return Sign(nonce, entry, gas_price_wei, limit)


def test_new_nonces_follow_the_greater_of_pending_count_and_journal() -> None:
    assert planned(FACTS, ONE) == [sign(7, ONE, 100)]
    assert planned(replace(FACTS, nonces=Nonces(7, 9)), ONE) == [sign(9, ONE, 100)]
    assert planned(replace(FACTS, top_nonce=10), ONE) == [sign(11, ONE, 100)]
    assert planned(replace(FACTS, nonces=Nonces(12, 7)), ONE) == [sign(12, ONE, 100)]


def test_reveals_come_first_then_the_earlier_deadline() -> None:
    assert planned(FACTS, TWO, ONE, REVEAL) == [
        sign(7, REVEAL, 100),
        sign(8, ONE, 100),
        sign(9, TWO, 100),
    ]


@pytest.mark.parametrize(
    "entry",
    [
        replace(ONE, state=ActionState.DONE),
        replace(ONE, abandoned=True),
    ],
)
def test_what_is_closed_or_unwanted_is_not_signed(entry: OutboxEntry) -> None:
    assert planned(FACTS, entry) == []


def test_what_is_done_or_would_be_refused_is_not_signed() -> None:
    made = replace(FACTS, contributions={task(1): MADE})
    refused = replace(FACTS, refusals={ONE.action.key: "no"})

    assert planned(made, ONE) == []
    assert planned(refused, ONE) == []


def test_a_contribution_is_not_begun_past_its_deadline_by_either_clock() -> None:
    assert planned(replace(FACTS, now_s=DEADLINE_S), ONE) == []
    assert planned(replace(FACTS, head=Head(50, DEADLINE_S)), ONE) == []


def test_a_reveal_is_begun_until_the_head_is_past_its_deadline() -> None:
    late = DEADLINE_S + 2

    assert planned(replace(FACTS, now_s=late), REVEAL) == [sign(7, REVEAL, 100)]
    assert planned(replace(FACTS, head=Head(50, late)), REVEAL) == []


def test_after_each_revert_the_pause_grows() -> None:
    reverted = replace(SENT, nonce=6, state=TransactionState.REVERTED, block_number=49)
    again = replace(reverted, tx_hash="0xbb", nonce=5)

    assert planned(FACTS, ONE, sent=(reverted,)) == []
    assert planned(replace(FACTS, head=Head(51, NOW_S)), ONE, sent=(reverted,)) != []
    assert planned(replace(FACTS, head=Head(52, NOW_S)), ONE, sent=(reverted, again)) == []
    assert planned(replace(FACTS, head=Head(53, NOW_S)), ONE, sent=(reverted, again)) != []


def test_the_pause_after_reverts_has_an_end() -> None:
    wasted = tuple(
        replace(
            SENT,
            tx_hash=f"0x{nonce}",
            nonce=nonce,
            owner=REVEAL.action.key,
            state=TransactionState.REVERTED,
            block_number=49,
        )
        for nonce in range(7)
    )

    assert planned(replace(FACTS, head=Head(64, NOW_S)), REVEAL, sent=wasted) == []
    assert planned(replace(FACTS, head=Head(65, NOW_S)), REVEAL, sent=wasted) != []


def test_what_the_node_holds_is_left_alone() -> None:
    assert planned(FLYING, ONE, sent=(SENT,)) == []


def test_what_the_node_does_not_know_is_broadcast_again_once_a_block_time() -> None:
    unknown = replace(FLYING, known=frozenset())

    assert planned(unknown, ONE, sent=(SENT,)) == [Broadcast(SENT)]
    assert planned(replace(unknown, tried_s={"0xaa": 4.9}), ONE, sent=(SENT,)) == []
    assert planned(replace(unknown, tried_s={"0xaa": 5.0}), ONE, sent=(SENT,)) == [Broadcast(SENT)]


def test_three_block_times_by_the_head_make_it_stuck() -> None:
    early, stuck = (replace(FLYING, head=Head(53, NOW_S + wait)) for wait in (14, 15))

    assert planned(early, ONE, sent=(SENT,)) == []
    assert planned(stuck, ONE, sent=(SENT,)) == [sign(7, ONE, 113)]


def test_after_a_restart_the_same_bytes_go_before_a_higher_price() -> None:
    gone = replace(FLYING, known=frozenset(), head=Head(90, NOW_S + 200))
    taken = replace(gone, tried_s={"0xaa": 9.0})

    assert planned(gone, ONE, sent=(SENT,)) == [Broadcast(SENT)]
    assert planned(taken, ONE, sent=(SENT,)) == [sign(7, ONE, 113)]


def test_what_the_node_finds_too_cheap_is_raised_once_a_block_time() -> None:
    cheap = replace(FLYING, known=frozenset(), underpriced=frozenset({"0xaa"}))

    assert planned(replace(cheap, tried_s={"0xaa": 1.0}), ONE, sent=(SENT,)) == []
    assert planned(replace(cheap, tried_s={"0xaa": 5.0}), ONE, sent=(SENT,)) == [sign(7, ONE, 113)]


def test_at_the_cap_the_same_bytes_go_again() -> None:
    dear = replace(SENT, gas_price_wei=900)
    stuck = replace(FLYING, head=Head(53, NOW_S + 15))

    assert planned(stuck, ONE, sent=(dear,)) == [Broadcast(dear, at_cap=True)]


def test_a_void_nonce_goes_to_the_most_urgent_action_at_a_higher_price() -> None:
    assert planned(FLYING, TWO, REVEAL, sent=(SENT,)) == [sign(7, REVEAL, 113), sign(8, TWO, 100)]


def test_a_void_nonce_that_nobody_wants_gets_an_empty_transfer() -> None:
    assert planned(FLYING, sent=(SENT,)) == [sign(7, None, 113)]


def test_at_the_cap_a_void_nonce_is_only_taken_when_the_node_does_not_know_it() -> None:
    dear = replace(SENT, gas_price_wei=1_000)
    unknown = replace(FLYING, known=frozenset())

    assert planned(FLYING, TWO, sent=(dear,)) == [
        Broadcast(dear, at_cap=True),
        sign(8, TWO, 100),
    ]
    assert planned(unknown, TWO, sent=(dear,)) == [sign(7, TWO, 1_000)]


def test_an_empty_transfer_is_followed_up_like_any_other() -> None:
    filler = replace(SENT, owner=None)
    stuck = replace(FLYING, head=Head(53, NOW_S + 15))

    assert planned(FLYING, sent=(filler,)) == []
    assert planned(stuck, sent=(filler,)) == [sign(7, None, 113)]


def test_the_transaction_signed_last_is_the_one_that_is_meant() -> None:
    void = replace(SENT, tx_hash="0xbb", owner=TWO.action.key)

    assert planned(FLYING, ONE, sent=(void, SENT)) == []


def test_a_gap_below_ours_is_given_to_an_action_or_filled() -> None:
    above = replace(SENT, nonce=8)
    facts = replace(FACTS, top_nonce=8, known=frozenset({"0xaa"}))

    assert planned(facts, ONE, sent=(above,)) == [sign(7, None, 100)]
    assert planned(facts, ONE, TWO, sent=(above,)) == [sign(7, TWO, 100)]


def test_no_action_is_risked_on_a_nonce_that_was_spent_before() -> None:
    above = replace(SENT, nonce=8)
    facts = replace(FACTS, top_nonce=8, settled_nonce=7, known=frozenset({"0xaa"}))

    assert planned(facts, ONE, TWO, sent=(above,)) == [sign(7, None, 100), sign(9, TWO, 100)]


def test_a_spent_nonce_is_not_touched() -> None:
    spent = replace(FACTS, nonces=Nonces(8, 8), top_nonce=7)

    assert planned(spent, ONE, sent=(SENT,)) == []


def fates(facts: ChainFacts, *transactions: Transaction) -> list[verdict.Fate]:
    return list(verdict.fates(transactions, facts, POLICY))


def mined(tx_hash: str, *, success: bool = True) -> Receipt:
    return Receipt(tx_hash, success, 49, 21_000, ())


def test_a_receipt_settles_a_transaction_and_voids_its_rivals() -> None:
    rival = replace(SENT, tx_hash="0xbb")
    facts = replace(FACTS, receipts={"0xaa": mined("0xaa")})

    assert fates(facts, rival, SENT) == [
        verdict.Fate("0xbb", TransactionState.VOID),
        verdict.Fate("0xaa", TransactionState.MINED, 49),
    ]


def test_a_settled_transaction_has_no_further_fate() -> None:
    settled = replace(SENT, state=TransactionState.MINED)
    void = replace(SENT, tx_hash="0xbb", state=TransactionState.VOID)
    facts = replace(FACTS, receipts={"0xaa": mined("0xaa")})

    assert fates(facts, settled, void) == []


def test_a_mined_transaction_that_reverts_on_the_new_branch_is_reverted() -> None:
    settled = replace(SENT, state=TransactionState.MINED)
    facts = replace(FACTS, receipts={"0xaa": mined("0xaa", success=False)})

    assert fates(facts, settled) == [verdict.Fate("0xaa", TransactionState.REVERTED, 49)]


def test_a_nonce_spent_without_our_receipt_is_believed_after_two_block_times() -> None:
    spent = replace(FACTS, nonces=Nonces(8, 8))

    assert fates(spent, SENT) == []
    assert fates(replace(spent, spent_s={7: 9.9}), SENT) == []
    assert fates(replace(spent, spent_s={7: 10.0}), SENT) == [
        verdict.Fate("0xaa", TransactionState.VOID, foreign=True)
    ]


def judged(
    entry: OutboxEntry, facts: ChainFacts, *own: Transaction
) -> verdict.Done | verdict.Over | None:
    return verdict.verdict(entry, own, facts, POLICY)


def test_a_broadcast_action_is_given_two_block_times_past_its_deadline() -> None:
    early, late = (replace(FLYING, head=Head(50, DEADLINE_S + wait)) for wait in (9, 10))

    assert judged(ONE, early, SENT) is None
    assert isinstance(judged(ONE, late, SENT), verdict.Over)
    assert isinstance(judged(ONE, early), verdict.Over), "nothing of it is in flight"


def test_an_effect_counts_past_the_deadline_whatever_is_in_flight() -> None:
    facts = replace(FLYING, contributions={task(1): MADE})
    late = replace(facts, head=Head(50, DEADLINE_S + 10))

    assert judged(ONE, facts, SENT) is None, "its receipt comes with the next pass"
    assert judged(ONE, late, SENT) == verdict.Done(None)
    assert judged(ONE, replace(facts, known=frozenset()), SENT) == verdict.Done(None)


def test_a_contribution_of_another_result_is_no_effect() -> None:
    other = replace(MADE, result_hash="0x" + "99" * 32)
    over = judged(ONE, replace(FACTS, contributions={task(1): other}))

    assert isinstance(over, verdict.Over)
    assert over.cause == "CONTRIBUTION_ALREADY_SET"


def test_an_abandoned_action_is_judged_once_nothing_of_it_can_be_mined() -> None:
    abandoned = replace(ONE, abandoned=True)

    assert judged(abandoned, FLYING, SENT) is None
    assert isinstance(judged(abandoned, FACTS), verdict.Over)


def test_a_refusal_has_to_last_as_long_as_a_reorganisation_may() -> None:
    refused = replace(FACTS, refusals={ONE.action.key: "no stake"})
    key = ONE.action.key

    assert judged(ONE, replace(refused, refused_s={key: 59.9})) is None
    over = judged(ONE, replace(refused, refused_s={key: 60.0}))
    assert isinstance(over, verdict.Over)
    assert over.text.endswith("no stake")


def test_three_blocks_without_effect_end_a_contribution_but_no_reveal() -> None:
    wasted = [
        replace(SENT, tx_hash=f"0x{nonce}", nonce=nonce, state=TransactionState.REVERTED)
        for nonce in range(3)
    ]

    assert judged(ONE, FACTS, *wasted[:2]) is None
    assert isinstance(judged(ONE, FACTS, *wasted), verdict.Over)
    assert judged(REVEAL, FACTS, *wasted) is None


def test_a_free_transaction_without_receipt_stays_as_it_is() -> None:
    unspent = replace(FACTS, spent_s={7: 100.0})

    assert fates(unspent, SENT) == []


def test_a_mined_transaction_whose_nonce_is_free_again_is_sent_again() -> None:
    settled = replace(SENT, state=TransactionState.MINED)

    assert fates(FACTS, settled) == [verdict.Fate("0xaa", TransactionState.SENT)]
    assert fates(replace(FACTS, nonces=Nonces(8, 8)), settled) == []


def test_a_receipt_of_which_only_a_later_one_proves_the_action_is_looked_past() -> None:
    reverted = replace(SENT, tx_hash="0xbb", nonce=6, state=TransactionState.REVERTED)
    wanted = receipts.topics(ONE.action.kind, task(1), WALLET.address)
    proof = replace(mined("0xaa"), logs=(Log(tuple(wanted), "0x", 49, "0xaa"),))
    facts = replace(FACTS, receipts={"0xbb": mined("0xbb", success=False), "0xaa": proof})

    assert judged(ONE, facts, reverted, SENT) == verdict.Done(ChainReceipt(49, "0xaa"))
