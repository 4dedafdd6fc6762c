"""A sample of the faults of docs/reliability.md, and a short soak; the seed is in their names.

`IEXWORKER_SEED` gives another sample; `scripts/soak --table` runs them all.
"""

from __future__ import annotations

import itertools
import operator
import random
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.chaos import kills, pairwise, soak
from tests.chaos.faults import FILLED_BY, PAGE, fill
from tests.chaos.faulty_sandbox import FaultySandbox
from tests.chaos.trials import (
    PROFILES,
    Trial,
    all_trials,
    chain_trials,
    machine_trials,
    needed_trials,
    run,
)
from tests.helpers.seed import SEED

SHORT = 8
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
@pytest.mark.xdist_group("trials")
def test_a_disk_that_is_being_filled_has_no_room_again_once_it_was_full(
    sandbox: FaultySandbox,
) -> None:
    ballast = sandbox.base / "ballast"
    free = [shutil.disk_usage(sandbox.base).free]
    filling = threading.Thread(target=fill, args=(ballast,))
    filling.start()
    while filling.is_alive():
        free.append(shutil.disk_usage(sandbox.base).free)
    filling.join()
    full = shutil.disk_usage(sandbox.base).free
    ballast.unlink()
    assert full < PAGE
    lowest = list(itertools.accumulate(free, min))
    assert max(map(operator.sub, free, lowest)) <= FILLED_BY


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


def test_a_pairwise_set_can_do_without_some_pairs() -> None:
    factors = {"a": ["1", "2", "3"], "b": ["x", "y"], "c": ["p", "q", "r", "s"]}
    without = {("a", "1", "b", "x"), ("a", "1", "b", "z")}
    cases = pairwise.pairwise(factors, SEED, without)
    assert {(case["a"], case["b"]) for case in cases} == {
        ("1", "y"), ("2", "x"), ("2", "y"), ("3", "x"), ("3", "y")
    }  # fmt: skip
    assert len({(case["b"], case["c"]) for case in cases}) == 8


def test_no_trial_kills_a_slot_that_idles() -> None:
    trials = all_trials(SEED)
    assert not [trial for trial in trials if kills.idles(trial.kill, trial.step)]
    assert any(trial.fault and trial.kill == kills.SLOT for trial in trials)
