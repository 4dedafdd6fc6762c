from __future__ import annotations

from dataclasses import replace

import pytest

from iexworker.poco import preflight
from iexworker.poco.hashing import result_hash, result_seal
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ChainAccount,
    ChainTask,
    Contribution,
    ContributionStatus,
    Profile,
    TaskStatus,
)

WALLET, TASK, DIGEST = "0x" + "22" * 20, "0x" + "11" * 32, "0x" + "33" * 32
OWN_HASH = result_hash(TASK, DIGEST)
ACTIVE = ChainTask(
    task_id=TASK,
    status=TaskStatus.ACTIVE,
    deal_id="0x" + "dd" * 32,
    index=0,
    time_reference_s=300,
    contribution_deadline_s=2000,
    reveal_deadline_s=0,
    final_deadline_s=3000,
    consensus="0x" + "00" * 32,
    reveal_counter=0,
    winner_counter=0,
    contributors=(),
    results="0x",
)
REVEALING = replace(ACTIVE, status=TaskStatus.REVEALING, reveal_deadline_s=2500, consensus=OWN_HASH)
UNSET = Contribution(ContributionStatus.UNSET, "0x", "0x", ZERO_ADDRESS)
MADE = Contribution(
    ContributionStatus.CONTRIBUTED, OWN_HASH, result_seal(WALLET, TASK, DIGEST), ZERO_ADDRESS
)
FIT = preflight.PreflightFacts(
    wallet=WALLET,
    authorized=True,
    task=ACTIVE,
    account=ChainAccount(5, 0),
    worker_stake=5,
    described=True,
    finalizes_at_once=False,
    contribution=UNSET,
    now_s=1000.5,
)


def test_a_task_that_fits_has_no_cause() -> None:
    assert preflight.contribution_causes(FIT, Profile.V8) == ()
    assert preflight.contribution_causes(FIT, Profile.V9) == ()


def test_profile_8_tells_the_first_cause_and_9_all_of_them() -> None:
    facts = replace(FIT, authorized=False, account=ChainAccount(4, 0), now_s=2000.0)

    assert preflight.contribution_causes(facts, Profile.V8) == ("STAKE_TOO_LOW",)
    assert preflight.contribution_causes(facts, Profile.V9) == (
        "WORKERPOOL_AUTHORIZATION_NOT_FOUND",
        "STAKE_TOO_LOW",
        "CONTRIBUTION_TIMEOUT",
    )


def test_a_contribution_can_be_revealed_to_the_last_second() -> None:
    assert preflight.can_reveal(REVEALING, MADE, DIGEST, WALLET, 2499)
    assert not preflight.can_reveal(REVEALING, MADE, DIGEST, WALLET, 2500)


@pytest.mark.parametrize("status", set(TaskStatus) - {TaskStatus.REVEALING})
def test_only_a_revealing_task_takes_a_reveal(status: TaskStatus) -> None:
    task = replace(REVEALING, status=status)

    assert not preflight.can_reveal(task, MADE, DIGEST, WALLET, 1000)


@pytest.mark.parametrize("status", set(ContributionStatus) - {ContributionStatus.CONTRIBUTED})
def test_only_a_standing_contribution_is_revealed(status: ContributionStatus) -> None:
    contribution = replace(MADE, status=status)

    assert not preflight.can_reveal(REVEALING, contribution, DIGEST, WALLET, 1000)
