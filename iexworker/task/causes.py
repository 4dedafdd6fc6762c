"""What the causes that `scheduling` reports by itself mean, in words for an operator.

Those of a slot come with their own words: which image, which input, which exit code.
"""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "CHAIN_UNREACHABLE": "the chain node did not answer in time",
    "STAKE_TOO_LOW": "the wallet's deposit does not cover the stake of this task",
    "OUT_OF_GAS": "the wallet cannot pay for a transaction",
    "TASK_NOT_ACTIVE": "the task takes no contributions any more",
    "CONTRIBUTION_TIMEOUT": "the contribution deadline has passed",
    "CONTRIBUTION_ALREADY_SET": "this wallet has contributed to the task already",
    "TASK_DESCRIPTION_NOT_FOUND": "the chain does not know the task",
    "TASK_DESCRIPTION_INVALID": "a task without an enclave cannot have an encrypted result",
    "TEE_NOT_SUPPORTED": "the task needs an enclave, which this worker has not",
    "WORKERPOOL_AUTHORIZATION_NOT_FOUND": "the contract would not take the grant's authorisation",
    "DETERMINISM_HASH_NOT_FOUND": "the computation left no result that could be contributed",
    "RESULT_LINK_MISSING": "the result has no link that could go on the chain",
}
"""Cause (docs/spec/04, section 1.5) -> plain words."""
