"""kill -9 at each step of a task: it ends COMPLETED, contributed and revealed once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.kills import Case, cases, run
from tests.helpers.live_worker import LiveSandbox

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
        pytest.param(case, id=str(case), marks=pytest.mark.xdist_group(f"kills-{index % LANES}"))
        for index, case in enumerate(cases())
    ],
)
def test_a_task_survives_a_kill(sandbox: LiveSandbox, case: Case) -> None:
    run(sandbox, case)
