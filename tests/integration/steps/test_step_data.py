"""The step `data`: inputs from a real HTTP server."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from iexworker.poco.models import DealParams, Profile, TaskDescription
from iexworker.shared.handoff import StepOutcome
from tests.helpers.docker_harness import PROFILES
from tests.integration.helpers.step_harness import StepHarness, http_server

pytest_plugins = ["tests.helpers.docker_harness", "tests.integration.helpers.step_harness"]
pytestmark = pytest.mark.docker


def with_input(steps: StepHarness, uri: str, **changes: Any) -> TaskDescription:
    return steps.docker_harness.task("true", params=DealParams(input_files=(uri,)), **changes)


@pytest.mark.parametrize("profile", PROFILES)
def test_inputs_are_fetched(steps: StepHarness, profile: Profile) -> None:
    with http_server(b"data") as url:
        task = with_input(steps, f"{url}/x")
        assert steps.do("data", task, profile) == StepOutcome(task.task_id, "data", 1, ok=True)
    assert [path.read_bytes() for path in steps.folder(task).input.iterdir()] == [b"data"]


@pytest.mark.parametrize("profile", PROFILES)
def test_an_input_that_is_not_there_becomes_a_result(steps: StepHarness, profile: Profile) -> None:
    with http_server(b"", 404) as url:
        task = with_input(steps, url)
        outcome = steps.do("data", task, profile)
    assert (outcome.ok, outcome.cause) == (False, "INPUT_FILES_DOWNLOAD_FAILED")
    error = (steps.folder(task).iexec_out / "error.txt").read_bytes()
    assert b"DATA_DOWNLOAD_FAILED" in error
    assert outcome.digest == "0x" + hashlib.sha256(error).hexdigest()
    assert steps.folder(task).archive.exists()


def test_an_input_of_a_callback_task_becomes_no_result(steps: StepHarness) -> None:
    with http_server(b"", 404) as url:
        outcome = steps.do("data", with_input(steps, url, callback="0x" + "77" * 20))
    assert (outcome.ok, outcome.cause) == (False, "POST_COMPUTE_FAILED_UNKNOWN_ISSUE")
    assert outcome.digest is None


def test_an_input_that_our_policy_refuses_is_never_a_result(steps: StepHarness) -> None:
    outcome = steps.do("data", with_input(steps, "file:///etc/passwd", max_execution_time_s=1))
    assert (outcome.ok, outcome.cause, outcome.digest) == (False, "UNKNOWN", None)


def test_the_data_of_an_enclave_is_not_ours_to_fetch(steps: StepHarness) -> None:
    task = with_input(steps, "no scheme", tag="0x" + "00" * 31 + "03")
    assert steps.do("data", task).ok
