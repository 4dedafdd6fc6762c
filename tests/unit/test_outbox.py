from __future__ import annotations

import logging
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest
import rlp
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pocketchain import (
    BLOCK_TIME_S,
    CHAIN_ID,
    HUB,
    START_S,
    WALLET,
    PocketChain,
    Sent,
    contribute,
    reveal,
    shown_done,
    task,
)

from iexworker.chain.actions import Action, Failed, Mined, Result, Tally, TransactionState
from iexworker.chain.evidence import Answer
from iexworker.chain.gas import PriceRule
from iexworker.chain.ledger import SCHEMA, Ledger
from iexworker.chain.models import ActionKind, ChainConfiguration, ContributionStatus
from iexworker.chain.outbox import EMPTY_TRANSFER_GAS, Outbox
from iexworker.chain.situation import WATCH_BLOCKS
from iexworker.errors import ChainError, JournalError

FREE = PriceRule(0.0, 0)
PAID = PriceRule(1.3, 100_000)
CONFIGURATION = ChainConfiguration(CHAIN_ID, HUB, "http://node", True, BLOCK_TIME_S)


class Bench:
    """An outbox on a pocket chain, with a clock of its own; `restart` is what a crash leaves."""

    def __init__(self, rule: PriceRule = PAID, path: str = ":memory:") -> None:
        self.chain = PocketChain()
        self.rule = rule
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.executescript(SCHEMA)
        self.ledger = Ledger(self.connection, "key")
        self.now_s = float(START_S)
        self.uptime_s = 1000.0
        self.restart()

    def restart(self) -> None:
        self.outbox = Outbox(
            self.chain,
            self.ledger,
            WALLET,
            CONFIGURATION,
            self.rule,
            clock=lambda: self.now_s,
            monotonic=lambda: self.uptime_s,
        )

    def mine(self, blocks: int = 1) -> None:
        self.chain.mine(blocks)
        self.now_s += blocks * BLOCK_TIME_S
        self.uptime_s += blocks * BLOCK_TIME_S

    def turn(self, passes: int = 1) -> list[Result]:
        found: list[Result] = []
        for _ in range(passes):
            found += self.outbox.step()
            self.mine()
        return found + self.outbox.step()

    @property
    def signed(self) -> list[Sent]:
        rows = self.connection.execute("SELECT raw FROM transactions ORDER BY nonce, rowid")
        return [Sent.read(raw) for (raw,) in rows]

    @property
    def free(self) -> list[Sent]:
        """What may still be mined, by nonce."""
        return [
            Sent.read(item.raw)
            for item in self.ledger.transactions(2**62)
            if item.state in (TransactionState.SIGNED, TransactionState.SENT)
        ]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_idle_outbox_asks_nothing_of_the_node(bench: Bench) -> None:
    bench.chain.unreachable = True

    assert bench.outbox.step() == []
    assert not bench.outbox.busy


def test_bytes_are_journalled_before_they_are_broadcast(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    broadcast = bench.chain.broadcast

    def watched(raw: bytes) -> tuple[Answer, str]:
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

    assert [type(one) for one in bench.turn()] == [Mined]


def test_an_answer_that_got_lost_is_no_second_transaction(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.chain.loses_answers = True
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.loses_answers = False

    assert [type(one) for one in bench.turn()] == [Mined]
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


def test_what_is_free_is_looked_at_in_each_pass_and_what_is_mined_once_a_block() -> None:
    bench = Bench(FREE)
    bench.outbox.submit(contribute(task(1), START_S + 10))
    bench.outbox.step()
    bench.chain.least_wei = 1
    assert [type(one) for one in bench.turn(5)] == [Failed]
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


def test_a_price_below_the_network_s_is_raised_until_it_suffices(bench: Bench) -> None:
    bench.chain.network_wei, bench.chain.least_wei = 1_000, 2_000
    bench.outbox.submit(contribute(task(1)))

    results = bench.turn(6)

    assert [type(one) for one in results] == [Mined]
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

    assert [type(one) for one in results] == [Mined]
    assert [(one.nonce, one.price_wei) for one in bench.signed] == [(0, 1_300), (0, 3_899)]


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

    assert [type(one) for one in results] == [Mined]
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


def test_a_contribution_made_elsewhere_needs_no_transaction(bench: Bench) -> None:
    other = Bench()
    other.chain = bench.chain
    other.restart()
    other.outbox.submit(contribute(task(1)))
    (made,) = other.turn()
    bench.outbox.submit(contribute(task(1)))

    assert bench.outbox.step() == [made]
    assert bench.signed == []


def test_another_result_of_this_wallet_is_a_failure(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1), result=2))
    bench.turn()
    bench.connection.execute("DELETE FROM actions")
    bench.outbox.submit(contribute(task(1), result=3))

    (result,) = bench.outbox.step()

    assert isinstance(result, Failed)
    assert result.cause == "CONTRIBUTION_ALREADY_SET"


def test_a_reveal_from_before_a_lost_journal_is_not_sent_again(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.chain.revealing.add(task(1))
    bench.outbox.submit(reveal(task(1)))
    (made,) = bench.turn()
    newcomer = Bench()
    newcomer.chain = bench.chain
    newcomer.restart()
    newcomer.outbox.submit(reveal(task(1)))

    assert newcomer.outbox.step() == [made]
    assert newcomer.signed == []


def test_what_the_node_held_when_the_journal_was_lost_takes_effect_once(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    newcomer = Bench()
    newcomer.chain = bench.chain
    newcomer.restart()
    newcomer.outbox.submit(contribute(task(1)))

    (result,) = newcomer.turn(3)

    assert isinstance(result, Mined)
    assert len(bench.chain.state.contributions) == 1


def test_a_contribution_is_not_begun_past_its_deadline_by_either_clock(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1), START_S + 10))
    bench.now_s = START_S + 10
    (by_ours,) = bench.outbox.step()
    bench.now_s = START_S
    bench.outbox.submit(contribute(task(2), START_S))
    (by_head,) = bench.outbox.step()

    assert isinstance(by_ours, Failed)
    assert isinstance(by_head, Failed)
    assert by_ours.cause == by_head.cause == "CONTRIBUTION_TIMEOUT"
    assert bench.signed == []


def test_a_reveal_is_given_up_by_the_head_s_time_only(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.outbox.submit(reveal(task(1), START_S + 100))
    bench.now_s = START_S + 1_000
    assert bench.turn(3) == []

    bench.chain.revealing.add(task(1))
    assert [type(one) for one in bench.turn()] == [Mined]


def test_a_reveal_that_the_contract_refuses_is_tried_until_its_deadline(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    deadline_s = bench.chain.time_s + 100
    bench.outbox.submit(reveal(task(1), deadline_s))
    assert bench.turn(15) == []

    (result,) = bench.turn(10)

    assert bench.chain.time_s >= deadline_s
    assert isinstance(result, Failed)
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

    assert [type(one) for one in results] == [Mined]
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

    assert isinstance(result, Failed)
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

    assert [type(one) for one in results] == [Failed]
    assert len(bench.signed) == 3


def test_an_abandoned_action_that_was_not_signed_ends_at_once(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)

    assert [type(one) for one in bench.outbox.step()] == [Failed]
    assert bench.signed == []


def test_an_abandoned_action_that_is_wanted_again_is_done(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    bench.outbox.submit(contribute(task(1)))

    assert [type(one) for one in bench.turn()] == [Mined]


def test_the_nonce_of_an_abandoned_action_goes_to_the_next_one(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    assert bench.outbox.in_flight(task(1), ActionKind.CONTRIBUTE)
    bench.outbox.submit(contribute(task(2)))

    results = bench.turn(2)

    assert {(type(one), one.task_id) for one in results} == {(Failed, task(1)), (Mined, task(2))}
    assert {one.nonce for one in bench.signed} == {0}
    assert bench.chain.contribution(task(1)).status is ContributionStatus.UNSET


def test_a_void_nonce_that_nobody_wants_is_freed_by_an_empty_transfer(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)

    results = bench.turn(2)

    assert [type(one) for one in results] == [Failed]
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

    assert {(type(one), one.task_id) for one in results} == {(Failed, task(1)), (Mined, task(2))}
    assert {one.nonce for one in bench.signed} == {0}


def test_at_the_cap_what_the_node_holds_is_let_through() -> None:
    bench = Bench(FREE)
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.outbox.abandon(task(1), ActionKind.CONTRIBUTE)
    bench.outbox.submit(contribute(task(2)))

    results = bench.turn(2)

    assert {(type(one), one.task_id) for one in results} == {(Mined, task(1)), (Mined, task(2))}


def test_a_gap_below_our_transactions_is_filled(bench: Bench) -> None:
    bench.chain.pool[0] = foreign = Sent(b"", "0xforeign", 0, 5, b"")
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    assert [one.nonce for one in bench.signed] == [1]
    assert bench.chain.pool.pop(0) is foreign

    results = bench.turn(2)

    assert [type(one) for one in results] == [Mined]
    assert [(one.nonce, one.data == b"") for one in bench.signed] == [(0, True), (1, False)]


def test_a_late_contribution_is_reported_late_and_its_nonce_freed() -> None:
    bench = Bench(FREE)
    bench.outbox.submit(contribute(task(1), START_S + 10))
    bench.chain.deadlines[task(1)] = START_S + 10
    bench.outbox.step()
    bench.chain.least_wei = 1
    results = bench.turn(5)
    bench.chain.least_wei = 0

    assert [type(one) for one in results] == [Failed]
    assert bench.outbox.busy
    assert bench.turn() == []
    assert bench.chain.state.nonce == 1
    assert not bench.outbox.busy


@pytest.mark.parametrize("keep", [True, False])
def test_what_a_reorganisation_takes_back_is_mined_again(bench: Bench, keep: bool) -> None:
    bench.outbox.submit(contribute(task(1)))
    (first,) = bench.turn()
    bench.chain.reorganise(1, keep=keep)
    bench.uptime_s += BLOCK_TIME_S

    results = bench.turn(4)

    assert len(bench.signed) == 1
    assert isinstance(first, Mined)
    assert [type(one) for one in results] == [Mined]


def test_a_restart_after_a_reorganisation_sees_it(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.chain.reorganise(1, keep=False)
    bench.restart()

    assert [type(one) for one in bench.turn(4)] == [Mined]
    assert bench.chain.contribution(task(1)).status is ContributionStatus.CONTRIBUTED


def test_what_is_deep_in_the_chain_is_watched_no_longer(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.mine(WATCH_BLOCKS + 1)
    bench.outbox.step()
    bench.mine()
    bench.chain.unreachable = True

    assert bench.outbox.step() == []


def test_a_receipt_that_comes_after_the_effect_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.mine()
    evidence = bench.chain.evidence
    monkeypatch.setattr(
        bench.chain,
        "evidence",
        lambda *asked: type(late := evidence(*asked))(
            {}, late.known, late.contributions, late.refusals
        ),
    )
    assert bench.outbox.step() == []
    monkeypatch.undo()

    assert [type(one) for one in bench.outbox.step()] == [Mined]
    assert len(bench.signed) == 1


def test_a_result_that_was_not_taken_in_is_given_again(bench: Bench) -> None:
    action = contribute(task(1))
    bench.outbox.submit(action)
    (result,) = bench.turn()
    bench.restart()
    bench.outbox.submit(action)

    assert bench.outbox.step() == [result]


def test_a_failed_action_is_taken_up_again_with_other_calldata(bench: Bench) -> None:
    bench.chain.refuses = "no"
    bench.outbox.submit(contribute(task(1)))
    (failed,) = bench.turn(WATCH_BLOCKS + 1)
    bench.outbox.submit(contribute(task(1)))
    assert not bench.outbox.busy
    assert bench.outbox.step() == [failed]
    bench.chain.refuses = None
    bench.outbox.submit(contribute(task(1), result=2))

    assert [type(one) for one in bench.turn()] == [Mined]


def test_a_failed_action_is_taken_up_again_with_a_later_deadline(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1), START_S))
    (failed,) = bench.outbox.step()
    assert isinstance(failed, Failed)
    bench.outbox.submit(contribute(task(1), START_S + 100))

    assert [type(one) for one in bench.turn()] == [Mined]


def test_an_action_that_is_not_signed_yet_is_replaced_by_one_with_other_calldata(
    bench: Bench,
) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.submit(contribute(task(1), result=2))

    assert [type(one) for one in bench.turn()] == [Mined]
    assert shown_done(bench.chain, contribute(task(1), result=2))


def test_a_done_action_is_not_done_again_with_other_calldata(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    (made,) = bench.turn()
    bench.outbox.submit(contribute(task(1), result=2))

    assert bench.outbox.step() == [made]
    assert len(bench.signed) == 1


def test_a_deadline_that_becomes_known_later_is_kept(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.outbox.submit(reveal(task(1), 0))
    assert bench.turn(2) == []
    bench.outbox.submit(reveal(task(1), bench.chain.time_s + 5))

    assert [type(one) for one in bench.turn(2)] == [Failed]


def test_what_is_signed_is_not_overwritten(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.outbox.submit(contribute(task(1), result=2))
    entry = bench.outbox.entry(task(1), ActionKind.CONTRIBUTE)
    assert entry is not None
    assert entry.action == contribute(task(1))

    bench.turn()

    made = bench.chain.contribution(task(1))
    assert shown_done(bench.chain, contribute(task(1)))
    assert not shown_done(bench.chain, contribute(task(1), result=2))
    assert made.status is ContributionStatus.CONTRIBUTED


def test_an_ended_task_leaves_nothing_but_the_nonce(bench: Bench) -> None:
    for number in (1, 2):
        bench.outbox.submit(contribute(task(number)))
        bench.turn()
    bench.outbox.forget(task(1))
    bench.outbox.forget(task(2))

    assert bench.outbox.entry(task(1), ActionKind.CONTRIBUTE) is None
    assert bench.ledger.top_nonce() == 1
    assert len(bench.signed) == 1


def test_a_journal_that_cannot_be_written_stops_the_broadcast(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.connection.execute("DROP TABLE transactions")

    with pytest.raises(JournalError):
        bench.outbox.step()
    assert bench.chain.broadcasts == []


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
    monkeypatch.setattr(bench.chain, "broadcast", lambda raw: (Answer(words), "the node's words"))
    bench.outbox.submit(contribute(task(1)))
    with caplog.at_level(logging.WARNING):
        bench.turn(5)

    (said,) = [one for one in caplog.records if told in one.getMessage()]
    assert vars(said)["why"] == "the node's words"


class Histories(RuleBasedStateMachine):
    """Random faults against the promises of design section 4 rule 1."""

    tasks = st.integers(1, 4).map(task)

    @initialize(rule=st.sampled_from([FREE, PAID]))
    def start(self, rule: PriceRule) -> None:
        self.bench = Bench(rule)
        self.wanted: dict[tuple[str, ActionKind], Action] = {}
        self.abandoned: set[tuple[str, ActionKind]] = set()
        self.disturbed = False

    @property
    def chain(self) -> PocketChain:
        return self.bench.chain

    def _submit(self, action: Action) -> None:
        self.wanted.setdefault(action.key, action)
        self.bench.outbox.submit(self.wanted[action.key])

    @rule(task_id=tasks)
    def contribute(self, task_id: str) -> None:
        self._submit(contribute(task_id))

    @rule(task_id=tasks)
    def reveal(self, task_id: str) -> None:
        if self.chain.contribution(task_id).status is not ContributionStatus.UNSET:
            self.chain.revealing.add(task_id)
            self._submit(reveal(task_id))

    @rule()
    def step(self) -> None:
        for result in self.bench.outbox.step():
            self._check(result)

    @rule(blocks=st.integers(1, 4))
    def mine(self, blocks: int) -> None:
        self.bench.mine(blocks)

    @rule()
    def crash(self) -> None:
        self.bench.restart()

    @rule(after=st.booleans())
    def crash_in_a_broadcast(self, after: bool) -> None:
        class Killed(BaseException):
            pass

        broadcast = PocketChain.broadcast

        def dies(raw: bytes) -> None:
            if after:
                broadcast(self.chain, raw)
            raise Killed

        self.chain.broadcast = dies  # type: ignore[assignment,method-assign]  # for one pass
        try:
            for result in self.bench.outbox.step():
                self._check(result)
        except Killed:
            pass
        finally:
            del self.chain.broadcast
        self.bench.restart()

    @rule()
    def lose_an_answer(self) -> None:
        self.chain.loses_answers = True
        self.step()
        self.chain.loses_answers = False

    @rule()
    def empty_the_mempool(self) -> None:
        self.chain.forget()

    @rule()
    def spend_a_nonce_elsewhere(self) -> None:
        self.chain.spend_nonce()

    @rule(depth=st.integers(1, 2), keep=st.booleans())
    def reorganise(self, depth: int, keep: bool) -> None:
        self.chain.reorganise(depth, keep=keep)
        self.disturbed = True

    @rule(least_wei=st.sampled_from([0, 900, 5_000]))
    def raise_the_price(self, least_wei: int) -> None:
        self.chain.least_wei = least_wei

    @rule(task_id=tasks, kind=st.sampled_from([ActionKind.CONTRIBUTE]))
    def abandon(self, task_id: str, kind: ActionKind) -> None:
        if (task_id, kind) in self.wanted:
            self.bench.outbox.abandon(task_id, kind)
            self.abandoned.add((task_id, kind))

    def _check(self, result: Result) -> None:
        action = self.wanted[result.task_id, result.kind]
        if isinstance(result, Failed):
            assert action.key in self.abandoned, result
            assert self.disturbed or not shown_done(self.chain, action), result
        else:
            assert self.disturbed or shown_done(self.chain, action)
            assert result.receipt is not None

    @invariant()
    def nonces_have_one_meaning_each(self) -> None:
        """No action has two transactions that could both be mined."""
        if not hasattr(self, "bench"):
            return
        owners: dict[tuple[str, ActionKind], set[int]] = {}
        for item in self.bench.ledger.transactions(0):
            free = item.state in (TransactionState.SIGNED, TransactionState.SENT)
            if item.owner and free and item.nonce >= self.chain.state.nonce:
                owners.setdefault(item.owner, set()).add(item.nonce)
        assert self.disturbed or all(len(nonces) == 1 for nonces in owners.values()), owners

    def teardown(self) -> None:
        """Once the faults end, everything comes to its end and no nonce is left open."""
        if not hasattr(self, "bench"):
            return
        self.chain.least_wei = 0
        for _ in range(40):
            for result in self.bench.turn():
                self._check(result)
        assert self.bench.ledger.pending() == 0
        assert self.chain.nonces.latest == self.chain.nonces.pending
        for entry in self.bench.ledger.open_entries():
            # A reveal waits for its contribution, which a reorganisation took away.
            made = self.chain.contribution(entry.action.task_id)
            assert entry.action.kind is ActionKind.REVEAL
            assert made.status is ContributionStatus.UNSET
        for key, action in self.wanted.items():
            if key not in self.abandoned and action.kind is ActionKind.CONTRIBUTE:
                assert shown_done(self.chain, action), action


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_journal_survives_on_disk(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.sqlite")
    bench = Bench(path=path)
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    (signed,) = bench.signed
    bench.connection.close()
    again = Bench(path=path)
    again.chain = bench.chain
    again.restart()

    (result,) = again.turn()

    assert isinstance(result, Mined)
    assert result.receipt is not None
    assert result.receipt.tx_hash == signed.tx_hash
