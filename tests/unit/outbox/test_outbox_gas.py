"""Gas limits of transactions, and what follows when one was too low (docs/spec/11, 1.4)."""

from __future__ import annotations

import pytest

from iexworker.outbox import gas
from iexworker.outbox.actions import ActionFailed, ActionMined
from iexworker.poco.models import ActionKind
from tests.helpers.fake_chain import contribute, reveal, task
from tests.unit.helpers.outbox_harness import OutboxHarness

pytest_plugins = ["tests.unit.helpers.outbox_harness"]


def limits(harness: OutboxHarness) -> list[int]:
    return [sent.gas_limit for sent in harness.signed]


@pytest.mark.parametrize(
    ("constant", "estimate", "too_little", "limit"),
    [
        (100_000, None, (), 100_000),
        (100_000, 60_000, (), 100_000),
        (100_000, 93_501, (), 116_877),
        (500_000, 417_035, (), 521_294),
        (100_000, 93_500, (200_000,), 300_000),
        (100_000, 2**60, (), gas.MOST_GAS),
    ],
)
def test_the_limit_is_the_larger_of_the_constant_and_the_estimate_with_a_quarter_more(
    constant: int, estimate: int | None, too_little: tuple[int, ...], limit: int
) -> None:
    assert gas.limit(constant, estimate, too_little) == limit


def test_a_transaction_is_signed_with_what_the_node_estimates(harness: OutboxHarness) -> None:
    harness.chain.estimate = 800_000
    harness.outbox.submit(contribute(task(1)))

    assert [type(one) for one in harness.turn()] == [ActionMined]
    assert limits(harness) == [1_000_000]


def test_a_limit_that_the_node_refuses_is_raised_at_the_same_nonce_until_it_is_taken(
    harness: OutboxHarness,
) -> None:
    harness.chain.intrinsic_gas = 1_500_000
    harness.outbox.submit(contribute(task(1)))

    for _ in range(4):
        harness.outbox.step()
    assert [type(one) for one in harness.turn()] == [ActionMined]

    assert limits(harness) == [500_000, 750_000, 1_125_000, 1_687_500]
    assert {sent.nonce for sent in harness.signed} == {0}


def test_a_refused_limit_holds_up_no_other_action(harness: OutboxHarness) -> None:
    harness.chain.revealing.add(task(1))
    harness.outbox.submit(contribute(task(1)))
    harness.turn()
    harness.chain.intrinsic_gas = 140_000
    harness.outbox.submit(reveal(task(1)))
    harness.outbox.submit(contribute(task(2)))

    results = harness.turn(3)

    assert {(one.kind, type(one)) for one in results} == {
        (ActionKind.REVEAL, ActionMined),
        (ActionKind.CONTRIBUTE, ActionMined),
    }


def test_what_ran_out_of_gas_is_signed_anew_with_more_and_at_once(harness: OutboxHarness) -> None:
    harness.chain.revealing.add(task(1))
    harness.outbox.submit(contribute(task(1)))
    harness.turn()
    harness.chain.needed_gas = 130_000
    harness.outbox.submit(reveal(task(1)))

    results = harness.turn(2)

    assert [type(one) for one in results] == [ActionMined]
    assert limits(harness)[1:] == [100_000, 150_000]


def test_a_raised_l1_price_between_contribute_and_reveal_costs_one_transaction_more_at_the_most(
    harness: OutboxHarness,
) -> None:
    harness.chain.revealing.add(task(1))
    harness.outbox.submit(contribute(task(1)))
    harness.turn()
    harness.chain.intrinsic_gas, harness.chain.needed_gas = 900_000, 950_000
    harness.chain.estimate = 940_000
    harness.outbox.submit(reveal(task(1)))

    assert [type(one) for one in harness.turn()] == [ActionMined]
    assert limits(harness)[1:] == [1_175_000]


def test_a_contribution_that_runs_out_of_gas_again_and_again_is_given_up(
    harness: OutboxHarness,
) -> None:
    harness.chain.needed_gas = gas.MOST_GAS + 1
    harness.outbox.submit(contribute(task(1)))

    (failed,) = harness.turn(10)

    assert isinstance(failed, ActionFailed)
    assert failed.text == "out of gas, 6 times"
    assert limits(harness) == [500_000, 750_000, 1_125_000, 1_687_500, 2_531_250, 3_796_875]


def test_a_refusal_for_gas_is_met_by_a_new_process_too(harness: OutboxHarness) -> None:
    harness.chain.intrinsic_gas = 600_000
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.restart()

    results = [*harness.outbox.step(), *harness.turn(2)]

    assert [type(one) for one in results] == [ActionMined]
    assert {sent.nonce for sent in harness.signed} == {0}


def test_what_was_mined_is_counted_with_its_cost_whether_it_had_an_effect_or_not(
    harness: OutboxHarness,
) -> None:
    harness.chain.needed_gas = 600_000
    harness.outbox.submit(contribute(task(1)))

    (mined,) = harness.turn(3)

    assert isinstance(mined, ActionMined)
    first, second = harness.signed
    assert mined.cost_wei == 21_000 * second.price_wei > 0
    assert harness.outbox.tally.spent_wei == first.gas_limit * first.price_wei + mined.cost_wei
    harness.turn(3)
    assert harness.outbox.tally.spent_wei == first.gas_limit * first.price_wei + mined.cost_wei
