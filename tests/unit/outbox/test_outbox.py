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
from tests.unit.helpers.outbox_harness import FREE, Bench

pytest_plugins = ["tests.unit.helpers.outbox_harness"]


def test_an_idle_outbox_asks_nothing_of_the_node(bench: Bench) -> None:
    bench.chain.unreachable = True

    assert bench.outbox.step() == []
    assert not bench.outbox.busy


def test_bytes_are_journalled_before_they_are_broadcast(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    broadcast = bench.chain.broadcast

    def watched(raw: bytes) -> tuple[BroadcastAnswer, str]:
        seen.append(raw in [one.raw for one in bench.signed])
        return broadcast(raw)

    monkeypatch.setattr(bench.chain, "broadcast", watched)
    bench.outbox.submit(contribute(task(1)))

    bench.outbox.step()

    assert seen == [True]


def test_nothing_is_signed_for_another_chain(bench: Bench) -> None:
    bench.chain.chain_id = 1
    bench.outbox.submit(contribute(task(1)))

    words = "on chain 1, the pool on 134: nothing is signed; give the worker a node of that chain"
    with pytest.raises(ChainError, match=words):
        bench.outbox.step()
    assert bench.signed == []


def test_a_node_that_is_gone_loses_nothing(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.chain.unreachable = True
    with pytest.raises(ChainError):
        bench.outbox.step()
    bench.chain.unreachable = False

    assert [type(one) for one in bench.turn()] == [ActionMined]


def test_an_answer_that_got_lost_is_no_second_transaction(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.chain.loses_answers = True
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.loses_answers = False

    assert [type(one) for one in bench.turn()] == [ActionMined]
    assert len(bench.signed) == 1
    (said,) = [vars(one) for one in caplog.records if "perhaps not sent" in one.getMessage()]
    assert (said["task"], said["why"]) == (task(1), "no answer in time")


def test_the_log_tells_a_transaction_s_way_with_its_task(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        bench.outbox.submit(contribute(task(1)))
        bench.turn()

    told = [(one.getMessage(), vars(one)["task"]) for one in caplog.records]
    ways = ["wanted", "signed", "mined", "took effect"]
    assert told == [(f"transaction {way}", task(1)) for way in ways]


def test_an_action_goes_to_the_hub_with_its_gas_and_nothing_else(bench: Bench) -> None:
    action = contribute(task(1))
    bench.outbox.submit(action)
    bench.outbox.step()

    nonce, price, gas, to, value, data, *_ = rlp.decode(bench.signed[0].raw)
    assert (int.from_bytes(nonce), int.from_bytes(price)) == (0, 1_300)
    assert (int.from_bytes(gas), "0x" + to.hex(), value) == (action.gas_limit, HUB, b"")
    assert data == action.calldata


def test_reveals_get_the_first_nonces_by_deadline(bench: Bench) -> None:
    late, soon = task(1), task(2)
    for one in (late, soon):
        bench.outbox.submit(contribute(one))
    bench.turn()
    bench.chain.revealing |= {late, soon}
    bench.outbox.submit(contribute(task(3), START_S + 100))
    bench.outbox.submit(reveal(late, START_S + 2000))
    bench.outbox.submit(reveal(soon, START_S + 1000))

    bench.outbox.step()

    assert [one.data[4:36].hex()[-1] for one in bench.free] == ["2", "1", "3"]


def test_two_transactions_go_without_a_block_between_them(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.outbox.submit(contribute(task(2)))
    bench.outbox.step()

    assert [one.nonce for one in bench.free] == [0, 1]


def test_the_same_bytes_go_again_when_the_node_forgot_them(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.forget()

    bench.turn(2)

    assert len(set(bench.chain.broadcasts)) == 1
    assert len(bench.chain.broadcasts) == 2
    assert not [one for one in caplog.messages if "highest price" in one]


def test_the_same_bytes_go_once_in_a_block_time(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.forget()
    bench.uptime_s += BLOCK_TIME_S - 1
    bench.outbox.step()
    assert len(bench.chain.broadcasts) == 1
    bench.uptime_s += 1
    bench.outbox.step()
    assert len(bench.chain.broadcasts) == 2


def test_a_nonce_that_the_node_forgot_is_not_given_to_another_action(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.forget()
    bench.outbox.submit(contribute(task(2)))
    bench.outbox.step()

    assert [one.nonce for one in bench.signed] == [0, 1]


def test_what_is_free_is_looked_at_in_each_pass_and_what_is_mined_once_a_block() -> None:
    bench = Bench(FREE)
    bench.outbox.submit(contribute(task(1), START_S + 10))
    bench.outbox.step()
    bench.chain.least_wei = 1
    assert [type(one) for one in bench.turn(5)] == [ActionFailed]
    bench.chain.unreachable = True
    with pytest.raises(ChainError):
        bench.outbox.step()
    bench.chain.unreachable, bench.chain.least_wei = False, 0
    bench.mine()
    bench.outbox.step()
    bench.chain.unreachable = True
    assert bench.outbox.step() == []
    bench.uptime_s += BLOCK_TIME_S
    with pytest.raises(ChainError):
        bench.outbox.step()


def test_what_became_of_transactions_is_counted(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    assert bench.outbox.tally == Tally(pending=1)
    bench.chain.least_wei = bench.chain.network_wei = 3_000
    bench.mine(2)
    bench.turn(4)
    assert bench.outbox.tally == Tally(success=1, replaced=1)
    bench.chain.revealing.add(task(1))
    bench.outbox.submit(reveal(task(1)))
    bench.outbox.step()
    bench.chain.revealing.clear()
    bench.turn()
    assert bench.outbox.tally == Tally(success=1, failure=1, replaced=1)
    bench.outbox.submit(contribute(task(2)))
    bench.turn()
    assert bench.outbox.tally == Tally(success=2, failure=1, replaced=1)
