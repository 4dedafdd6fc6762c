from __future__ import annotations

from typing import Any

import pytest

from iexworker.poco import preflight
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ChainAccount,
    ChainTask,
    Contribution,
    ContributionStatus,
    Profile,
    TaskStatus,
)
from tests.vectors.helpers.loader import Case, cases

WALLET = "0x1a69b2eb604db8eba185df03ea4f5288dcbbd248"
TASK = "0xe06c86d6bb750dbd9be9e002482854b3b3f21550dbe37236767b9cac29e3ce28"
PROFILES = {"8.5": Profile.V8, "9.x": Profile.V9}
CONTRIBUTION_STATUS = {
    **ContributionStatus.__members__,
    "REVEALED": ContributionStatus.PROVED,
}


def task(**facts: Any) -> ChainTask:
    plain: dict[str, Any] = {
        "task_id": TASK,
        "status": TaskStatus.ACTIVE,
        "deal_id": "0x" + "00" * 32,
        "index": 0,
        "time_reference_s": 300,
        "contribution_deadline_s": 2000,
        "reveal_deadline_s": 0,
        "final_deadline_s": 3000,
        "consensus": "0x" + "00" * 32,
        "reveal_counter": 0,
        "winner_counter": 0,
        "contributors": (),
        "results": "0x",
    }
    return ChainTask(**{**plain, **facts})


def contribution(status: str, result_hash: str = "0x", result_seal: str = "0x") -> Contribution:
    return Contribution(CONTRIBUTION_STATUS[status], result_hash, result_seal, ZERO_ADDRESS)


def facts(given: dict[str, Any]) -> preflight.PreflightFacts:
    status = given["contributionStatus"]
    contributors = (WALLET,) if given["ownAddressInContributors"] else ()
    return preflight.PreflightFacts(
        wallet=WALLET,
        authorized=given["authorizationPresent"],
        task=task(
            status=TaskStatus[given["taskStatus"]],
            contribution_deadline_s=given["contributionDeadline"],
            contributors=contributors,
        )
        if given["taskReadable"]
        else None,
        account=ChainAccount(given["deposit"], 0) if given["accountReadable"] else None,
        worker_stake=given["workerStake"] if given["dealReadable"] else None,
        described=given["descriptionAvailable"],
        finalizes_at_once=given["eligibleToContributeAndFinalize"],
        contribution=None if status is None else contribution(status),
        now_s=given["now"],
    )


@pytest.mark.parametrize("generation", PROFILES)
@pytest.mark.parametrize("case", cases("chain-preflight"))
def test_a_contribution_is_refused_for_the_causes_of_the_profile(
    case: Case, generation: str
) -> None:
    causes = preflight.contribution_causes(facts(case.input), PROFILES[generation])

    assert list(causes) == case.expected[generation]


@pytest.mark.parametrize("generation", PROFILES)
@pytest.mark.parametrize("case", cases("chain-preflight-finalize"))
def test_a_finalization_is_refused_for_the_causes_of_the_profile(
    case: Case, generation: str
) -> None:
    given = case.input
    profile = PROFILES[generation]
    known = given["dealReadable"] if profile is Profile.V8 else given["descriptionAvailable"]
    contributors = ("0x" + "07" * 20,) * given["contributors"]
    causes = preflight.finalization_causes(
        task(contributors=contributors) if given["taskReadable"] else None,
        given["trust"] if known else None,
        profile,
    )

    assert list(causes) == case.expected[generation]


@pytest.mark.parametrize("case", cases("chain-can-reveal"))
def test_a_reveal_needs_every_condition_of_the_contract(case: Case) -> None:
    given = case.input
    shown, made = given["task"], given["contribution"]
    allowed = preflight.can_reveal(
        task(
            task_id=given["chainTaskId"],
            status=TaskStatus[shown["status"]],
            reveal_deadline_s=shown["revealDeadline"],
            consensus=shown["consensusValue"],
        )
        if shown
        else None,
        contribution(made["status"], made["resultHash"], made["resultSeal"]) if made else None,
        given["resultDigest"],
        given["workerWallet"],
        given["now"],
    )

    assert allowed is case.expected


@pytest.mark.parametrize("case", cases("chain-block-available"))
def test_a_block_is_there_once_the_node_is_at_it_or_beyond(case: Case) -> None:
    looks = [
        preflight.block_available(case.input["blockNumber"], latest)
        for latest in case.input["latestBlocks"]
    ]
    # Upstream looks twice before its first pause.
    waits = max(looks.index(True) - 1, 0) if any(looks) else len(looks) - 2

    assert {"available": any(looks), "waits": waits} == case.expected
