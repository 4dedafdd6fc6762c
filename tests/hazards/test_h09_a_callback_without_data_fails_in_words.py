"""H9: the digest of a callback task without callback data raises, and the replicate hangs.

Ours is a failure with a cause that the scheduler answers with an abort; an error result, which
has no callback data either, is none.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iexworker.compute import output
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.folders import TaskFolder
from iexworker.compute.steps import StepResult, Steps, Tools
from iexworker.poco.hashing import hex_text, keccak, lenient_bytes
from iexworker.poco.models import Profile, TaskDescription
from iexworker.results import digest
from iexworker.shared.handoff import StepOutcome, TaskOrder
from iexworker.task.replicate import CONTRIBUTABLE_CAUSES
from tests.hazards.helpers.hazard_check import Scenario, fails_only_upstreams_way
from tests.helpers import task_descriptions
from tests.helpers.docker_harness import make_settings

CALLBACK = "0x" + "ca" * 20
BAD_IMAGE = task_descriptions.description(callback=CALLBACK, app_type="NOT DOCKER")


@dataclass
class NoImages:
    """An engine that has no image."""

    def image_tags(self, reference: str) -> None:
        return None


def tools(folder: Path) -> Tools:
    nothing: Any = NoImages()
    return Tools(make_settings(folder), nothing, nothing, nothing, nothing, lambda: True)


def outcome_of(step: str, task: TaskDescription, profile: Profile) -> StepOutcome:
    """Do a step in a thread of its own, as a slot does; what raises has ended the thread."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        steps = Steps(tools(Path(folder)), TaskOrder(task, profile), 1, Cancellation())
        job = thread.submit(steps.perform, step)
        assert job.exception() is None, "the thread ended without an outcome"
        return job.result().outcome


def error_result_9() -> None:
    error_result(Profile.V9)


def error_result_8() -> None:
    error_result(Profile.V8)


def error_result(profile: Profile) -> None:
    outcome = outcome_of("app", BAD_IMAGE, profile)
    assert not outcome.ok
    assert outcome.cause == "POST_COMPUTE_FAILED_UNKNOWN_ISSUE"
    assert outcome.cause not in CONTRIBUTABLE_CAUSES
    assert outcome.digest is None


def computed_without_data() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = TaskFolder(Path(folder))
        files.prepare_run()
        (files.iexec_out / "computed.json").write_text(
            '{"deterministic-output-path": "/iexec_out"}'
        )
        try:
            output.post_compute(files, BAD_IMAGE)
        except output.PostComputeFailed as failure:
            assert failure.cause == "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED"
        except Exception as error:
            raise AssertionError(f"the thread ended with {error!r}") from error
        else:
            raise AssertionError("a digest of nothing")


def upstream(patch: pytest.MonkeyPatch) -> None:
    def of_callback(data: str) -> str:
        return hex_text(keccak(lenient_bytes(data)))

    def perform(self: Steps, step: str) -> StepResult:
        return {"app": self._app, "data": self._data, "compute": self._compute}[step]()

    patch.setattr(digest, "of_callback", of_callback)
    patch.setattr(Steps, "perform", perform)


@pytest.mark.parametrize(
    "scenario",
    [error_result_9, error_result_8, computed_without_data],
)
def test_a_callback_task_without_callback_data_ends_with_a_cause(scenario: Scenario) -> None:
    fails_only_upstreams_way(scenario, upstream)
