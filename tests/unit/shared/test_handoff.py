from __future__ import annotations

import json
from pathlib import Path

import pytest

from iexworker.poco.models import DealParams, Profile
from iexworker.shared import handoff
from tests.helpers.task_descriptions import TASK, description


def test_an_order_reads_back_as_it_was_written(tmp_path: Path) -> None:
    order = handoff.TaskOrder(description(), Profile.V8)
    handoff.write_order(tmp_path / TASK, order)
    assert handoff.read_order(tmp_path / TASK) == order


def test_an_order_without_list_and_map_reads_back(tmp_path: Path) -> None:
    params = DealParams(input_files=None, secrets=None)
    order = handoff.TaskOrder(description(params=params), Profile.V9)
    handoff.write_order(tmp_path, order)
    assert handoff.read_order(tmp_path) == order


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"profile": "7", "description": {}}', b"{}"]
)
def test_an_unreadable_order_is_no_order(tmp_path: Path, content: bytes) -> None:
    handoff.order_path(tmp_path).write_bytes(content)
    assert handoff.read_order(tmp_path) is None


def test_a_folder_without_an_order_has_none(tmp_path: Path) -> None:
    assert handoff.read_order(tmp_path / "absent") is None


def test_an_outcome_is_found_by_its_attempt_only(tmp_path: Path) -> None:
    outcome = handoff.StepOutcome(TASK, "compute", 2, ok=True, stdout_tail="é\udc80", digest="0x")
    handoff.write_outcome(tmp_path, outcome)
    assert handoff.read_outcome(tmp_path, "compute") == outcome
    assert handoff.read_outcome(tmp_path, "compute", 2) == outcome
    assert handoff.read_outcome(tmp_path, "compute", 3) is None
    assert handoff.read_outcome(tmp_path, "data") is None


def test_an_outcome_of_another_shape_is_none(tmp_path: Path) -> None:
    handoff.outcome_path(tmp_path, "app").write_text('{"task": 1}')
    assert handoff.read_outcome(tmp_path, "app") is None


def test_an_outcome_of_an_earlier_version_reads_back(tmp_path: Path) -> None:
    outcome = handoff.StepOutcome(TASK, "compute", 2, ok=True, digest="0x")
    old = outcome.to_json() | {"container_ms": 12}
    handoff.outcome_path(tmp_path, "compute").write_text(json.dumps(old))
    assert handoff.read_outcome(tmp_path, "compute") == outcome


def test_writing_leaves_no_other_file(tmp_path: Path) -> None:
    handoff.write_outcome(tmp_path, handoff.StepOutcome(TASK, "app", 1, ok=True))
    handoff.write_outcome(tmp_path, handoff.StepOutcome(TASK, "app", 2, ok=True))
    assert [path.name for path in tmp_path.iterdir()] == ["outcome-app.json"]


def test_a_tail_is_counted_in_utf16_units() -> None:
    assert handoff.tail("short") == "short"
    assert handoff.tail("x" + "a" * handoff.LOG_TAIL) == "a" * handoff.LOG_TAIL
    assert handoff.tail("😀" * handoff.LOG_TAIL) == "😀" * (handoff.LOG_TAIL // 2)
    assert handoff.tail("😀" + "a" * (handoff.LOG_TAIL - 1)) == "a" * (handoff.LOG_TAIL - 1)
