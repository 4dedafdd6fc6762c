"""H20: an update that fails is sent again at once: thousands of requests a minute.

Ours pauses, from one second to half a minute.
"""

from __future__ import annotations

import itertools

import pytest

from iexworker import retry
from iexworker.scheduling import status_updates
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import Scenario, SchedulingHarness, run_scenario

WATCHED_S = 0.4


async def an_outage(harness: SchedulingHarness) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "FIRST_PAUSE_S", 1.0)  # as outside of tests
        harness.scheduler_trouble = "503"
        harness.grant()
        await harness.until(lambda: bool(harness.posts), "the first try")
        await harness.rest(WATCHED_S)
        assert len(harness.posts) == 1


async def longer_and_longer(harness: SchedulingHarness) -> None:
    pauses = list(itertools.islice(retry.pauses(), 20))
    assert sorted(pauses)[0] >= 0.8 * retry.FIRST_PAUSE_S
    assert pauses[-1] >= 0.8 * retry.LONGEST_PAUSE_S
    assert len(set(pauses)) == len(pauses), "all workers of a pool would come at the same moment"


def upstream(patch: pytest.MonkeyPatch) -> None:
    for module in (status_updates, retry):
        patch.setattr(module, "pauses", lambda: itertools.repeat(0.0))


@pytest.mark.parametrize("scenario", [an_outage, longer_and_longer])
def test_an_outage_of_the_scheduler_is_no_flood(scenario: Scenario) -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
