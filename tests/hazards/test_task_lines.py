"""What the real scheduling loop tells an operator of a task: so many lines, and no more.

The line of the computation is the slot's, which is scripted here (tests/integration/test_slot.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.hazards.helpers.scheduling_harness import SchedulingHarness, run_scenario

GOES_WELL = [
    "task granted",
    "result contributed",
    "result revealed",
    "result uploaded",
    "task ended",
]


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "iexworker"):
        yield


def about_tasks(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what the worker, not the sandbox around it, has said after its start."""
    ours = [one for one in caplog.records if not one.name.startswith("iexworker.sandbox")]
    return [one for one in ours if one.message != "chain node answers"]


def test_a_task_that_goes_well_has_its_lines_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(harness: SchedulingHarness) -> None:
        task = harness.grant()
        await harness.completes(task)
        tasks.append(task.task_id)

    tasks: list[str] = []
    run_scenario(scenario)
    told = about_tasks(caplog)
    assert [one.message for one in told] == GOES_WELL
    assert {vars(one)["task"] for one in told} == set(tasks)
    assert vars(told[0])["image"] == "docker.io/library/app:1"
    assert vars(told[-1])["verdict"] == "completed"


def test_a_task_that_cannot_be_started_has_a_line_for_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(harness: SchedulingHarness) -> None:
        harness.node.signer = "0x" + "00" * 20
        task = harness.grant()
        await harness.comes_to(task, "ABORTED")
        await harness.forgets(task)

    run_scenario(scenario)
    told = about_tasks(caplog)
    assert [one.message for one in told] == ["task granted", "grant refused", "task ended"]
    assert vars(told[-1])["verdict"] == "failed"
    assert "authorisation" in vars(told[-1])["reason"]


def test_a_node_out_of_reach_at_the_grant_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(harness: SchedulingHarness) -> None:
        harness.node.trouble = "no answer"
        task = harness.grant()
        await harness.comes_to(task, "START_FAILED")
        harness.node.trouble = ""
        await harness.comes_to(task, "ABORTED")
        await harness.forgets(task)

    run_scenario(scenario)
    told = [one for one in about_tasks(caplog) if vars(one).get("step") or "ended" in one.message]
    assert [one.message for one in told] == ["step failed", "task ended"]
    assert vars(told[0])["levelname"] == "ERROR"
    assert "no answer" in vars(told[-1])["reason"]
