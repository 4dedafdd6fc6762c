"""What docs/reliability/mutants.md says about the mutants of scripts/mutate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation import report
from tests.mutation.report import Tried

FLIPPED = Tried(
    "task/transitions.py", "abort", 7, "name", "x = a | b", "x = a & b", 1, "survived", 0.5
)
KILLED = Tried("core/stomp.py", "", 1, "string", '"A"', '"B"', 1, "killed", 0.1)
ENDLESS = Tried("core/stomp.py", "", 2, "string", '"A"', '"B"', 1, "timeout", 60.0)
ROW = """
[[survivor]]
module = "task/transitions.py"
inside = "abort"
operator = "name"
was = "x = a | b"
becomes = "x = a & b"
reason = "both are the same here"
"""


@pytest.fixture
def reasons(tmp_path: Path) -> report.Reasons:
    path = tmp_path / "survivors.toml"
    path.write_text(ROW)
    return report.read_reasons(path)


def test_a_reason_outlives_a_change_of_the_line_s_number(reasons: report.Reasons) -> None:
    moved = Tried(
        "task/transitions.py", "abort", 99, "name", "x = a | b", "x = a & b", 1, "survived", 1
    )
    assert report.reason(moved, reasons) == "both are the same here"


def test_a_reason_is_not_taken_for_another_mutant_of_the_line(reasons: report.Reasons) -> None:
    other = Tried(
        "task/transitions.py", "abort", 7, "name", "x = a | b", "x = None", 1, "survived", 1
    )
    assert report.reason(other, reasons) is None
    assert report.UNEXPLAINED in report.text([other], reasons, 1, "abc")


def test_time_outs_are_counted_by_themselves(reasons: report.Reasons) -> None:
    results = [FLIPPED, KILLED, ENDLESS]
    assert report.score(results) == pytest.approx(2 / 3)
    assert report.summary(results) == [
        ("task/transitions.py", 1, 0, 0, 1),
        ("core/stomp.py", 2, 1, 1, 0),
        ("all", 3, 1, 1, 1),
    ]


def test_the_section_lists_each_survivor_with_its_reason(reasons: report.Reasons) -> None:
    document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    section = report.text([FLIPPED, KILLED], reasons, 4, "abc")
    written = report.put(document, section)
    assert "Commit `abc`, seed 4: 2 mutants, 50.0% noticed" in written
    row = r"| task/transitions.py:7 | `x = a \| b` | `x = a & b` | both are the same here |"
    assert row in written.splitlines()
    assert written.startswith(f"before\n{report.BEGIN}\n")
    assert written.endswith(f"\n{report.END}\nafter\n")
    assert "old" not in written
