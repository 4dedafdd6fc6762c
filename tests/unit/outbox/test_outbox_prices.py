"""The outbox where a price is too low, a nonce is spent or void, or a contract refuses."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
import rlp

from iexworker.outbox.actions import ActionFailed, ActionMined
from iexworker.outbox.evidence import BroadcastAnswer
from iexworker.outbox.gas import EMPTY_TRANSFER_GAS
from iexworker.outbox.situation import WATCH_BLOCKS
from iexworker.poco.models import ActionKind, ContributionStatus
from tests.helpers.fake_chain import (
    BLOCK_TIME_S,
    START_S,
    WALLET,
    Sent,
    contribute,
    reveal,
    task,
)
from tests.unit.helpers.outbox_harness import FREE, OutboxHarness

pytest_plugins = ["tests.unit.helpers.outbox_harness"]


def test_bytes_once_refused_for_their_price_wait_like_others_once_they_are_taken() -> None:
    harness = OutboxHarness(FREE)
    harness.chain.least_wei = 1
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.least_wei = 0
    harness.uptime_s += BLOCK_TIME_S
    harness.outbox.step()
    harness.chain.least_wei = 1
    assert len(harness.chain.broadcasts) == 2
    harness.turn(2)

    assert len(harness.chain.broadcasts) == 2


def test_a_price_below_the_network_s_is_raised_until_it_suffices(harness: OutboxHarness) -> None:
    harness.chain.network_wei, harness.chain.least_wei = 1_000, 2_000
    harness.outbox.submit(contribute(task(1)))

    results = harness.turn(6)

    assert [type(one) for one in results] == [ActionMined]
    prices = [one.price_wei for one in harness.signed]
    assert prices[0] == 1_300
    assert all(after * 8 >= before * 9 for before, after in pairwise(prices))
    assert {one.nonce for one in harness.signed} == {0}


def test_what_waits_three_blocks_is_replaced_at_the_same_nonce(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.least_wei = 3_000
    harness.mine(2)
    harness.outbox.step()
    assert len(harness.signed) == 1
    harness.chain.network_wei = 3_000

    results = harness.turn(3)

    assert [type(one) for one in results] == [ActionMined]
    assert [(one.nonce, one.price_wei) for one in harness.signed] == [(0, 1_300), (0, 3_899)]


def test_at_the_cap_the_same_bytes_wait_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = OutboxHarness(FREE)
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.least_wei = 1
    harness.turn(8)

    assert len(harness.signed) == 1
    assert len(harness.chain.broadcasts) > 4
    said = [one for one in caplog.messages if "highest price allowed" in one]
    assert len(said) == 1


def test_a_nonce_that_another_sender_spent_is_followed_by_a_new_one(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.spend_nonce()
    harness.outbox.step()
    assert [one.nonce for one in harness.signed] == [0], "one look is no proof"
    harness.mine(2)
    harness.outbox.step()
    assert [one.nonce for one in harness.signed] == [0, 1], "what is void is replaced at once"

    results = harness.turn()

    assert [type(one) for one in results] == [ActionMined]
    assert [one.nonce for one in harness.signed] == [0, 1]


def test_the_time_before_a_nonce_is_spent_proves_nothing() -> None:
    harness = OutboxHarness(FREE)
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.least_wei = 1
    harness.turn(8)
    harness.chain.spend_nonce()

    harness.outbox.step()

    assert [one.nonce for one in harness.signed] == [0]


def test_a_contribution_is_not_begun_past_its_deadline_by_either_clock(
    harness: OutboxHarness,
) -> None:
    harness.outbox.submit(contribute(task(1), START_S + 10))
    harness.now_s = START_S + 10
    (by_ours,) = harness.outbox.step()
    harness.now_s = START_S
    harness.outbox.submit(contribute(task(2), START_S))
    (by_head,) = harness.outbox.step()

    assert isinstance(by_ours, ActionFailed)
    assert isinstance(by_head, ActionFailed)
    assert by_ours.cause == by_head.cause == "CONTRIBUTION_TIMEOUT"
    assert harness.signed == []


def test_a_reveal_is_given_up_by_the_head_s_time_only(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.turn()
    harness.outbox.submit(reveal(task(1), START_S + 100))
    harness.now_s = START_S + 1_000
    assert harness.turn(3) == []

    harness.chain.revealing.add(task(1))
    assert [type(one) for one in harness.turn()] == [ActionMined]


def test_a_reveal_that_the_contract_refuses_is_tried_until_its_deadline(
    harness: OutboxHarness,
) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.turn()
    deadline_s = harness.chain.time_s + 100
    harness.outbox.submit(reveal(task(1), deadline_s))
    assert harness.turn(15) == []

    (result,) = harness.turn(10)

    assert harness.chain.time_s >= deadline_s
    assert isinstance(result, ActionFailed)
    assert result.cause == "CANNOT_REVEAL"
    assert len(harness.signed) == 1, "nothing but the contribution was signed"


def test_a_reveal_that_reverted_goes_again_with_a_new_nonce(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.turn()
    harness.chain.revealing.add(task(1))
    harness.outbox.submit(reveal(task(1)))
    harness.outbox.step()
    harness.chain.revealing.clear()
    assert harness.turn() == []
    harness.chain.revealing.add(task(1))

    results = harness.turn(4)

    assert [type(one) for one in results] == [ActionMined]
    assert [one.nonce for one in harness.signed] == [0, 1, 2]


def test_a_reveal_that_reverted_is_not_signed_again_while_the_contract_refuses_it(
    harness: OutboxHarness,
) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.turn()
    harness.chain.revealing.add(task(1))
    harness.outbox.submit(reveal(task(1)))
    harness.outbox.step()
    harness.chain.revealing.clear()

    assert harness.turn(20) == []
    assert [one.nonce for one in harness.signed] == [0, 1]


def test_no_action_is_risked_on_a_nonce_that_was_spent_before() -> None:
    harness = OutboxHarness(FREE)
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.spend_nonce()
    harness.chain.least_wei = 1
    harness.outbox.step()
    harness.mine(3)
    harness.outbox.step()
    harness.chain.state.nonce = 0  # a reorganisation took back what had spent it
    harness.outbox.submit(contribute(task(2)))
    harness.outbox.step()

    made = [(one.nonce, one.data[4:36].hex()[-1:]) for one in harness.signed]
    assert made == [(0, "1"), (0, ""), (1, "1"), (2, "2")]


def test_a_contribution_that_the_contract_goes_on_refusing_fails_in_its_words(
    harness: OutboxHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.chain.refuses = "not enough stake"
    harness.outbox.submit(contribute(task(1)))
    assert harness.turn(WATCH_BLOCKS - 1) == []
    (said,) = [vars(one) for one in caplog.records if "would refuse it now" in one.getMessage()]
    assert (said["task"], said["error"]) == (task(1), "not enough stake")

    (result,) = harness.turn(2)

    assert isinstance(result, ActionFailed)
    assert result.cause == "CHAIN_RECEIPT_NOT_VALID"
    assert "not enough stake" in result.text
    assert harness.signed == []


def test_a_contribution_mined_three_times_in_vain_is_given_up(
    harness: OutboxHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.chain, "_refusals", lambda trials: [])
    harness.chain.refuses = "only in blocks"
    harness.outbox.submit(contribute(task(1)))
    assert harness.turn() == []
    assert len(harness.signed) == 1, "a pause follows before the next one"

    results = harness.turn(20)

    assert [type(one) for one in results] == [ActionFailed]
    assert len(harness.signed) == 3


def test_an_abandoned_action_that_was_not_signed_ends_at_once(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.abandon(task(1), ActionKind.CONTRIBUTE)

    assert [type(one) for one in harness.outbox.step()] == [ActionFailed]
    assert harness.signed == []


def test_an_abandoned_action_that_is_wanted_again_is_done(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    harness.outbox.submit(contribute(task(1)))

    assert [type(one) for one in harness.turn()] == [ActionMined]


def test_the_nonce_of_an_abandoned_action_goes_to_the_next_one(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    assert harness.ledger.in_flight((task(1), ActionKind.CONTRIBUTE))
    harness.outbox.submit(contribute(task(2)))

    results = harness.turn(2)

    assert {(type(one), one.task_id) for one in results} == {
        (ActionFailed, task(1)),
        (ActionMined, task(2)),
    }
    assert {one.nonce for one in harness.signed} == {0}
    assert harness.chain.contribution(task(1)).status is ContributionStatus.UNSET


def test_a_void_nonce_that_nobody_wants_is_freed_by_an_empty_transfer(
    harness: OutboxHarness,
) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.outbox.abandon(task(1), ActionKind.CONTRIBUTE)

    results = harness.turn(2)

    assert [type(one) for one in results] == [ActionFailed]
    _, _, gas, to, value, data, *_ = rlp.decode(harness.signed[-1].raw)
    assert (int.from_bytes(gas), "0x" + to.hex()) == (EMPTY_TRANSFER_GAS, WALLET.address)
    assert (value, data) == (b"", b"")
    assert harness.chain.state.nonce == 1
    assert not harness.outbox.busy


def test_a_void_nonce_that_the_node_does_not_know_is_taken_at_the_cap_too() -> None:
    harness = OutboxHarness(FREE)
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.drop_pool()
    harness.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    harness.outbox.submit(contribute(task(2)))

    results = harness.turn(3)

    assert {(type(one), one.task_id) for one in results} == {
        (ActionFailed, task(1)),
        (ActionMined, task(2)),
    }
    assert {one.nonce for one in harness.signed} == {0}


def test_at_the_cap_what_the_node_holds_is_let_through() -> None:
    harness = OutboxHarness(FREE)
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    harness.outbox.submit(contribute(task(2)))

    results = harness.turn(2)

    assert {(type(one), one.task_id) for one in results} == {
        (ActionMined, task(1)),
        (ActionMined, task(2)),
    }


def test_a_gap_below_our_transactions_is_filled(harness: OutboxHarness) -> None:
    harness.chain.pool[0] = foreign = Sent(b"", "0xforeign", 0, 5, 21_000, b"")
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    assert [one.nonce for one in harness.signed] == [1]
    assert harness.chain.pool.pop(0) is foreign

    results = harness.turn(2)

    assert [type(one) for one in results] == [ActionMined]
    assert [(one.nonce, one.data == b"") for one in harness.signed] == [(0, True), (1, False)]


def test_a_late_contribution_is_reported_late_and_its_nonce_freed() -> None:
    harness = OutboxHarness(FREE)
    harness.outbox.submit(contribute(task(1), START_S + 10))
    harness.chain.deadlines[task(1)] = START_S + 10
    harness.outbox.step()
    harness.chain.least_wei = 1
    results = harness.turn(5)
    harness.chain.least_wei = 0

    assert [type(one) for one in results] == [ActionFailed]
    assert harness.outbox.busy
    assert harness.turn() == []
    assert harness.chain.state.nonce == 1
    assert not harness.outbox.busy


@pytest.mark.parametrize(
    ("words", "told"),
    [("insufficient funds", "cannot pay"), ("nonce spent", "nonce is spent"), ("refused", "node")],
)
def test_a_refusal_of_the_node_is_told_once_in_plain_words(
    harness: OutboxHarness,
    words: str,
    told: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        harness.chain, "broadcast", lambda raw: (BroadcastAnswer(words), "the node's words")
    )
    harness.outbox.submit(contribute(task(1)))
    with caplog.at_level(logging.WARNING):
        harness.turn(5)

    (said,) = [one for one in caplog.records if told in one.getMessage()]
    assert vars(said)["error"] == "the node's words"
