from __future__ import annotations

from dataclasses import replace

import pytest

from iexworker.poco.authorization import (
    WorkerpoolAuthorization,
    digest,
    enclave_called,
    enclave_signed,
    mismatch,
    refusal,
)
from iexworker.poco.hashing import (
    authorization_hash,
    checksum_address,
    concatenate_and_hash,
    lenient_bytes,
)
from iexworker.poco.models import ZERO_ADDRESS
from iexworker.poco.signatures import recover
from iexworker.wallet import Wallet

POOL_OWNER = Wallet(b"\1" * 32)
WORKER = Wallet(b"\2" * 32)
ENCLAVE = Wallet(b"\3" * 32)
TASK = "0x" + "ab" * 32
HASH, SEAL = "0x" + "12" * 32, "0x" + "34" * 32


def authorization(**changes: str) -> WorkerpoolAuthorization:
    """Make one as the pool's owner signs it."""
    fields = {
        "task_id": TASK,
        "worker_wallet": WORKER.address,
        "enclave_challenge": ZERO_ADDRESS,
    } | changes
    signed = authorization_hash(
        fields["worker_wallet"], fields["task_id"], fields["enclave_challenge"]
    )
    signature = POOL_OWNER.sign_message_hash(lenient_bytes(signed))
    return WorkerpoolAuthorization(**fields, signature=signature, raw={})


def refused(
    value: WorkerpoolAuthorization, signers: tuple[str, ...] = (POOL_OWNER.address,)
) -> str | None:
    return refusal(value, task_id=TASK, wallet=WORKER.address, signers=signers)


def test_the_word_of_the_pool_owner_is_taken() -> None:
    assert refused(authorization()) is None


def test_texts_are_compared_without_letter_case() -> None:
    reason = refusal(
        authorization(),
        task_id=TASK.upper().replace("0X", "0x"),
        wallet=checksum_address(WORKER.address),
        signers=[checksum_address(POOL_OWNER.address)],
    )

    assert reason is None


def test_the_word_of_any_expected_signer_is_taken() -> None:
    assert refused(authorization(), (ENCLAVE.address, POOL_OWNER.address)) is None


def test_the_word_of_another_signer_is_refused_with_both_names() -> None:
    reason = refused(authorization(), (WORKER.address, ENCLAVE.address))

    assert reason == (
        f"it is signed by {POOL_OWNER.address}, expected {WORKER.address} or {ENCLAVE.address}"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task_id": "0x" + "cd" * 32}, "it is for the task 0xcd"),
        ({"task_id": "../../etc"}, "is not 32 bytes"),
        ({"worker_wallet": ENCLAVE.address}, f"it is for the worker {ENCLAVE.address}"),
        ({"enclave_challenge": "0x12"}, "is no address"),
    ],
)
def test_an_authorisation_for_others_is_refused(changes: dict[str, str], words: str) -> None:
    value = authorization(**changes)

    assert words in (refused(value) or "")
    assert words in (mismatch(value, task_id=TASK, wallet=WORKER.address) or "")


def test_a_broken_signature_is_refused() -> None:
    assert refused(replace(authorization(), signature="0x00")) == "its signature is not valid"


def test_the_digest_for_contracts_is_the_one_that_was_signed() -> None:
    value = authorization()

    assert recover(lenient_bytes(digest(value)), value.signature) == POOL_OWNER.address


def test_an_enclave_signature_is_of_the_challenge_or_nothing() -> None:
    signature = ENCLAVE.sign_message_hash(lenient_bytes(concatenate_and_hash(HASH, SEAL)))

    assert enclave_signed(HASH, SEAL, signature, ENCLAVE.address)
    assert not enclave_signed(SEAL, HASH, signature, ENCLAVE.address)
    assert not enclave_signed(HASH, SEAL, "0x" + "00" * 65, ENCLAVE.address)


def test_an_enclave_header_of_garbage_is_refused() -> None:
    assert not enclave_called(TASK, WORKER.address, "Bearer x", ENCLAVE.address)
    assert not enclave_called(TASK, WORKER.address, "0x" + "11" * 65, "nobody")
