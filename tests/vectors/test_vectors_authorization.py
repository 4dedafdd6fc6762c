from __future__ import annotations

import pytest

from iexworker.poco import hashing
from iexworker.poco.authorization import (
    WorkerpoolAuthorization,
    enclave_called,
    enclave_signed,
    refusal,
)
from iexworker.wallet import Wallet
from tests.vectors.helpers.loader import Case, cases


@pytest.mark.parametrize("case", cases("chain-workerpool-authorization"))
def test_an_authorisation_holds_when_its_signer_is_the_expected_one(case: Case) -> None:
    authorization = WorkerpoolAuthorization.from_json(case.input["authorization"])

    signed = hashing.authorization_hash(
        authorization.worker_wallet, authorization.task_id, authorization.enclave_challenge
    )
    reason = refusal(
        authorization,
        task_id=authorization.task_id,
        wallet=authorization.worker_wallet,
        signers=[case.input["signer"]],
    )

    assert signed == case.expected["hash"]
    assert (reason is None) == case.expected["valid"]
    if "privateKey" in case.input:
        signer = Wallet(hashing.lenient_bytes(case.input["privateKey"]))
        assert (
            signer.sign_message_hash(hashing.lenient_bytes(signed)) == (case.expected["signature"])
        )


@pytest.mark.parametrize("case", cases("chain-enclave-signature"))
def test_an_enclave_signs_hash_and_seal(case: Case) -> None:
    given = dict(case.input)
    if "enclavePrivateKey" in given:
        enclave = Wallet(hashing.lenient_bytes(given["enclavePrivateKey"]))
        task, digest = given["chainTaskId"], given["resultDigest"]
        given["resultHash"] = hashing.result_hash(task, digest)
        given["resultSeal"] = hashing.result_seal(given["workerWallet"], task, digest)
        signed = hashing.concatenate_and_hash(given["resultHash"], given["resultSeal"])
        given["enclaveSignature"] = enclave.sign_message_hash(hashing.lenient_bytes(signed))
        given["enclaveChallenge"] = enclave.address
        for key in ("resultHash", "resultSeal", "enclaveSignature", "enclaveChallenge"):
            assert given[key] == case.expected[key]

    valid = enclave_signed(
        given["resultHash"],
        given["resultSeal"],
        given["enclaveSignature"],
        given["enclaveChallenge"],
    )

    assert valid == case.expected["valid"]


@pytest.mark.parametrize("case", cases("chain-compute-header"))
def test_an_enclave_proves_itself_over_task_then_wallet(case: Case) -> None:
    task, wallet = case.input["chainTaskId"], case.input["workerWallet"]
    challenge = hashing.concatenate_and_hash(task, wallet)
    header, address = case.input.get("authorizationHeader"), case.input.get("enclaveChallenge")
    if "enclavePrivateKey" in case.input:
        enclave = Wallet(hashing.lenient_bytes(case.input["enclavePrivateKey"]))
        header = enclave.sign_message_hash(hashing.lenient_bytes(challenge))
        address = enclave.address
        assert (header, address) == (
            case.expected["authorizationHeader"],
            case.expected["enclaveChallenge"],
        )

    assert challenge == case.expected["challenge"]
    assert enclave_called(task, wallet, header, address) == case.expected["valid"]
