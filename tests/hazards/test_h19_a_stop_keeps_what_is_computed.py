"""H19: the shutdown deletes the folders of all tasks that are computed and not completed.

Ours deletes nothing on exit: the next start goes on with digest and archive.
"""

from __future__ import annotations

import shutil

import pytest

from iexworker.compute.folders import TaskFolder
from iexworker.procs.scheduling import Scheduling
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_process import SchedulingProcess, run_scenario


def scenario(process: SchedulingProcess) -> None:
    process.node.mines = False
    task = process.buy()
    process.start()
    process.comes_to(task, "CONTRIBUTING")
    process.stop()
    assert process.files(task.task_id).archive.is_file()
    process.node.mines = True
    process.start()
    process.completes(task)


def upstream(patch: pytest.MonkeyPatch) -> None:
    serve = Scheduling.serve

    async def serve_and_purge(self: Scheduling) -> None:
        await serve(self)
        root = self._context.settings.root
        for folder in root.glob("0x*"):
            if TaskFolder(folder).archive.exists():
                shutil.rmtree(folder)

    patch.setattr(Scheduling, "serve", serve_and_purge)


def test_a_task_stopped_after_its_computation_completes_with_that_result() -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
