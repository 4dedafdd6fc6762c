"""The open tasks as an operator sees them: what each does, what hangs on it, until when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iexworker.shared.board import Board
from iexworker.task.replicate import Replicate, Step, Work
from tests.helpers.lifecycle_driver import granted

WALL_S = 1_700_000_000


def numbered(number: int, **changes: object) -> Replicate:
    return replace(granted(task_id=f"0x{number:064x}"), **changes)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("changes", "doing", "end"),
    [
        ({"step": Step.APP}, "APP_DOWNLOADING", "begun again"),
        ({"step": Step.COMPUTE}, "COMPUTING", "computed again"),
        ({"step": Step.COMPUTE, "work": Work.DONE}, "COMPUTED", "goes on"),
        ({"step": Step.CONTRIBUTE, "staked": True}, "CONTRIBUTING", "reveal"),
        (
            {"step": Step.CONTRIBUTE, "work": Work.DONE, "staked": True},
            "CONTRIBUTED",
            "reveal",
        ),
        ({"step": Step.REVEAL, "staked": True}, "REVEALING", "reveal"),
        ({"step": Step.UPLOAD, "staked": True, "revealed": True}, "RESULT_UPLOADING", "upload"),
        ({"step": Step.ABORT}, "ABORTED", "goes on"),
    ],
)
def test_a_task_has_the_fields_word_and_what_a_stop_means_for_it(
    changes: dict[str, object], doing: str, end: str
) -> None:
    from iexworker.scheduling.open_tasks import rows
    from iexworker.supervisor.stop_words import at_the_end

    (row,) = rows([numbered(1, **changes)], lambda _task: WALL_S).values()
    assert row["doing"] == doing
    assert end in at_the_end(row)


def test_what_is_at_risk_comes_first_and_the_nearest_deadline_of_all() -> None:
    from iexworker.scheduling.open_tasks import rows

    deadlines = {f"0x{2:064x}": 200, f"0x{3:064x}": 100}
    found = rows(
        [
            numbered(1),
            numbered(2, step=Step.CONTRIBUTE, staked=True),
            numbered(3, step=Step.CONTRIBUTE, staked=True),
        ],
        deadlines.get,
    )
    assert [int(task, 16) for task in found] == [3, 2, 1]
    assert [row["reveal_by_s"] for row in found.values()] == [100, 200, None]


def test_a_crowd_of_tasks_fits_the_board() -> None:
    from iexworker.scheduling.open_tasks import MOST, rows

    crowd = [numbered(number, staked=True, step=Step.CONTRIBUTE) for number in range(200)]
    found = rows(crowd, lambda _task: WALL_S)
    assert len(found) == MOST
    board = Board.create(("scheduling",))
    board.facts.set(open_tasks=found, tasks_open=200, demand_text="x" * 500, chain_text="y" * 500)
    assert dict(board.facts.read().open_tasks) == found
