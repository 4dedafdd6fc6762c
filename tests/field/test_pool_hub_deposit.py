"""What a start finds wrong with pool, hub and deposit, before any task is granted and failed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from iexworker.errors import ChainError
from iexworker.outbox.gas import PriceRule
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ZERO_BYTES32,
    ChainAccount,
    ChainConfiguration,
    ChainTask,
    Contribution,
    ContributionStatus,
    Head,
    Profile,
    TaskStatus,
    TaskView,
)
from iexworker.procs.context import SUPERVISOR, roles
from iexworker.scheduling.chain_gateway import ChainGateway
from iexworker.scheduling.probes import STAKE_PAUSE_S, StakeProbe
from iexworker.shared.board import Board
from iexworker.shared.facts import Facts
from iexworker.shared.ring import Ring
from iexworker.supervisor import report, status
from iexworker.task.journal import open_journal
from iexworker.task.replicate import Replicate
from iexworker.wallet import Wallet
from iexworker.web.worker_view import Source
from tests.hazards.helpers.scheduling_process import SchedulingProcess, run_scenario
from tests.helpers.fake_node import FakeNode, serving
from tests.helpers.task_descriptions import description

OTHER_POOL = "0x" + "77" * 20
HUB = "0x3eca1b216a7df1c7689aeb259ffb83adfb894e7f"
CONFIGURATION = ChainConfiguration(134, HUB, "http://unused", True, 1.0)
WALLET = Wallet(b"\7" * 32)


def facts_of(process: SchedulingProcess) -> Facts:
    return process.connection[0]._facts.read()


# The pool


def of_pool(process: SchedulingProcess, pool: str | None) -> SchedulingProcess:
    process.settings = dataclasses.replace(process.settings, pool_address=pool)
    return process


def test_another_pool_than_the_schedulers_is_found_at_the_start_and_no_work_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "iexworker")

    def scenario(process: SchedulingProcess) -> None:
        process.buy()
        of_pool(process, OTHER_POOL).start()
        theirs = str(process.pool.scheduler.configuration["workerPoolAddress"]).lower()
        process.until(
            lambda: bool(process.connection) and OTHER_POOL in facts_of(process).scheduler_text,
            lambda: facts_of(process).scheduler_text,
        )
        words = facts_of(process).scheduler_text
        assert theirs in words and "POOL_ADDRESS" in words
        process.until(lambda: process.core.calls["config"] >= 3, lambda: "asked again")
        assert words in facts_of(process).demand_text or not facts_of(process).demand_text
        assert not process.core.calls["available"]
        assert not process.core.calls["register"]

    run_scenario(scenario)
    told = [item for item in caplog.records if OTHER_POOL in str(vars(item))]
    assert [item.levelname for item in told if item.levelno > logging.INFO] == ["ERROR"]


def test_the_schedulers_own_pool_is_served_in_whatever_case_it_is_written() -> None:
    def scenario(process: SchedulingProcess) -> None:
        task = process.buy()
        ours = str(process.pool.scheduler.configuration["workerPoolAddress"]).lower()
        of_pool(process, ours).start()
        process.comes_to(task, "STARTING")

    run_scenario(scenario)


def test_a_scheduler_that_names_no_pool_is_not_judged() -> None:
    def scenario(process: SchedulingProcess) -> None:
        process.pool.scheduler.configuration["workerPoolAddress"] = ""
        task = process.buy()
        of_pool(process, OTHER_POOL).start()
        process.comes_to(task, "STARTING")

    run_scenario(scenario)


# The hub


@pytest.fixture
def gateway_of(tmp_path: Path) -> Callable[[FakeNode], ChainGateway]:
    def make(node: FakeNode) -> ChainGateway:
        open_journal(tmp_path / "journal.sqlite").close()
        node.set("eth_chainId", hex(CONFIGURATION.chain_id))
        block = {"hash": ZERO_BYTES32, "number": "0x0", "timestamp": "0x0"}
        node.set("eth_getBlockByNumber", block)
        node.set("web3_clientVersion", "fake")
        journal = tmp_path / "journal.sqlite"
        return ChainGateway(CONFIGURATION, node.url, WALLET, PriceRule(1.0, 0), None, journal)

    return make


@pytest.mark.parametrize("code", ["0x", "0x0", "", None])
def test_a_hub_without_contract_code_is_found_at_the_start(
    gateway_of: Callable[[FakeNode], ChainGateway], code: str | None
) -> None:
    with serving() as node:
        node.set("eth_getCode", code)
        with pytest.raises(ChainError) as caught:
            gateway_of(node).close()
    said = str(caught.value)
    assert HUB in said and "no contract" in said and "chain 134" in said
    assert "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS" in said
    assert "secret-key" not in said


def test_a_hub_with_contract_code_is_worked_with(
    gateway_of: Callable[[FakeNode], ChainGateway],
) -> None:
    with serving() as node:
        node.set("eth_getCode", "0x6080")
        gateway_of(node).close()
    asked = [post for post in node.posts if post["method"] == "eth_getCode"]
    assert [post["params"] for post in asked] == [[HUB, "latest"]]


def test_a_wrong_chain_is_told_without_the_nodes_key(
    gateway_of: Callable[[FakeNode], ChainGateway],
) -> None:
    with serving() as node:
        make = node.set

        def other(method: str, result: object) -> None:
            make(method, "0x5" if method == "eth_chainId" else result)

        node.set = other  # type: ignore[method-assign]  # the node of another chain
        with pytest.raises(ChainError, match="chain 5") as caught:
            gateway_of(node).close()
    assert "secret-key" not in str(caught.value)


# The deposit


class Purse:
    """A gateway that knows what the wallet has deposited."""

    def __init__(self, deposit_nrlc: int) -> None:
        self.key = SimpleNamespace(wallet=WALLET.address)
        self.deposit = deposit_nrlc
        self.locked = 0

    async def account(self) -> ChainAccount:
        return ChainAccount(self.deposit, self.locked)


class Watch:
    def __init__(self, deposit_nrlc: int) -> None:
        self.now_s = 1000.0
        self.purse = Purse(deposit_nrlc)
        self.board = Board.create((SUPERVISOR, *roles(1)))
        self.probe = StakeProbe(self.board.facts, cast(Any, self.purse), lambda: self.now_s)

    def look(self, after_s: float = 60.0) -> None:
        self.now_s += after_s
        asyncio.run(self.probe.look())

    def status(self) -> str:
        source = Source(self.board, Ring.create(1, 10), directory=Path("/"), clock=lambda: 0.0)
        return status.render(dict(report.report(source, (), 1)))


def test_a_low_deposit_is_a_warning_at_the_start_and_in_status_and_keeps_no_work_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "iexworker")
    watch = Watch(0)
    for _ in range(5):
        watch.look()
    (told,) = [item for item in caplog.records if item.levelno == logging.WARNING]
    assert "deposit" in str(vars(told)) and WALLET.address in str(vars(told))
    assert watch.probe.obstacle() == ""
    assert watch.board.facts.read().stake_text == ""
    (line,) = [line for line in watch.status().splitlines() if line.startswith("deposit")]
    assert "0 nRLC" in line and "STAKE_TOO_LOW" in line


def test_a_deposit_is_shown_in_status_and_its_warning_ends_with_it() -> None:
    watch = Watch(0)
    watch.look()
    watch.purse.deposit, watch.purse.locked = 12, 30
    watch.look()
    (line,) = [line for line in watch.status().splitlines() if line.startswith("deposit")]
    assert "12 nRLC" in line and "30" in line and "STAKE_TOO_LOW" not in line


def test_after_a_stake_too_low_no_work_is_asked_for_until_it_is_covered_or_ten_minutes() -> None:
    for ends in ("deposited", "waited"):
        watch = Watch(5)
        watch.look()
        watch.probe.want(7)
        assert "7 nRLC" in watch.probe.obstacle()
        watch.look(5.0)
        assert watch.probe.obstacle()
        if ends == "deposited":
            watch.purse.deposit = 7
            watch.look(5.0)
        else:
            watch.look(STAKE_PAUSE_S)
        assert watch.probe.obstacle() == ""


SCONE_TAG = "0x" + "00" * 31 + "03"


class OneView(ChainGateway):
    """Shows one task, active, to a wallet without a deposit."""

    def __init__(self) -> None:
        self._wallet = WALLET

    async def _read(self, call: object) -> Any:
        task = ChainTask(
            task_id=ZERO_BYTES32,
            status=TaskStatus.ACTIVE,
            deal_id=ZERO_BYTES32,
            index=0,
            time_reference_s=60,
            contribution_deadline_s=10**10,
            reveal_deadline_s=0,
            final_deadline_s=10**10,
            consensus=ZERO_BYTES32,
            reveal_counter=0,
            winner_counter=0,
            contributors=(),
            results="0x",
        )
        none = Contribution(ContributionStatus.UNSET, ZERO_BYTES32, ZERO_BYTES32, ZERO_ADDRESS)
        return TaskView(task, none, ChainAccount(0, 0), Head(1, 1))


@pytest.mark.parametrize("profile", list(Profile))
def test_a_task_that_ends_by_contribute_and_finalize_needs_no_deposit(profile: Profile) -> None:
    replicate = cast(Replicate, SimpleNamespace(task_id=ZERO_BYTES32, profile=profile))

    def causes(tag: str) -> tuple[str, ...]:
        task = description(
            tag=tag, trust=1, worker_stake=7, profile=profile.value, callback=ZERO_ADDRESS
        )
        assert task.finalizes_at_once is (tag == SCONE_TAG)
        return asyncio.run(OneView().contribution_obstacles(replicate, task))

    assert causes(SCONE_TAG) == ()
    assert causes(ZERO_BYTES32) == ("STAKE_TOO_LOW",)
