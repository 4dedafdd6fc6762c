"""Whose word a message is: signatures of the scheduler and of enclaves (docs/spec/05, 6.5, 6.6)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from iexworker.json_fields import MalformedMessage, text
from iexworker.poco.hashing import (
    authorization_hash,
    concatenate_and_hash,
    hex_text,
    is_address,
    is_bytes32,
    is_nonzero_bytes32,
    is_signature,
    lenient_bytes,
    message_digest,
)
from iexworker.poco.models import ZERO_ADDRESS
from iexworker.poco.signatures import recover


def digest(authorization: WorkerpoolAuthorization) -> str:
    """Return the 32 bytes that were signed, as a contract that owns a pool is asked (EIP-1271)."""
    return _prefixed(
        authorization_hash(
            authorization.worker_wallet, authorization.task_id, authorization.enclave_challenge
        )
    )


def mismatch(authorization: WorkerpoolAuthorization, *, task_id: str, wallet: str) -> str | None:
    """Say why an authorisation is not for this task and this wallet, None when it is.

    Upstream compares neither; the contract would revert on both.
    """
    if not is_bytes32(authorization.task_id):
        return f"its task id {authorization.task_id!r} is not 32 bytes"
    if authorization.task_id != task_id.lower():
        return f"it is for the task {authorization.task_id}"
    if authorization.worker_wallet != wallet.lower():
        return f"it is for the worker {authorization.worker_wallet}"
    if not is_address(authorization.enclave_challenge):
        return f"its enclave challenge {authorization.enclave_challenge!r} is no address"
    return None


def refusal(
    authorization: WorkerpoolAuthorization, *, task_id: str, wallet: str, signers: Collection[str]
) -> str | None:
    """Say why an authorisation is of no use, None when the contract will take it.

    `signers` are the addresses whose word counts: the owner of the deal's pool, and the hub's
    TEE broker where the challenge is not zero. For an owner that is a contract ask
    `Hub.accepts_signature` with `digest` and check `mismatch` alone.
    """
    reason = mismatch(authorization, task_id=task_id, wallet=wallet)
    if reason is not None:
        return reason
    signer = recover(lenient_bytes(digest(authorization)), authorization.signature)
    if signer is None:
        return "its signature is not valid"
    expected = [address.lower() for address in signers]
    if signer not in expected:
        return f"it is signed by {signer}, expected {' or '.join(expected)}"
    return None


def enclave_signed(result_hash: str, result_seal: str, signature: str, challenge: str) -> bool:
    """Whether the enclave behind `challenge` signed this contribution (6.6)."""
    return (
        is_nonzero_bytes32(result_hash)
        and is_nonzero_bytes32(result_seal)
        and is_signature(signature)
        and is_address(challenge)
        and _signed_by(challenge, concatenate_and_hash(result_hash, result_seal), signature)
    )


def enclave_called(task_id: str, wallet: str, header: str, challenge: str) -> bool:
    """Whether an `Authorization` header is of the enclave behind `challenge` (6.6, profile 9)."""
    return is_address(challenge) and _signed_by(
        challenge, concatenate_and_hash(task_id, wallet), header
    )


def _prefixed(message_hash: str) -> str:
    return hex_text(message_digest(lenient_bytes(message_hash)))


def _signed_by(address: str, message_hash: str, signature: str) -> bool:
    signer = recover(lenient_bytes(_prefixed(message_hash)), signature)
    return signer is not None and signer[2:] == address.lower().removeprefix("0x")


@dataclass(frozen=True, slots=True)
class WorkerpoolAuthorization:
    """The scheduler's word that this wallet may contribute to this task (5.6).

    `raw` is the object as received: result proxy and SMS get it unchanged.
    """

    task_id: str
    worker_wallet: str
    enclave_challenge: str
    signature: str
    raw: Mapping[str, Any] = field(compare=False)

    @classmethod
    def from_json(cls, data: object) -> WorkerpoolAuthorization:
        """Read the JSON object; raises `MalformedMessage`."""
        if not isinstance(data, Mapping):
            raise MalformedMessage(f"workerpoolAuthorization: expected an object, got {data!r}")
        signature = data.get("signature")
        if not isinstance(signature, Mapping):
            raise MalformedMessage(f"signature: expected an object, got {signature!r}")
        return cls(
            task_id=text(data, "chainTaskId").lower(),
            worker_wallet=text(data, "workerWallet").lower(),
            enclave_challenge=text(data, "enclaveChallenge", ZERO_ADDRESS).lower(),
            signature=text(signature, "value").lower(),
            raw=dict(data),
        )
