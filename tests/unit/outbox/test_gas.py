from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iexworker.outbox import gas
from iexworker.outbox.gas import PriceRule

GWEI = 10**9
prices = st.integers(0, 10**12)
rules = st.builds(PriceRule, st.floats(0, 10, width=32), prices)


@given(rules, st.none() | st.integers(-1, 2**256))
def test_a_price_is_never_above_the_cap(rule: PriceRule, network_wei: int | None) -> None:
    assert 0 <= rule.price_wei(network_wei) <= rule.cap_wei


@given(rules, prices, st.none() | prices)
def test_a_replacement_pays_an_eighth_more_or_is_none(
    rule: PriceRule, old_wei: int, network_wei: int | None
) -> None:
    new_wei = rule.replacement_wei(old_wei, network_wei)

    if new_wei is None:
        assert old_wei + 1 > rule.cap_wei or old_wei * 9 > rule.cap_wei * 8
    else:
        assert old_wei < new_wei <= rule.cap_wei
        assert new_wei * 8 >= old_wei * 9


def test_a_replacement_follows_a_network_that_became_dearer() -> None:
    assert PriceRule(1.0, 10**9).replacement_wei(10, 5_000) == 5_000


def test_a_replacement_reaches_the_network_s_price_whatever_the_multiplier() -> None:
    assert PriceRule(0.0, 10**9).replacement_wei(0, 5_000) == 5_000


def test_a_replacement_may_cost_as_much_as_the_cap() -> None:
    assert PriceRule(1.0, 9).replacement_wei(8, 1) == 9
    assert PriceRule(1.0, 8).replacement_wei(8, 1) is None


def test_nothing_is_replaced_on_a_chain_without_prices() -> None:
    assert PriceRule(0.0, 0).replacement_wei(0, 10**9) is None


def test_a_cap_of_zero_makes_any_balance_enough() -> None:
    assert gas.reserve(0, 0, sidechain=False) == gas.GasReserve(True, "unlimited")


@pytest.mark.parametrize(("profile", "limit"), [("8", 3_000_000), ("9", 300_000)])
def test_finalizing_at_once_has_the_gas_limit_of_the_profile(profile: str, limit: int) -> None:
    assert gas.finalize_gas(profile, 100_000, 200_000) == limit


def test_a_contribution_and_its_reveal_are_wanted_at_twice_the_base_fee_with_a_quarter_more() -> (
    None
):
    found = gas.funds(PriceRule(1.3, 22 * GWEI), 10**16, GWEI // 50, GWEI // 50)

    assert found.price_wei == GWEI // 25
    assert found.wanted_wei == 600_000 * GWEI // 25 * 5 // 4
    assert found.enough
    assert found.balance_wei // found.wanted_wei == 333


def test_what_is_under_way_is_wanted_besides() -> None:
    rule = PriceRule(1.0, 100)

    assert gas.funds(rule, 75_000_000, 100, None).enough
    assert not gas.funds(rule, 75_000_000, 100, None, owed_gas=gas.REVEAL_GAS).enough


def test_a_price_that_is_not_known_is_the_cap() -> None:
    assert gas.funds(PriceRule(1.3, 100), 0, None, None).price_wei == 100
