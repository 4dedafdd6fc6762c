"""kill -9 at steps of a task: it ends COMPLETED, contributed and revealed once.

A sample, the same for the same `IEXWORKER_CHAOS_SEED`; `IEXWORKER_CHAOS=all` runs every case.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from kills import Case, cases, run
from liveworker import Stage

LANES = 3
SAMPLE = 9
SEED = int(os.environ.get("IEXWORKER_CHAOS_SEED", "1"))


def chosen() -> list[Case]:
    """Return the cases of this run."""
    if os.environ.get("IEXWORKER_CHAOS") == "all":
        return cases()
    return random.Random(SEED).sample(cases(), SAMPLE)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("network") / "net", "9")
    yield stage
    stage.close()


@pytest.mark.docker
@pytest.mark.chain
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, id=f"{SEED}: {case}", marks=pytest.mark.xdist_group(f"kills-{index % LANES}")
        )
        for index, case in enumerate(chosen())
    ],
)
def test_a_task_survives_a_kill(stage: Stage, case: Case) -> None:
    run(stage, case)
