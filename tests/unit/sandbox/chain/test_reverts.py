from __future__ import annotations

import pytest
from web3.exceptions import (
    ContractCustomError,
    ContractLogicError,
    ContractPanicError,
    Web3Exception,
    Web3RPCError,
)

from iexworker.sandbox.chain.reverts import OVERFLOW, Reverted, node_words, refusal

DATA = "0x08c379a0" + "00" * 64


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ContractLogicError("execution reverted: iExecV5-x-0x01", DATA), "iExecV5-x-0x01"),
        (ContractLogicError("execution reverted", "0x"), ""),
        (ContractLogicError(None), ""),
        (ContractPanicError(f"{OVERFLOW}: Arithmetic", DATA), f"{OVERFLOW}: Arithmetic"),
        (ContractCustomError("0xdeadbeef00", data="0xdeadbeef00"), "error 0xdeadbeef"),
    ],
)
def test_a_revert_is_told_with_its_reason_and_without_its_bytes(
    error: Web3Exception, reason: str
) -> None:
    found = refusal(error)

    assert isinstance(found, Reverted)
    assert found.reason == reason
    assert str(found).endswith(f"this transaction: {reason or 'it gives no reason'}")


def test_what_the_node_refuses_is_told_in_its_words() -> None:
    answer = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32003, "message": "no funds"}}
    error = Web3RPCError(str(answer["error"]), rpc_response=answer)  # type: ignore[arg-type]  # as a node sends it

    assert str(refusal(error)) == "the chain's node does not take this transaction: no funds"
    assert node_words(Web3Exception("something else")) == "something else"
