"""H1: work is asked for before recovery is done, and the boot deletes what it has not recovered.

Ours asks when recovery is over, and no start deletes a folder for not knowing it.
"""

from __future__ import annotations

import asyncio
import shutil
import time

import pytest

from iexworker.scheduling.task_loop import TaskLoop
from tests.hazards.helpers.hazard_check import patience_s, shows_teeth
from tests.hazards.helpers.scheduling_process import Containers, Place, Scenario, play

SLOW_S = 0.5


def slow_recovery(place: Place) -> None:
    first = place.buy(1)
    place.held.add("compute")
    place.start()
    place.comes_to(first, "COMPUTING")
    place.stop()
    place.held.clear()
    second = place.buy(2)
    granted: list[bool] = []

    def recover_slowly() -> None:
        time.sleep(SLOW_S)
        granted.append(bool(place.statuses(second)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Containers, "reconciling", staticmethod(recover_slowly))
        place.start()
        place.completes(first)
        place.completes(second)
    assert granted == [False], "a task was granted before recovery was done"


def unknown_folder(place: Place) -> None:
    task = place.buy()
    kept = place.files("0x" + "ab" * 32).root / "result"
    kept.parent.mkdir()
    kept.touch()
    place.start()
    place.completes(task)
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
    shows_teeth(lambda: play(scenario, slots=2), upstream)
