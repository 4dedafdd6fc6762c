"""H25: `GET /replicates/interrupted`, asked while a reveal of ours is unreported, records
`RECOVERING` over it: the task stands still until its final deadline.

Ours asks only when a grant is lost, and then not before everything is acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable
from unittest.mock import patch

import pytest

from iexworker.recovery import lost_grants
from iexworker.sandbox.scheduler.models import Task
from iexworker.task.replicate import Replicate
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_process import SchedulingProcess, run_scenario
from tests.helpers.sandbox_pool import ALICE, Pool

LOOKS = 2
"""How often it is looked whether to ask is harmless, before we believe that it waits."""


def scenario(process: SchedulingProcess) -> None:
    looks = 0
    is_quiet = lost_grants.quiet

    def quiet(replicates: Iterable[Replicate]) -> bool:
        nonlocal looks
        looks += 1
        return is_quiet(replicates)

    with patch.object(lost_grants, "quiet", quiet):
        revealed, lost = reveal_unreported_and_grant_lost(process)
        process.until(
            lambda: looks >= LOOKS or "interrupted" in process.core.calls,
            lambda: "looks for interrupted work",
        )
    assert "interrupted" not in process.core.calls, "asked while a reveal was unreported"
    process.core.unavailable.clear()
    process.completes(revealed)
    process.completes(lost)
    assert process.core.calls["interrupted"] == 1


def reveal_unreported_and_grant_lost(process: SchedulingProcess) -> tuple[Task, Task]:
    """Bring one task to a reveal that is mined and unreported; then lose the answer of a grant."""
    process.core.unavailable.add("REVEALED")
    revealed = process.buy(1)
    process.start()
    process.until(lambda: process.pool.chain.tasks[revealed.task_id].reveals == 1, lambda: "reveal")
    process.core.loses_grants = True
    lost = process.buy(2)
    process.comes_to(lost, "CREATED")
    process.core.loses_grants = False
    return revealed, lost


def upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_grants, "quiet", lambda _: True)


def test_interrupted_work_is_asked_for_when_it_does_no_harm() -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario, slots=2), upstream)


def test_a_reveal_that_recovering_hides_holds_its_task() -> None:
    pool = Pool()
    task = pool.task_at("REVEALING")
    pool.chain.reveal(task.task_id, ALICE)
    pool.scheduler.interrupted(ALICE, pool.chain.block)
    pool.must_tell(task, ALICE, "RESULT_UPLOADING")
    pool.results.tasks.add(task.task_id)
    pool.must_tell(task, ALICE, "RESULT_UPLOADED", "COMPLETING", "COMPLETED")
    pool.pass_time(100, pinging=(ALICE,))
    assert task.status.value == "CONSENSUS_REACHED"
