"""What each cause means that a worker may tell (docs/spec/03, 7.4), for the developer of an app.

Texts may name `{image}`, the app's image, and `{seconds}`, the time that its category gives.
"""

from __future__ import annotations

from collections.abc import Mapping

OVER_TIME = "APP_COMPUTE_TIMEOUT"

_TASKS = {
    "APP_IMAGE_DOWNLOAD_FAILED": "the image {image} cannot be pulled: was it pushed, "
    "with this name and tag, to a registry that the worker reaches?",
    "APP_NOT_FOUND_LOCALLY": "the image {image} was gone from the worker's Docker "
    "engine, and could not be pulled again",
    "INPUT_FILES_DOWNLOAD_FAILED": "an input file cannot be downloaded: "
    "does each address in iexec_input_files answer with the file?",
    "DATASET_FILE_DOWNLOAD_FAILED": "the dataset cannot be downloaded: "
    "does its address answer with the file?",
    "DATASET_FILE_BAD_CHECKSUM": "the dataset has another SHA-256 than the deal says",
    "APP_COMPUTE_FAILED": "the app failed, or could not be started",
    OVER_TIME: "the app did not end within the {seconds:g} s of its category and was stopped",
    "POST_COMPUTE_SEND_COMPUTED_FILE_FAILED": "the app left no /iexec_out/computed.json",
    "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND": "/iexec_out/computed.json cannot be read as JSON",
    "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED": "/iexec_out/computed.json names nothing in "
    "/iexec_out as the result (with a callback: has no callback-data)",
    "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME": "a file in /iexec_out has too long a name: "
    "31 characters at most",
    "POST_COMPUTE_OUT_FOLDER_ZIP_FAILED": "/iexec_out could not be packed into an archive",
    "POST_COMPUTE_FAILED_UNKNOWN_ISSUE": "what the app left in /iexec_out could not be read",
    "POST_COMPUTE_TIMEOUT": "packing the result took longer than its category gives",
    "TASK_DESCRIPTION_INVALID": "the deal's params ask for what this worker cannot do",
    "TEE_NOT_SUPPORTED": "the deal's tag asks for an enclave, which the worker has not",
    "RESULT_LINK_MISSING": "the result proxy has no result to link to",
    "STAKE_TOO_LOW": "the worker's stake is too low for the deal's price",
    "DETERMINISM_HASH_NOT_FOUND": "the app left no valid result: look at /iexec_out/computed.json",
}
_CHAIN = {
    "CHAIN_UNREACHABLE": "the worker does not reach its chain node",
    "BLOCK_NOT_REACHED": "the worker's chain node is behind the scheduler's",
    "OUT_OF_GAS": "the worker's wallet has nothing to pay its transactions with",
    "TASK_NOT_ACTIVE": "the chain took no contribution to the task any more",
    "TASK_DESCRIPTION_NOT_FOUND": "the worker cannot read the deal from its chain node",
    "CONTRIBUTION_ALREADY_SET": "the worker has contributed to the task before",
    "CONSENSUS_REACHED": "the others agreed without it",
    "CHAIN_RECEIPT_NOT_VALID": "the worker's transaction was not mined, or reverted",
    "CONSENSUS_BLOCK_MISSING": "the worker was not told in which block the consensus is",
    "ENCLAVE_SIGNATURE_NOT_FOUND": "the enclave's signature is missing",
    "WORKERPOOL_AUTHORIZATION_NOT_FOUND": "the worker has no authorisation by the workerpool, or "
    "one that the contract does not take",
    "TRUST_NOT_1": "the deal's trust is not 1, which its way to the end needs",
    "TASK_ALREADY_CONTRIBUTED": "another worker has contributed before",
    "CONTRIBUTION_TIMEOUT": "it had contributed nothing when the deadline passed",
    "REVEAL_TIMEOUT": "it did not reveal its contribution before the deadline",
    "CANNOT_REVEAL": "the chain did not take its reveal",
    "ABORTED_BY_WORKER": "the worker gave it up",
}
_ENCLAVE = {
    "TEE_PREPARATION_FAILED": "the worker could not get its enclave ready",
    "UNKNOWN_SMS": "the worker does not know the secret service of the task",
    "GET_TEE_SERVICES_CONFIGURATION_FAILED": "the secret service does not say how enclaves run",
}
_PREFIXES = {
    "TEE_SESSION_GENERATION_": "the secret service made no session for the enclave",
    "PRE_COMPUTE_": "the enclave's step before the app failed",
    "POST_COMPUTE_": "the enclave's step after the app failed",
}
_WORDS: Mapping[str, str] = _TASKS | _CHAIN | _ENCLAVE

UNKNOWN = frozenset(("", "UNKNOWN"))
"""Causes that say nothing."""


def words(cause: str | None) -> str:
    """Return what a cause means; empty for one that says nothing or is not known."""
    name = cause or ""
    by_prefix = (text for prefix, text in _PREFIXES.items() if name.startswith(prefix))
    return _WORDS.get(name) or next(by_prefix, "")
