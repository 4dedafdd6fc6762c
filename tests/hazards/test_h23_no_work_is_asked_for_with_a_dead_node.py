"""H23: the block number of the poller never expires: work is asked for while the node is dead.

Ours stops to ask when the node fails, and when it gives no new block for a minute.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from iexworker.core.messages import Grant
from iexworker.procs.context import roles
from iexworker.scheduling.demand import Demand, Market
from iexworker.scheduling.gas_probe import GasProbe
from iexworker.scheduling.probes import ChainProbe
from iexworker.shared import thresholds
from iexworker.shared.board import Board
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import (
    POLL_S,
    Scenario,
    SchedulingHarness,
    run_scenario,
)


class Market9x:
    """A demand loop behind the probe, and its requests."""

    def __init__(self, harness: SchedulingHarness) -> None:
        facts = Board.create(roles(1)).facts
        self.probe = ChainProbe(facts, harness.gateway, GasProbe(facts, harness.gateway))
        self.requests = 0

    async def watch(self, seconds: float) -> int:
        """Return how often work is asked for."""
        before = self.requests
        market = Market(
            busy=lambda: "",
            obstacles=(self.probe.obstacle,),
            period_s=lambda: POLL_S,
            ask=self._ask,
            take=lambda _: None,
            report=lambda *_: None,
            pass_on=lambda: None,
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(Demand(market).run(), seconds)
        return self.requests - before

    async def _ask(self) -> Grant | None:
        self.requests += 1
        return None


async def node_fails(harness: SchedulingHarness) -> None:
    demand = Market9x(harness)
    await demand.probe.look()
    assert await demand.watch(0.1)
    harness.node.trouble = "connection refused"
    await demand.probe.look()
    assert not await demand.watch(0.1)


async def node_stands_still(harness: SchedulingHarness) -> None:
    demand = Market9x(harness)
    await demand.probe.look()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "HEAD_FRESH_S", 0.05)
        await harness.rest(0.1)
        await demand.probe.look()
        assert not await demand.watch(0.1)


def upstream(patch: pytest.MonkeyPatch) -> None:
    def ever_seen(self: ChainProbe) -> str:
        return "" if self.block_number else "no block yet"

    patch.setattr(ChainProbe, "obstacle", ever_seen)


@pytest.mark.parametrize(
    "scenario",
    [node_fails, node_stands_still],
)
def test_a_node_that_is_not_alive_stops_the_demand(scenario: Scenario) -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
