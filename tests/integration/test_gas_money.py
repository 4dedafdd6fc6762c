"""What gas costs on a real node with a base fee, and what the wallet is judged by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from iexworker.outbox.actions import ActionMined
from iexworker.scheduling.chain_gateway import ChainGateway
from iexworker.task.journal import JOURNAL_NAME, open_journal
from tests.integration.helpers.anvil_chain import PAID, Anvil, OutboxWorker, anvil

pytestmark = pytest.mark.chain

BASE_FEE = 20_000_000
POOR_WEI = 10**16
"""A hundredth of an ether: upstream's rule asks for more than twice as much."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    with anvil(tmp_path_factory.mktemp("fees"), "9") as found:
        yield found


def test_a_hundredth_of_an_ether_contributes_and_reveals_and_every_wei_of_it_is_counted(
    chain: Anvil, tmp_path: Path
) -> None:
    worker = OutboxWorker(chain, "worker1", tmp_path / "outbox.sqlite", PAID)
    task_id = chain.task()
    wallet = worker.wallet.address
    chain.ask("anvil_setBalance", wallet, hex(POOR_WEI))
    costs_wei = []
    for make in (worker.contribute, worker.reveal):
        chain.ask("anvil_setNextBlockBaseFeePerGas", hex(BASE_FEE))
        worker.outbox.submit(make(task_id))
        (mined,) = worker.turn()
        assert isinstance(mined, ActionMined)
        assert mined.gas_used is not None
        assert mined.cost_wei is not None
        # This node takes a tip: never more than the price that was offered.
        assert mined.gas_used * BASE_FEE <= mined.cost_wei
        costs_wei.append(mined.cost_wei)
    left_wei, _, _ = worker.hub.purse()
    assert POOR_WEI - left_wei == sum(costs_wei) == worker.outbox.tally.spent_wei


def test_the_wallet_is_judged_by_the_price_of_now(chain: Anvil, tmp_path: Path) -> None:
    wallet = chain.wallet("worker2")
    path = tmp_path / JOURNAL_NAME
    open_journal(path).close()
    chain.ask("anvil_setBalance", wallet.address, hex(POOR_WEI))
    chain.ask("anvil_setNextBlockBaseFeePerGas", hex(BASE_FEE))
    chain.mine()
    with_fees = replace(chain.configuration, sidechain=False)
    gateway = ChainGateway(with_fees, chain.url, wallet, PAID, None, path)
    try:
        found = asyncio.run(gateway.gas_funds())
        assert found is not None
        assert (found.balance_wei, found.base_fee_wei) == (POOR_WEI, BASE_FEE)
        assert 2 * BASE_FEE <= found.price_wei <= PAID.cap_wei
        assert asyncio.run(gateway.enough_gas()) is found.enough
    finally:
        gateway.close()
