"""H26: a second post-compute fails because `computed.json` of the first is still there.

Ours empties the output before an app runs, and writes over what an interrupted run has left.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from iexworker.compute import output
from iexworker.compute.folders import TaskFolder
from iexworker.results import digest
from tests.hazards.helpers.hazard_check import Scenario, fails_only_upstreams_way
from tests.helpers import task_descriptions

TASK = task_descriptions.description()


def again() -> None:
    """Compute a task twice, with other results."""
    with tempfile.TemporaryDirectory() as folder:
        files = TaskFolder(Path(folder))
        for name in ("first", "second"):
            files.prepare_run()
            result = computed(files, name)
            assert result == digest.of_path(files.output, f"/iexec_out/{name}")
            assert [one.name for one in files.iexec_out.iterdir() if one.suffix == ""] == [name]


def after_a_crash() -> None:
    """Make the result of one app twice: the slot died before it could say so."""
    with tempfile.TemporaryDirectory() as folder:
        files = TaskFolder(Path(folder))
        files.prepare_run()
        assert computed(files, "only") == computed(files, "only")


def computed(files: TaskFolder, name: str) -> str:
    (files.iexec_out / name).write_text(name)
    path = {"deterministic-output-path": f"/iexec_out/{name}"}
    (files.iexec_out / "computed.json").write_text(json.dumps(path))
    try:
        return output.post_compute(files, TASK).digest
    except output.PostComputeFailed as failure:
        raise AssertionError(failure.cause) from failure


def upstream(patch: pytest.MonkeyPatch) -> None:
    def copy_once(files: TaskFolder) -> None:
        if files.computed_file.exists():
            raise output.PostComputeFailed(output.COPY_FAILED, "the file exists")
        copy(files)

    copy = output._copy_computed_file

    def leave_as_it_is(files: TaskFolder) -> None:
        files.iexec_out.mkdir(parents=True, exist_ok=True)

    patch.setattr(output, "_copy_computed_file", copy_once)
    patch.setattr(TaskFolder, "prepare_output", leave_as_it_is)


@pytest.mark.parametrize("scenario", [again, after_a_crash])
def test_a_result_can_be_made_twice(scenario: Scenario) -> None:
    fails_only_upstreams_way(scenario, upstream)
