"""H1: work is asked for before recovery is done, and the boot deletes what it has not recovered.

Ours asks when recovery is over, and no start deletes a folder for not knowing it.
"""

from __future__ import annotations

import asyncio
import shutil
import time

import pytest

from iexworker.scheduling.task_loop import TaskLoop
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way, patience_s
from tests.hazards.helpers.scheduling_process import (
    Containers,
    Scenario,
    SchedulingProcess,
    run_scenario,
)

SLOW_S = 0.5


def slow_recovery(process: SchedulingProcess) -> None:
    first = process.buy(1)
    process.held.add("compute")
    process.start()
    process.comes_to(first, "COMPUTING")
    process.stop()
    process.held.clear()
    second = process.buy(2)
    granted: list[bool] = []

    def recover_slowly() -> None:
        time.sleep(SLOW_S)
        granted.append(bool(process.statuses(second)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Containers, "reconciling", staticmethod(recover_slowly))
        process.start()
        process.completes(first)
        process.completes(second)
    assert granted == [False], "a task was granted before recovery was done"


def unknown_folder(process: SchedulingProcess) -> None:
    task = process.buy()
    kept = process.files("0x" + "ab" * 32).root / "result"
    kept.parent.mkdir()
    kept.touch()
    process.start()
    process.completes(task)
    assert kept.exists()


def upstream(patch: pytest.MonkeyPatch) -> None:
    run = TaskLoop.run

    async def boot(self: TaskLoop) -> None:
        """Ask for work, delete what is not in the journal, then recover."""
        recovered = self._parts.journal.task_ids()
        self._chain_probe.block_number = 1
        until_s = time.monotonic() + patience_s()
        grant = None
        while grant is None and time.monotonic() < until_s:
            await asyncio.sleep(0.1)
            grant = await self._ask() if self._connection.allowed.is_set() else None
        if grant is not None:
            self._take(grant)
        for folder in self._parts.settings.root.glob("0x*"):
            if folder.name not in recovered:
                shutil.rmtree(folder, ignore_errors=True)
        await run(self)

    patch.setattr(TaskLoop, "run", boot)


@pytest.mark.parametrize(
    "scenario",
    [slow_recovery, unknown_folder],
)
def test_a_start_recovers_first_and_deletes_nothing(scenario: Scenario) -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario, slots=2), upstream)
