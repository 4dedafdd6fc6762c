from __future__ import annotations

import pytest

from iexworker.poco import hashing
from tests.vectors.helpers.loader import Case, cases


@pytest.mark.parametrize("case", cases("chain-lenient-hex"))
def test_any_text_reads_as_the_bytes_that_the_scheduler_reads(case: Case) -> None:
    assert hashing.hex_text(hashing.lenient_bytes(case.input)) == case.expected


@pytest.mark.parametrize("case", cases("chain-keccak-concat"))
def test_values_are_hashed_one_after_another(case: Case) -> None:
    assert hashing.concatenate_and_hash(*case.input) == case.expected


@pytest.mark.parametrize("case", cases("chain-task-id"))
def test_a_task_id_comes_from_deal_and_index(case: Case) -> None:
    deal_id, index = case.input["dealId"], case.input["index"]
    if case.expected is None:
        with pytest.raises(ValueError, match="expected 32 bytes"):
            hashing.task_id(deal_id, index)
    else:
        assert hashing.task_id(deal_id, index) == case.expected


@pytest.mark.parametrize("case", cases("chain-contribution-hash"))
def test_hash_and_seal_bind_the_digest_to_task_and_wallet(case: Case) -> None:
    task, digest = case.input["chainTaskId"], case.input["resultDigest"]

    assert hashing.result_hash(task, digest) == case.expected["resultHash"]
    assert (
        hashing.result_seal(case.input["workerWallet"], task, digest) == case.expected["resultSeal"]
    )


@pytest.mark.parametrize("case", cases("chain-selectors"))
def test_selectors_and_topics_are_hashes_of_signatures(case: Case) -> None:
    digest = hashing.keccak(case.input.encode())

    size = len(hashing.lenient_bytes(case.expected))
    assert hashing.hex_text(digest[:size]) == case.expected
