"""The outbox: from the wish to the receipt, on a chain that does as it is told."""

from __future__ import annotations

import logging

import pytest
import rlp

from iexworker.errors import ChainError
from iexworker.outbox.actions import ActionFailed, ActionMined, Tally
from iexworker.outbox.evidence import BroadcastAnswer
from tests.helpers.fake_chain import (
    BLOCK_TIME_S,
    HUB,
    START_S,
    contribute,
    reveal,
    task,
)
from tests.unit.helpers.outbox_harness import FREE, OutboxHarness

pytest_plugins = ["tests.unit.helpers.outbox_harness"]


def test_an_idle_outbox_asks_nothing_of_the_node(harness: OutboxHarness) -> None:
    harness.chain.unreachable = True

    assert harness.outbox.step() == []
    assert not harness.outbox.busy


def test_bytes_are_journalled_before_they_are_broadcast(
    harness: OutboxHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    broadcast = harness.chain.broadcast

    def watched(raw: bytes) -> tuple[BroadcastAnswer, str]:
        seen.append(raw in [one.raw for one in harness.signed])
        return broadcast(raw)

    monkeypatch.setattr(harness.chain, "broadcast", watched)
    harness.outbox.submit(contribute(task(1)))

    harness.outbox.step()

    assert seen == [True]


def test_nothing_is_signed_for_another_chain(harness: OutboxHarness) -> None:
    harness.chain.chain_id = 1
    harness.outbox.submit(contribute(task(1)))

    words = "on chain 1, the pool on 134: nothing is signed; give the worker a node of that chain"
    with pytest.raises(ChainError, match=words):
        harness.outbox.step()
    assert harness.signed == []


def test_a_node_that_is_gone_loses_nothing(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.chain.unreachable = True
    with pytest.raises(ChainError):
        harness.outbox.step()
    harness.chain.unreachable = False

    assert [type(one) for one in harness.turn()] == [ActionMined]


def test_an_answer_that_got_lost_is_no_second_transaction(
    harness: OutboxHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.chain.loses_answers = True
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.loses_answers = False

    assert [type(one) for one in harness.turn()] == [ActionMined]
    assert len(harness.signed) == 1
    (said,) = [vars(one) for one in caplog.records if "perhaps not sent" in one.getMessage()]
    assert (said["task"], said["error"]) == (task(1), "no answer in time")


def test_the_log_tells_a_transaction_s_way_with_its_task(
    harness: OutboxHarness, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        harness.outbox.submit(contribute(task(1)))
        harness.turn()

    told = [(one.getMessage(), vars(one)["task"]) for one in caplog.records]
    ways = ["wanted", "signed", "mined", "took effect"]
    assert told == [(f"transaction {way}", task(1)) for way in ways]


def test_an_action_goes_to_the_hub_with_its_gas_and_nothing_else(harness: OutboxHarness) -> None:
    action = contribute(task(1))
    harness.outbox.submit(action)
    harness.outbox.step()

    nonce, price, gas, to, value, data, *_ = rlp.decode(harness.signed[0].raw)
    assert (int.from_bytes(nonce), int.from_bytes(price)) == (0, 1_300)
    assert (int.from_bytes(gas), "0x" + to.hex(), value) == (action.gas_limit, HUB, b"")
    assert data == action.calldata


def test_reveals_get_the_first_nonces_by_deadline(harness: OutboxHarness) -> None:
    late, soon = task(1), task(2)
    for one in (late, soon):
        harness.outbox.submit(contribute(one))
    harness.turn()
    harness.chain.revealing |= {late, soon}
    harness.outbox.submit(contribute(task(3), START_S + 100))
    harness.outbox.submit(reveal(late, START_S + 2000))
    harness.outbox.submit(reveal(soon, START_S + 1000))

    harness.outbox.step()

    assert [one.data[4:36].hex()[-1] for one in harness.free] == ["2", "1", "3"]


def test_two_transactions_go_without_a_block_between_them(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.outbox.submit(contribute(task(2)))
    harness.outbox.step()

    assert [one.nonce for one in harness.free] == [0, 1]


def test_the_same_bytes_go_again_when_the_node_forgot_them(
    harness: OutboxHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.drop_pool()

    harness.turn(2)

    assert len(set(harness.chain.broadcasts)) == 1
    assert len(harness.chain.broadcasts) == 2
    assert not [one for one in caplog.messages if "highest price" in one]


def test_the_same_bytes_go_once_in_a_block_time(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.drop_pool()
    harness.uptime_s += BLOCK_TIME_S - 1
    harness.outbox.step()
    assert len(harness.chain.broadcasts) == 1
    harness.uptime_s += 1
    harness.outbox.step()
    assert len(harness.chain.broadcasts) == 2


def test_a_nonce_that_the_node_forgot_is_not_given_to_another_action(
    harness: OutboxHarness,
) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.drop_pool()
    harness.outbox.submit(contribute(task(2)))
    harness.outbox.step()

    assert [one.nonce for one in harness.signed] == [0, 1]


def test_what_is_free_is_looked_at_in_each_pass_and_what_is_mined_once_a_block() -> None:
    harness = OutboxHarness(FREE)
    harness.outbox.submit(contribute(task(1), START_S + 10))
    harness.outbox.step()
    harness.chain.least_wei = 1
    assert [type(one) for one in harness.turn(5)] == [ActionFailed]
    harness.chain.unreachable = True
    with pytest.raises(ChainError):
        harness.outbox.step()
    harness.chain.unreachable, harness.chain.least_wei = False, 0
    harness.mine()
    harness.outbox.step()
    harness.chain.unreachable = True
    assert harness.outbox.step() == []
    harness.uptime_s += BLOCK_TIME_S
    with pytest.raises(ChainError):
        harness.outbox.step()


def test_what_became_of_transactions_is_counted(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    assert harness.outbox.tally == Tally(pending=1)
    harness.chain.least_wei = harness.chain.network_wei = 3_000
    harness.mine(2)
    harness.turn(4)
    cost_wei = 21_000 * harness.signed[-1].price_wei
    assert harness.outbox.tally == Tally(success=1, replaced=1, spent_wei=cost_wei)
    harness.chain.revealing.add(task(1))
    harness.outbox.submit(reveal(task(1)))
    harness.outbox.step()
    harness.chain.revealing.clear()
    harness.turn()
    tally = harness.outbox.tally
    assert tally == Tally(success=1, failure=1, replaced=1, spent_wei=tally.spent_wei)
    assert tally.spent_wei > cost_wei
    harness.outbox.submit(contribute(task(2)))
    harness.turn()
    tally = harness.outbox.tally
    assert tally == Tally(success=2, failure=1, replaced=1, spent_wei=tally.spent_wei)
