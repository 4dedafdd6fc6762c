"""The outbox where a price is too low, a nonce is spent or void, or a contract refuses."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
import rlp

from iexworker.outbox.actions import ActionFailed, ActionMined
from iexworker.outbox.evidence import BroadcastAnswer
from iexworker.outbox.outbox import EMPTY_TRANSFER_GAS
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
from tests.unit.helpers.outbox_harness import FREE, Bench

pytest_plugins = ["tests.unit.helpers.outbox_harness"]


def test_bytes_once_refused_for_their_price_wait_like_others_once_they_are_taken() -> None:
    bench = Bench(FREE)
    bench.chain.least_wei = 1
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.least_wei = 0
    bench.uptime_s += BLOCK_TIME_S
    bench.outbox.step()
    bench.chain.least_wei = 1
    assert len(bench.chain.broadcasts) == 2
    bench.turn(2)

    assert len(bench.chain.broadcasts) == 2


def test_a_price_below_the_network_s_is_raised_until_it_suffices(bench: Bench) -> None:
    bench.chain.network_wei, bench.chain.least_wei = 1_000, 2_000
    bench.outbox.submit(contribute(task(1)))

    results = bench.turn(6)

    assert [type(one) for one in results] == [ActionMined]
    prices = [one.price_wei for one in bench.signed]
    assert prices[0] == 1_300
    assert all(after * 8 >= before * 9 for before, after in pairwise(prices))
    assert {one.nonce for one in bench.signed} == {0}


def test_what_waits_three_blocks_is_replaced_at_the_same_nonce(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.least_wei = 3_000
    bench.mine(2)
    bench.outbox.step()
    assert len(bench.signed) == 1
    bench.chain.network_wei = 3_000

    results = bench.turn(3)

    assert [type(one) for one in results] == [ActionMined]
    assert [(one.nonce, one.price_wei) for one in bench.signed] == [(0, 1_300), (0, 3_899)]


def test_at_the_cap_the_same_bytes_wait_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(FREE)
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.least_wei = 1
    bench.turn(8)

    assert len(bench.signed) == 1
    assert len(bench.chain.broadcasts) > 4
    said = [one for one in caplog.messages if "highest price allowed" in one]
    assert len(said) == 1


def test_a_nonce_that_another_sender_spent_is_followed_by_a_new_one(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.spend_nonce()
    bench.outbox.step()
    assert [one.nonce for one in bench.signed] == [0], "one look is no proof"
    bench.mine(2)
    bench.outbox.step()
    assert [one.nonce for one in bench.signed] == [0, 1], "what is void is replaced at once"

    results = bench.turn()

    assert [type(one) for one in results] == [ActionMined]
    assert [one.nonce for one in bench.signed] == [0, 1]


def test_the_time_before_a_nonce_is_spent_proves_nothing() -> None:
    bench = Bench(FREE)
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.least_wei = 1
    bench.turn(8)
    bench.chain.spend_nonce()

    bench.outbox.step()

    assert [one.nonce for one in bench.signed] == [0]


def test_a_contribution_is_not_begun_past_its_deadline_by_either_clock(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1), START_S + 10))
    bench.now_s = START_S + 10
    (by_ours,) = bench.outbox.step()
    bench.now_s = START_S
    bench.outbox.submit(contribute(task(2), START_S))
    (by_head,) = bench.outbox.step()

    assert isinstance(by_ours, ActionFailed)
    assert isinstance(by_head, ActionFailed)
    assert by_ours.cause == by_head.cause == "CONTRIBUTION_TIMEOUT"
    assert bench.signed == []


def test_a_reveal_is_given_up_by_the_head_s_time_only(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.outbox.submit(reveal(task(1), START_S + 100))
    bench.now_s = START_S + 1_000
    assert bench.turn(3) == []

    bench.chain.revealing.add(task(1))
    assert [type(one) for one in bench.turn()] == [ActionMined]


def test_a_reveal_that_the_contract_refuses_is_tried_until_its_deadline(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    deadline_s = bench.chain.time_s + 100
    bench.outbox.submit(reveal(task(1), deadline_s))
    assert bench.turn(15) == []

    (result,) = bench.turn(10)

    assert bench.chain.time_s >= deadline_s
    assert isinstance(result, ActionFailed)
    assert result.cause == "CANNOT_REVEAL"
    assert len(bench.signed) == 1, "nothing but the contribution was signed"


def test_a_reveal_that_reverted_goes_again_with_a_new_nonce(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.chain.revealing.add(task(1))
    bench.outbox.submit(reveal(task(1)))
    bench.outbox.step()
    bench.chain.revealing.clear()
    assert bench.turn() == []
    bench.chain.revealing.add(task(1))

    results = bench.turn(4)

    assert [type(one) for one in results] == [ActionMined]
    assert [one.nonce for one in bench.signed] == [0, 1, 2]


def test_a_reveal_that_reverted_is_not_signed_again_while_the_contract_refuses_it(
    bench: Bench,
) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.chain.revealing.add(task(1))
    bench.outbox.submit(reveal(task(1)))
    bench.outbox.step()
    bench.chain.revealing.clear()

    assert bench.turn(20) == []
    assert [one.nonce for one in bench.signed] == [0, 1]


def test_no_action_is_risked_on_a_nonce_that_was_spent_before() -> None:
    bench = Bench(FREE)
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.spend_nonce()
    bench.chain.least_wei = 1
    bench.outbox.step()
    bench.mine(3)
    bench.outbox.step()
    bench.chain.state.nonce = 0  # a reorganisation took back what had spent it
    bench.outbox.submit(contribute(task(2)))
    bench.outbox.step()

    made = [(one.nonce, one.data[4:36].hex()[-1:]) for one in bench.signed]
    assert made == [(0, "1"), (0, ""), (1, "1"), (2, "2")]


def test_a_contribution_that_the_contract_goes_on_refusing_fails_in_its_words(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.chain.refuses = "not enough stake"
    bench.outbox.submit(contribute(task(1)))
    assert bench.turn(WATCH_BLOCKS - 1) == []
    (said,) = [vars(one) for one in caplog.records if "would refuse it now" in one.getMessage()]
    assert (said["task"], said["why"]) == (task(1), "not enough stake")

    (result,) = bench.turn(2)

    assert isinstance(result, ActionFailed)
    assert result.cause == "CHAIN_RECEIPT_NOT_VALID"
    assert "not enough stake" in result.text
    assert bench.signed == []


def test_a_contribution_mined_three_times_in_vain_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.chain, "_refusals", lambda trials: [])
    bench.chain.refuses = "only in blocks"
    bench.outbox.submit(contribute(task(1)))
    assert bench.turn() == []
    assert len(bench.signed) == 1, "a pause follows before the next one"

    results = bench.turn(20)

    assert [type(one) for one in results] == [ActionFailed]
    assert len(bench.signed) == 3


def test_an_abandoned_action_that_was_not_signed_ends_at_once(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)

    assert [type(one) for one in bench.outbox.step()] == [ActionFailed]
    assert bench.signed == []


def test_an_action_that_was_not_signed_before_its_task_ended_never_is(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.forget(task(1))

    assert [type(one) for one in bench.outbox.step()] == [ActionFailed]
    assert bench.signed == []


def test_an_abandoned_action_that_is_wanted_again_is_done(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    bench.outbox.submit(contribute(task(1)))

    assert [type(one) for one in bench.turn()] == [ActionMined]


def test_the_nonce_of_an_abandoned_action_goes_to_the_next_one(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    assert bench.ledger.in_flight((task(1), ActionKind.CONTRIBUTE))
    bench.outbox.submit(contribute(task(2)))

    results = bench.turn(2)

    assert {(type(one), one.task_id) for one in results} == {
        (ActionFailed, task(1)),
        (ActionMined, task(2)),
    }
    assert {one.nonce for one in bench.signed} == {0}
    assert bench.chain.contribution(task(1)).status is ContributionStatus.UNSET


def test_a_void_nonce_that_nobody_wants_is_freed_by_an_empty_transfer(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)

    results = bench.turn(2)

    assert [type(one) for one in results] == [ActionFailed]
    _, _, gas, to, value, data, *_ = rlp.decode(bench.signed[-1].raw)
    assert (int.from_bytes(gas), "0x" + to.hex()) == (EMPTY_TRANSFER_GAS, WALLET.address)
    assert (value, data) == (b"", b"")
    assert bench.chain.state.nonce == 1
    assert not bench.outbox.busy


def test_a_void_nonce_that_the_node_does_not_know_is_taken_at_the_cap_too() -> None:
    bench = Bench(FREE)
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.forget()
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    bench.outbox.submit(contribute(task(2)))

    results = bench.turn(3)

    assert {(type(one), one.task_id) for one in results} == {
        (ActionFailed, task(1)),
        (ActionMined, task(2)),
    }
    assert {one.nonce for one in bench.signed} == {0}


def test_at_the_cap_what_the_node_holds_is_let_through() -> None:
    bench = Bench(FREE)
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    bench.outbox.submit(contribute(task(2)))

    results = bench.turn(2)

    assert {(type(one), one.task_id) for one in results} == {
        (ActionMined, task(1)),
        (ActionMined, task(2)),
    }


def test_a_gap_below_our_transactions_is_filled(bench: Bench) -> None:
    bench.chain.pool[0] = foreign = Sent(b"", "0xforeign", 0, 5, b"")
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    assert [one.nonce for one in bench.signed] == [1]
    assert bench.chain.pool.pop(0) is foreign

    results = bench.turn(2)

    assert [type(one) for one in results] == [ActionMined]
    assert [(one.nonce, one.data == b"") for one in bench.signed] == [(0, True), (1, False)]


def test_a_late_contribution_is_reported_late_and_its_nonce_freed() -> None:
    bench = Bench(FREE)
    bench.outbox.submit(contribute(task(1), START_S + 10))
    bench.chain.deadlines[task(1)] = START_S + 10
    bench.outbox.step()
    bench.chain.least_wei = 1
    results = bench.turn(5)
    bench.chain.least_wei = 0

    assert [type(one) for one in results] == [ActionFailed]
    assert bench.outbox.busy
    assert bench.turn() == []
    assert bench.chain.state.nonce == 1
    assert not bench.outbox.busy


@pytest.mark.parametrize(
    ("words", "told"),
    [("insufficient funds", "cannot pay"), ("nonce spent", "nonce is spent"), ("refused", "node")],
)
def test_a_refusal_of_the_node_is_told_once_in_plain_words(
    bench: Bench,
    words: str,
    told: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        bench.chain, "broadcast", lambda raw: (BroadcastAnswer(words), "the node's words")
    )
    bench.outbox.submit(contribute(task(1)))
    with caplog.at_level(logging.WARNING):
        bench.turn(5)

    (said,) = [one for one in caplog.records if told in one.getMessage()]
    assert vars(said)["why"] == "the node's words"
