"""kill -9 at each step of a task: it ends COMPLETED, contributed and revealed once.

A run tries a part of the kills, by the seed in the tests' names; `scripts/soak --table` all.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.kills import Case, cases, run, sample, step_of
from tests.helpers.live_worker import LiveSandbox
from tests.helpers.seed import SEED

LANES = 4


@pytest.fixture(scope="module")
def sandbox(unmeasured: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSandbox]:
    sandbox = LiveSandbox(tmp_path_factory.mktemp("network") / "net", "9")
    yield sandbox
    sandbox.close()


@pytest.mark.docker
@pytest.mark.chain
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, id=f"{SEED}: {case}", marks=pytest.mark.xdist_group(f"kills-{index % LANES}")
        )
        for index, case in enumerate(sample(SEED))
    ],
)
def test_a_task_survives_a_kill(sandbox: LiveSandbox, case: Case) -> None:
    run(sandbox, case)


def test_each_seed_chooses_a_part_of_every_steps_kills_and_some_seed_each_of_them() -> None:
    steps = {step_of(case.point) for case in cases()}
    samples = [sample(seed) for seed in range(50)]
    assert all({step_of(case.point) for case in chosen} == steps for chosen in samples)
    assert {case for chosen in samples for case in chosen} == set(cases())
    assert sample(SEED) == sample(SEED)


def test_a_slot_is_killed_only_where_it_has_work() -> None:
    killed = {step_of(case.point).value for case in cases() if case.target == "compute-0"}
    assert killed == {"app", "data", "compute"}
