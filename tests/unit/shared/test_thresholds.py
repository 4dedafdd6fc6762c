from __future__ import annotations

from pathlib import Path

import pytest

from iexworker.shared import thresholds
from iexworker.shared.thresholds import FreeSpace, free_space, head_problem

GIB = 1024**3


@pytest.mark.parametrize(
    ("total_gib", "guard"), [(1000, GIB), (20, GIB), (10, GIB // 2), (0.5, int(GIB * 0.025))]
)
def test_an_app_is_stopped_below_a_gib_or_a_twentieth_of_a_small_disk(
    total_gib: float, guard: int
) -> None:
    space = FreeSpace(Path("/base"), int(total_gib * GIB), 0)

    assert space.guard == guard
    assert space.needed == 2 * guard


def test_work_is_asked_for_from_twice_the_guard_on() -> None:
    assert FreeSpace(Path("/base"), 100 * GIB, 2 * GIB).problem == ""
    assert FreeSpace(Path("/base"), 100 * GIB, 2 * GIB - 1).problem == (
        "2047 MiB free under /base, work is asked for from 2048 MiB on: make room"
    )


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above(tmp_path: Path) -> None:
    assert free_space(tmp_path / "not" / "yet").total == free_space(tmp_path).total


def test_a_chain_without_a_new_block_for_a_minute_is_told() -> None:
    assert head_problem(None, 5.0) == "no block seen yet"
    assert head_problem(100.0, 100.0 + thresholds.HEAD_FRESH_S) == ""
    assert head_problem(100.0, 161.0) == "the chain node has given no new block for 61 s"
