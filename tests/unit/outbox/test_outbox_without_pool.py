"""The outbox where no pool of transactions exists (docs/spec/11, 1.5 and 1.6)."""

from __future__ import annotations

import pytest

from iexworker.errors import ChainError
from iexworker.outbox.actions import ActionMined, Pace, Result
from iexworker.outbox.gas import PriceRule
from iexworker.poco.models import ActionKind
from tests.helpers.fake_chain import contribute, reveal, task
from tests.helpers.sequenced_chain import SequencedChain
from tests.unit.helpers.outbox_harness import OutboxHarness


class SequencedHarness(OutboxHarness):
    """An outbox before a sequencer, whose clocks the test moves."""

    def __init__(self, rule: PriceRule) -> None:
        super().__init__(rule)
        self.chain: SequencedChain = SequencedChain()
        self.restart()

    def passes(self, count: int, each_s: float = 0.5) -> list[Result]:
        found: list[Result] = []
        for _ in range(count):
            found += self.outbox.step()
            self.now_s += each_s
            self.uptime_s += each_s
        return found

    def contributed(self, number: int) -> None:
        self.outbox.submit(contribute(task(number)))
        self.passes(3)
        self.chain.revealing.add(task(number))


@pytest.fixture
def harness() -> SequencedHarness:
    return SequencedHarness(PriceRule(1.0, 100_000))


def kinds(results: list[Result]) -> list[tuple[str, ActionKind]]:
    assert all(isinstance(one, ActionMined) for one in results)
    return [(one.task_id, one.kind) for one in results]


def test_a_contribution_and_its_reveal_are_two_transactions(harness: SequencedHarness) -> None:
    harness.contributed(1)
    harness.outbox.submit(reveal(task(1)))

    assert kinds(harness.passes(3)) == [(task(1), ActionKind.REVEAL)]
    assert len(harness.chain.state.mined) == 2


def test_twice_the_base_fee_is_offered(harness: SequencedHarness) -> None:
    harness.contributed(1)

    assert [sent.price_wei for sent in harness.signed] == [1_000]


def test_a_reveal_takes_the_nonce_of_a_contribution_that_the_wallet_cannot_pay(
    harness: SequencedHarness,
) -> None:
    harness.contributed(1)
    harness.chain.purse_wei = 200_000 * 1_000
    harness.outbox.submit(contribute(task(2)))
    harness.passes(2)
    harness.outbox.submit(reveal(task(1)))

    assert kinds(harness.passes(6)) == [(task(1), ActionKind.REVEAL)]
    harness.chain.purse_wei = 10**18
    assert kinds(harness.passes(6)) == [(task(2), ActionKind.CONTRIBUTE)]
    assert len(harness.chain.state.mined) == 3


def test_a_base_fee_that_has_doubled_twice_is_met_at_the_same_nonce(
    harness: SequencedHarness,
) -> None:
    harness.contributed(1)
    harness.chain.next_base_fee_wei = 2_000
    harness.outbox.submit(reveal(task(1)))

    assert kinds(harness.passes(4)) == [(task(1), ActionKind.REVEAL)]
    assert len(harness.chain.state.mined) == 2


@pytest.mark.parametrize(("allowed", "made"), [(False, 0), (True, 1)])
def test_a_reveal_passes_the_cap_only_where_that_is_allowed(allowed: bool, made: int) -> None:
    harness = SequencedHarness(PriceRule(1.0, 1_000, reveal_may_pass_cap=allowed))
    harness.contributed(1)
    harness.chain.base_fee_wei = harness.chain.network_wei = 5_000
    harness.outbox.submit(reveal(task(1)))

    assert len(harness.passes(4)) == made


def test_a_limit_below_the_price_of_l1_data_is_raised_and_the_second_task_is_not_held_up(
    harness: SequencedHarness,
) -> None:
    harness.contributed(1)
    harness.chain.intrinsic_gas = 140_000
    harness.outbox.submit(reveal(task(1)))
    harness.outbox.submit(contribute(task(2)))

    assert kinds(harness.passes(6)) == [
        (task(1), ActionKind.REVEAL),
        (task(2), ActionKind.CONTRIBUTE),
    ]
    assert len(harness.chain.state.mined) == 3


def test_an_answer_that_is_lost_costs_no_second_transaction(harness: SequencedHarness) -> None:
    harness.contributed(1)
    harness.chain.loses_answers = True
    harness.outbox.submit(reveal(task(1)))

    assert kinds(harness.passes(4)) == [(task(1), ActionKind.REVEAL)]
    assert len(harness.chain.state.mined) == 2


def test_a_sequencer_that_is_away_gets_the_same_bytes_once_a_second(
    harness: SequencedHarness,
) -> None:
    harness.contributed(1)
    harness.chain.away = True
    harness.outbox.submit(reveal(task(1)))
    harness.passes(120)
    harness.chain.away = False

    assert kinds(harness.passes(6)) == [(task(1), ActionKind.REVEAL)]
    assert len(harness.signed) == 2


def test_a_late_nodes_answer_is_asked_for_again(harness: SequencedHarness) -> None:
    harness.contributed(1)
    harness.outbox.submit(reveal(task(1)))
    harness.passes(1)
    harness.chain.late = [True, False]

    assert kinds(harness.passes(1)) == [(task(1), ActionKind.REVEAL)]
    assert len(harness.chain.state.mined) == 2


def test_nothing_is_believed_of_nodes_that_are_all_late(harness: SequencedHarness) -> None:
    harness.contributed(1)
    harness.outbox.submit(reveal(task(1)))
    harness.passes(1)
    harness.chain.late = [True] * 60

    for _ in range(20):
        with pytest.raises(ChainError, match="and block"):
            harness.outbox.step()
        harness.uptime_s += 0.5
    assert len(harness.signed) == 2


def test_a_contribution_seen_twice_is_not_looked_at_any_more(harness: SequencedHarness) -> None:
    harness.contributed(1)
    harness.passes(30)

    assert harness.outbox.pace is Pace.IDLE


def test_a_restart_sends_the_same_bytes(harness: SequencedHarness) -> None:
    harness.contributed(1)
    harness.chain.away = True
    harness.outbox.submit(reveal(task(1)))
    harness.passes(1)
    harness.restart()
    harness.chain.away = False

    assert kinds(harness.passes(4)) == [(task(1), ActionKind.REVEAL)]
    assert len(harness.signed) == 2
