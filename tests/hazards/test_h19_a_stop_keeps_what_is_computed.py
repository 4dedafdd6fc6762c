"""H19: the shutdown deletes the folders of all tasks that are computed and not completed.

Ours deletes nothing on exit: the next start goes on with digest and archive.
"""

from __future__ import annotations

import shutil

import pytest

from iexworker.compute.folders import TaskFolder
from iexworker.procs.scheduling import Scheduling
from tests.hazards.helpers.hazard_check import shows_teeth
from tests.hazards.helpers.scheduling_process import Place, play


def scenario(place: Place) -> None:
    place.node.mines = False
    task = place.buy()
    place.start()
    place.comes_to(task, "CONTRIBUTING")
    place.stop()
    assert place.files(task.task_id).archive.is_file()
    place.node.mines = True
    place.start()
    place.completes(task)


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
    shows_teeth(lambda: play(scenario), upstream)
