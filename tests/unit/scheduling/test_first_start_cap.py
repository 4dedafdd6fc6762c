"""A cap of 0 where there are fees: an error of the settings, unless a task is at stake."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from iexworker.errors import EXIT_CONFIG, SettingsError
from iexworker.procs.context import roles
from iexworker.scheduling.service import Service
from iexworker.shared.board import Board


def _weigh(*, cap_wei: int, sidechain: bool, tasks: int = 0, block: int | None = None) -> None:
    facts = Board.create(roles(1)).facts
    facts.set(last_block=block)
    settings = SimpleNamespace(
        gas_price_multiplier=1.3, gas_price_cap_wei=cap_wei, reveal_may_pass_cap=False
    )
    journal = SimpleNamespace(all_replicates=lambda: [object()] * tasks)
    parts = SimpleNamespace(settings=settings, facts=facts, journal=journal)
    service = Service(cast(Any, parts), cast(Any, None), fail_fast=False)
    service._weigh_cap(cast(Any, SimpleNamespace(chain=SimpleNamespace(sidechain=sidechain))))


def test_a_first_start_with_an_empty_journal_ends_in_words() -> None:
    with pytest.raises(SettingsError, match="IEXEC_GAS_PRICE_CAP=0 is for chains where") as found:
        _weigh(cap_wei=0, sidechain=False)
    assert found.value.exit_code == EXIT_CONFIG


@pytest.mark.parametrize(
    "otherwise",
    [
        {"cap_wei": 0, "sidechain": True},
        {"cap_wei": 1, "sidechain": False},
        {"cap_wei": 0, "sidechain": False, "tasks": 1},
        {"cap_wei": 0, "sidechain": False, "block": 7},
    ],
    ids=["free", "a cap", "a task in the journal", "a later life"],
)
def test_otherwise_the_worker_starts(otherwise: dict[str, Any]) -> None:
    _weigh(**otherwise)
