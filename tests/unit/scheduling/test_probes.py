from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from iexworker.errors import ChainError
from iexworker.poco.models import ChainAccount
from iexworker.procs.context import roles
from iexworker.scheduling.probes import STAKE_PAUSE_S, StakeProbe
from iexworker.shared.board import Board


class Purse:
    """A gateway that knows what the wallet has deposited."""

    def __init__(self) -> None:
        self.key = SimpleNamespace(wallet="0xme")
        self.deposit = 5
        self.trouble: Exception | None = None

    async def account(self) -> ChainAccount:
        if self.trouble is not None:
            raise self.trouble
        return ChainAccount(self.deposit, locked=0)


class Watch:
    def __init__(self) -> None:
        self.now_s = 50.0
        self.purse = Purse()
        self.facts = Board.create(roles(1)).facts
        self.probe = StakeProbe(self.facts, cast(Any, self.purse), lambda: self.now_s)

    def look(self) -> None:
        asyncio.run(self.probe.look())


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_nothing_stands_in_the_way_before_a_deposit_was_too_low(watch: Watch) -> None:
    watch.look()
    assert watch.probe.obstacle() == watch.facts.read().stake_text == ""


def test_a_deposit_that_is_too_low_keeps_work_away_at_once_and_says_what_to_do(
    watch: Watch,
) -> None:
    watch.probe.want(7)
    words = watch.probe.obstacle()
    assert "0xme does not cover the 7 nRLC" in words
    assert "deposit more" in words
    assert watch.facts.read().stake_text == words


def test_work_is_asked_for_again_once_the_deposit_covers_it(watch: Watch) -> None:
    watch.probe.want(7)
    watch.look()
    assert watch.probe.obstacle()
    watch.purse.deposit = 7
    watch.look()
    assert watch.probe.obstacle() == watch.facts.read().stake_text == ""


@pytest.mark.parametrize("trouble", [None, ChainError("no node")])
def test_after_ten_minutes_another_task_is_tried(watch: Watch, trouble: ChainError | None) -> None:
    watch.probe.want(7)
    watch.purse.trouble = trouble
    watch.look()
    watch.now_s += STAKE_PAUSE_S
    watch.look()
    assert watch.probe.obstacle()
    watch.now_s += 1
    watch.look()
    assert watch.probe.obstacle() == ""
