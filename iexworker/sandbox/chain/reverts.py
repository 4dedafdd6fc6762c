"""Why a contract reverts, or the node takes no transaction, in the words that they give."""

from __future__ import annotations

from web3.exceptions import (
    ContractCustomError,
    ContractLogicError,
    ContractPanicError,
    Web3Exception,
    Web3RPCError,
)

from iexworker.errors import SandboxError

OVERFLOW = "Panic error 0x11"
"""What the compiler's own check says of a number that grows too large."""

_PREFIX = "execution reverted"


class Reverted(SandboxError):
    """A contract does not take a call; `reason` is its own text, empty where it gives none."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the contract refuses this transaction: {reason or 'it gives no reason'}")
        self.reason = reason


def refusal(error: Web3Exception) -> SandboxError:
    """Make the error to raise for what web3 says of a call that was tried."""
    if isinstance(error, ContractCustomError):
        return Reverted(f"error {str(error.data)[:10]}")
    if isinstance(error, ContractPanicError):
        return Reverted(error.message or "")
    if isinstance(error, ContractLogicError):
        return Reverted((error.message or "").removeprefix(_PREFIX).removeprefix(":").strip())
    return SandboxError(f"the chain's node does not take this transaction: {node_words(error)}")


def node_words(error: Web3Exception) -> str:
    """Give the text of a JSON-RPC error without what is around it."""
    answer = error.rpc_response if isinstance(error, Web3RPCError) else None
    told = (answer or {}).get("error")
    return str(told["message"] if isinstance(told, dict) and "message" in told else error)
