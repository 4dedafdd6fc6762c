from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from iexworker.poco import abi
from iexworker.poco.models import (
    ContributionStatus,
    Deal,
    DealParams,
    Resource,
    TaskDescription,
    TeeFramework,
    needs_enclave_challenge,
    tee_framework,
)
from tests.vectors.helpers.loader import Case, cases

STATUS_NAMES = {ContributionStatus.PROVED: "REVEALED"}


def resource(found: Resource) -> dict[str, Any]:
    return {"pointer": found.address, "owner": found.owner, "price": found.price}


def deal(data: str) -> dict[str, Any]:
    found = abi.deal(data)
    assert isinstance(found, Deal)
    return {
        "app": resource(found.app),
        "dataset": resource(found.dataset),
        "workerpool": resource(found.workerpool),
        "trust": found.trust,
        "category": found.category,
        "tag": found.tag,
        "requester": found.requester,
        "beneficiary": found.beneficiary,
        "callback": found.callback,
        "params": found.params,
        "startTime": found.start_time_s,
        "botFirst": found.bot_first,
        "botSize": found.bot_size,
        "workerStake": found.worker_stake,
        "schedulerRewardRatio": found.scheduler_reward_ratio,
    }


def task(data: str) -> dict[str, Any] | None:
    found = abi.task(data)
    if found is None:
        return None
    return {
        "status": found.status.name,
        "dealid": found.deal_id,
        "idx": found.index,
        "chainTaskId": found.task_id,
        "maxExecutionTime": found.time_reference_s * 1000,
        "contributionDeadline": found.contribution_deadline_s * 1000,
        "revealDeadline": found.reveal_deadline_s * 1000,
        "finalDeadline": found.final_deadline_s * 1000,
        "consensusValue": found.consensus,
        "revealCounter": found.reveal_counter,
        "winnerCounter": found.winner_counter,
        "contributors": list(found.contributors),
        "results": found.results,
    }


def contribution(data: str) -> dict[str, Any]:
    found = abi.contribution(data)
    return {
        "status": STATUS_NAMES.get(found.status, found.status.name),
        "resultHash": found.result_hash,
        "resultSeal": found.result_seal,
        "enclaveChallenge": found.enclave_challenge,
    }


def account(data: str) -> dict[str, Any]:
    found = abi.account(data)
    return {"deposit": found.stake, "locked": found.locked}


def category(data: str) -> dict[str, Any]:
    found = abi.category(data)
    return {
        "name": found.name,
        "description": found.description,
        "maxExecutionTime": found.time_reference_s * 1000,
    }


DECODERS = {
    abi.VIEW_DEAL: deal,
    abi.VIEW_TASK: task,
    abi.VIEW_CONTRIBUTION: contribution,
    abi.VIEW_CATEGORY: category,
    abi.APP_MULTIADDR: lambda data: abi.location(abi.APP_MULTIADDR, data),
    abi.OWNER: lambda data: abi.address(abi.OWNER, data),
    # These structures hold no text, so they look on the wire like the loose values that we read.
    "viewContribution(bytes32,address)": contribution,
    "viewAccount(address)": account,
}


@pytest.mark.parametrize("case", cases("chain-view-decoding"))
def test_a_view_decodes_to_the_facts_that_upstream_reads(case: Case) -> None:
    if case.expected == "not called":
        assert case.input["function"] not in DECODERS
        return
    decoded = DECODERS[case.input["function"]](case.input["data"])
    expected = case.expected
    if isinstance(expected, dict):
        expected = {key: value for key, value in expected.items() if key != "weight"}

    assert decoded == expected


@pytest.mark.parametrize("case", cases("chain-multiaddr"))
def test_a_location_is_a_binary_multiaddr_or_a_text(case: Case) -> None:
    assert abi.multiaddr_text(bytes.fromhex(case.input[2:])) == case.expected


@pytest.mark.parametrize("case", cases("chain-tag-tee"))
def test_a_tag_names_a_framework_by_equality_of_its_low_bits(case: Case) -> None:
    old, new = tee_framework(case.input, "8"), tee_framework(case.input, "9")
    sgx = (TeeFramework.SCONE, TeeFramework.GRAMINE)

    assert {
        "framework_8_5": old and old.name,
        "isTeeTask_8_5": old is not None,
        "framework_9_x": new and new.name,
        "requiresSgx": new in sgx,
        "requiresTdx": new is TeeFramework.TDX,
        "contractNeedsEnclaveChallenge": needs_enclave_challenge(case.input),
    } == case.expected


def described(given: dict[str, Any], profile: str) -> TaskDescription:
    texts = dict.fromkeys(("task_id", "deal_id", "app_address", "app_image", "app_enclave"), "")
    pool = dict.fromkeys(("workerpool_address", "workerpool_owner", "requester", "beneficiary"), "")
    numbers = dict.fromkeys(
        (
            *("index", "category", "worker_stake", "bot_first_index", "bot_size", "start_time_s"),
            *("max_execution_time_s", "contribution_deadline_s", "final_deadline_s"),
        ),
        0,
    )
    return TaskDescription(
        **texts,  # type: ignore[arg-type]  # what the predicates do not look at
        **pool,  # type: ignore[arg-type]  # likewise
        **numbers,  # type: ignore[arg-type]  # likewise
        app_type="DOCKER",
        dataset_address=given["datasetAddress"],
        dataset_uri=given["datasetUri"],
        dataset_checksum=given["datasetChecksum"],
        callback=given["callback"],
        tag=given["tag"],
        trust=given["trust"],
        params=DealParams(
            input_files=tuple(given["inputFiles"]),
            # Profile 8 does not know the key: its default stands.
            bulk_cid=given["bulkCid"] if profile == "9" else "",
        ),
        profile=profile,
    )


@pytest.mark.parametrize("case", cases("chain-task-description"))
def test_a_description_knows_what_its_task_needs(case: Case) -> None:
    old, new = described(case.input, "8"), described(case.input, "9")

    for description, expected in ((old, case.expected["8.5"]), (new, case.expected["9.x"])):
        framework = description.tee_framework
        found = {
            "teeFramework": framework and framework.name,
            "containsCallback": description.has_callback,
            "containsDataset": description.has_dataset,
            "containsInputFiles": description.has_input_files,
            "isTeeTask": framework is not None,
            "requiresSgx": description.requires_sgx,
            "requiresTdx": description.requires_tdx,
            "isBulkRequest": description.is_bulk,
            "requiresPreCompute": description.requires_pre_compute,
            "isEligibleToContributeAndFinalize": description.finalizes_at_once,
        }
        assert {key: found[key] for key in expected} == expected, asdict(description)
