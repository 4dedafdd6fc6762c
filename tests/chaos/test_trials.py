"""A sample of the faults of docs/reliability.md, and a short soak; the seed is in their names.

`IEXWORKER_CHAOS_SEED` gives another sample; `scripts/soak --table` runs them all.
"""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.chaos import pairwise, reliability_table, soak
from tests.chaos.faulty_sandbox import FaultySandbox
from tests.chaos.trials import PROFILES, Trial, chain_trials, machine_trials, needed_trials, run

SHORT = 8


def _seed() -> int:
    """Return the seed of this run; without a wish it is the commit's, so that each has its own."""
    wanted = os.environ.get("IEXWORKER_CHAOS_SEED")
    return int(wanted) if wanted else zlib.crc32(reliability_table.commit().encode()) % 10**6


SEED = _seed()
PROFILE = PROFILES[SEED % 2]


def sample(seed: int) -> list[Trial]:
    """Choose some trials of each kind, all in one generation of the protocol."""
    chance = random.Random(seed)
    found = [
        # No other test has a reveal taken back while its result is on its way.
        Trial(PROFILE, "upload doing", "3 blocks reorganised"),
        *chance.sample(needed_trials(), 4),
        *chance.sample(chain_trials(seed), 2),
        *chance.sample(machine_trials(seed), 2),
    ]
    return list(dict.fromkeys(replace(trial, profile=PROFILE) for trial in found))


@pytest.fixture(scope="module")
def sandbox(unmeasured: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySandbox]:
    sandbox = FaultySandbox(tmp_path_factory.mktemp("sandbox") / "net", PROFILE)
    yield sandbox
    sandbox.close()


@pytest.mark.docker
@pytest.mark.chain
@pytest.mark.timeout(240)
@pytest.mark.xdist_group("trials")
@pytest.mark.parametrize(
    "trial", [pytest.param(item, id=f"{SEED}: {item}") for item in sample(SEED)]
)
def test_a_task_survives_a_fault(sandbox: FaultySandbox, trial: Trial) -> None:
    row = run(sandbox, trial)
    assert row.held, row


@pytest.mark.docker
@pytest.mark.chain
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("trials")
@pytest.mark.parametrize("seed", [SEED])
def test_no_task_of_a_short_soak_is_lost_or_done_twice(sandbox: FaultySandbox, seed: int) -> None:
    verdict = soak.play(sandbox, SHORT, seed)
    assert verdict.held, verdict


def test_every_two_values_meet_in_a_pairwise_set() -> None:
    factors = {"a": ["1", "2", "3"], "b": ["x", "y"], "c": ["p", "q", "r", "s"]}
    cases = pairwise.pairwise(factors, SEED)
    for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
        met = {(case[one], case[other]) for case in cases}
        assert len(met) == len(factors[one]) * len(factors[other])
    assert len(cases) < 24
    assert cases == pairwise.pairwise(factors, SEED)
