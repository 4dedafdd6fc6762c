"""H28: apps write as root; a worker that is not root cannot delete that, and answers nothing.

Ours makes the folders itself, deletes what it may, and answers in any case. (The unit file and
the image run it as root, so that nothing stays.)
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iexworker.compute import folders
from iexworker.compute.folders import TaskFolder
from iexworker.sandbox.scheduler.models import Task
from iexworker.scheduling.effects import EffectExecutor
from iexworker.task.events import DoStep, StepDone
from iexworker.task.replicate import Replicate, Step
from tests.hazards.helpers.hazard_check import Upstream, fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import SchedulingHarness, run_scenario

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody else for a while")


@contextlib.contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Be a worker that is not root, whose folder this is."""
    for path in (folder, *folder.rglob("*")):
        if path.name != "roots":
            os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def scenario(harness: SchedulingHarness) -> None:
    harness.held.add("compute")
    task = harness.grant()
    await harness.computes(task)
    files = TaskFolder(harness.folder_of(task.task_id))
    files.prepare_run()
    files.archive.write_bytes(b"a large archive")
    (files.iexec_out / "ours").mkdir()
    (files.iexec_out / "ours" / "large").write_bytes(b"a large result")
    leave_as_root(files.iexec_out / "roots")
    with as_nobody(harness.folder):
        await aborted(harness, task)
    left = [path for path in files.root.rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["file"]


def leave_as_root(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    (folder / "file").write_text("of the container")


async def aborted(harness: SchedulingHarness, task: Task) -> None:
    harness.push_abort(task)
    await harness.comes_to(task, "ABORTED")
    await harness.forgets(task)


def answers_nothing(patch: pytest.MonkeyPatch) -> None:
    purge = EffectExecutor._purge

    async def only_when_gone(
        self: EffectExecutor, replicate: Replicate, effect: DoStep
    ) -> StepDone | None:
        done = await purge(self, replicate, effect)
        return done if done.ok or effect.step is Step.COMPLETE else None

    patch.setattr(EffectExecutor, "_purge", only_when_gone)


def stops_at_the_first(patch: pytest.MonkeyPatch) -> None:
    def attempt(_: object, action: Callable[..., object], *arguments: object) -> bool:
        action(*arguments)
        return True

    patch.setattr(folders._Removal, "attempt", attempt)


@pytest.mark.parametrize("upstream", [answers_nothing, stops_at_the_first])
def test_an_abort_is_answered_and_what_is_ours_is_deleted(upstream: Upstream) -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario), upstream)
