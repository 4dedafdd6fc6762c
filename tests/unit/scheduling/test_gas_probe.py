from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from iexworker.outbox.gas import CONTRIBUTE_GAS, REVEAL_GAS, GasFunds, PriceRule, funds
from iexworker.procs.context import roles
from iexworker.scheduling.gas_probe import MONEY_EVERY_S, NO_GRANT_S, GasProbe, gas_owed
from iexworker.shared.board import Board
from iexworker.shared.facts import Facts
from iexworker.task.replicate import Step, Work
from tests.helpers.lifecycle_driver import LifecycleDriver

GWEI = 10**9
BASE_FEE = GWEI // 50
RULE = PriceRule(1.3, 22 * GWEI)


class Purse:
    """A gateway of a chain with fees, which knows what the wallet holds."""

    def __init__(self) -> None:
        self.key = SimpleNamespace(wallet="0xme")
        self.rule = RULE
        self.balance_wei = 10**18
        self.free = False
        self.reads = 0

    async def gas_funds(self, owed_gas: int = 0) -> GasFunds | None:
        self.reads += 1
        if self.free:
            return None
        return funds(self.rule, self.balance_wei, BASE_FEE, BASE_FEE, owed_gas)


class Watch:
    def __init__(self) -> None:
        self.now_s = 50.0
        self.owed_gas = 0
        self.purse = Purse()
        self.board = Board.create(roles(1)).facts
        self.probe = GasProbe(
            self.board, cast(Any, self.purse), lambda: self.owed_gas, lambda: self.now_s
        )

    def look(self, base_fee_wei: int | None = BASE_FEE) -> str:
        return asyncio.run(self.probe.look(base_fee_wei))

    @property
    def facts(self) -> Facts:
        return self.board.read()


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_where_transactions_are_free_nothing_is_said(watch: Watch) -> None:
    watch.purse.free = True
    watch.purse.rule = PriceRule(1.0, 0)
    assert watch.look() == ""
    assert watch.facts.balance_wei is None


def test_a_hundredth_of_an_ether_is_enough_and_a_scheduler_s_view_is_only_a_note(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.purse.balance_wei = 10**16
    assert watch.look() == watch.look() == ""
    facts = watch.facts
    assert (facts.balance_wei, facts.gas_wanted_wei) == (10**16, 600_000 * 2 * BASE_FEE * 5 // 4)
    assert "600000 gas" in facts.gas_wanted_text
    assert "0.04 gwei (twice the base fee)" in facts.gas_wanted_text
    assert "default cap refuses this wallet below 0.022 ether (1,000,000 x 22 gwei)" in (
        facts.gas_note
    )
    assert caplog.messages == ["gas money is low"]


def test_too_little_for_a_contribution_and_its_reveal_keeps_work_away_in_words(
    watch: Watch,
) -> None:
    watch.purse.balance_wei = 10**13
    words = watch.look()
    assert "wallet 0xme has 0.00001 ether for gas, 0.00003 ether wanted" in words
    assert words.endswith("send it gas money")
    watch.purse.balance_wei = 3 * 10**13
    assert watch.look() == ""


def test_what_is_under_way_is_to_be_paid_too(watch: Watch) -> None:
    watch.purse.balance_wei = 3 * 10**13
    watch.owed_gas = REVEAL_GAS
    assert "700000 gas" in watch.look()


def test_the_setting_that_makes_the_price_is_named(watch: Watch) -> None:
    watch.purse.rule = PriceRule(1.3, BASE_FEE)
    watch.look()
    assert "(IEXEC_GAS_PRICE_CAP)" in watch.facts.gas_wanted_text
    watch.purse.rule = PriceRule(3.0, GWEI)
    watch.now_s += MONEY_EVERY_S
    watch.look()
    assert "IEXEC_GAS_PRICE_MULTIPLIER" in watch.facts.gas_wanted_text


def test_a_cap_of_zero_on_a_chain_with_fees_keeps_work_away_and_names_the_setting(
    watch: Watch,
) -> None:
    watch.purse.rule = PriceRule(1.3, 0)
    words = watch.look()
    assert words.startswith("IEXEC_GAS_PRICE_CAP=0 is for chains where transactions are free")
    assert "for example 22000000000" in words


def test_a_cap_below_the_base_fee_is_said_with_both_numbers(watch: Watch) -> None:
    watch.purse.rule = PriceRule(1.3, GWEI // 100)
    words = watch.look(BASE_FEE)
    assert "IEXEC_GAS_PRICE_CAP of 0.01 gwei is below the chain's base fee of 0.02 gwei" in words
    assert watch.look(GWEI // 100) == ""


def test_a_full_purse_is_read_now_and_then_and_the_cap_is_compared_at_every_look(
    watch: Watch,
) -> None:
    watch.look()
    watch.now_s += MONEY_EVERY_S - 1
    assert "below the chain's base fee" in watch.look(23 * GWEI)
    assert watch.purse.reads == 1
    watch.now_s += 1
    watch.look()
    assert watch.purse.reads == 2


def test_a_scheduler_that_grants_a_poor_wallet_nothing_for_long_is_explained_once(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.purse.balance_wei = 10**16
    watch.probe.answered(granted=False)
    watch.now_s += NO_GRANT_S
    watch.probe.answered(granted=False)
    watch.look()
    assert "nothing was granted" not in watch.facts.gas_note
    caplog.clear()
    for _ in range(3):
        watch.now_s += 1
        watch.probe.answered(granted=False)
        watch.look()
    assert "nothing was granted for 10 minutes and the wallet has 0.01 ether" in (
        watch.facts.gas_note
    )
    assert caplog.messages == ["no task for long"]
    watch.probe.answered(granted=True)
    watch.look()
    assert "nothing was granted" not in watch.facts.gas_note


def test_a_time_in_which_nobody_asks_is_not_spent_in_vain(watch: Watch) -> None:
    watch.purse.balance_wei = 10**16
    watch.probe.answered(granted=False)
    watch.now_s += 2 * NO_GRANT_S
    watch.look()
    watch.probe.answered(granted=False)
    watch.look()
    assert "nothing was granted" not in watch.facts.gas_note


def test_a_wallet_that_is_not_poor_waits_without_a_word(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watch.probe.answered(granted=False)
    for _ in range(4):
        watch.now_s += NO_GRANT_S / 2
        watch.probe.answered(granted=False)
    assert watch.look() == watch.facts.gas_note == ""
    assert caplog.messages == []


def test_a_task_owes_the_gas_of_what_it_has_yet_to_send() -> None:
    fresh = LifecycleDriver().now
    contributed = replace(fresh, step=Step.REVEAL, staked=True)
    assert gas_owed(fresh) == CONTRIBUTE_GAS + REVEAL_GAS
    assert gas_owed(contributed) == REVEAL_GAS
    assert gas_owed(replace(contributed, revealed=True)) == 0
    assert gas_owed(replace(fresh, work=Work.FAILED)) == 0
