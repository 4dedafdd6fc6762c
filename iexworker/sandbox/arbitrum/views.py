"""What the node answers to reads: without a pool, maybe late, with the chain's own fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iexworker.poco.hashing import keccak
from iexworker.sandbox.arbitrum.l1 import call_poster_gas, intrinsic_gas, padded
from iexworker.sandbox.arbitrum.limits import check_range, check_results
from iexworker.sandbox.arbitrum.sequencer import Sequencer, total_gas
from iexworker.sandbox.arbitrum.switches import Switches
from iexworker.sandbox.arbitrum.upstream import Json, RpcError, Upstream

GAS_LIMIT = hex(2**50)
INTERNAL_TYPE = "0x6a"
INTERNAL_SENDER = "0x00000000000000000000000000000000000a4b05"
L1_BLOCK_0 = 20_000_000
BLOCKS_PER_L1_BLOCK = 48
"""Four a second, and one of L1 in twelve."""

TAGGED = {
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
    "eth_getStorageAt": 2,
    "eth_call": 1,
    "eth_estimateGas": 1,
    "eth_getBlockByNumber": 0,
    "eth_getBlockReceipts": 0,
}
"""Which parameter of a method names a block."""

NOT_FOUND = -32601
Parameters = list[Any]


class Views:
    """Answers every method but the sending of transactions."""

    def __init__(self, node: Upstream, switches: Switches, sequencer: Sequencer) -> None:
        self._node = node
        self._switches = switches
        self._sequencer = sequencer
        self._own: dict[str, Callable[[Parameters, int | None], Json]] = {
            "eth_blockNumber": self._block_number,
            "eth_gasPrice": lambda _, __: hex(switches.base_fee_wei),
            "eth_maxPriorityFeePerGas": lambda _, __: "0x0",
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "eth_getBlockByNumber": self._block,
            "eth_getBlockByHash": self._block,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getLogs": self._logs,
        }

    def answer(self, method: str, parameters: Parameters, *, late: bool) -> Json:
        """Answer as the node that is behind, or as the one that is not."""
        if method.startswith("txpool_") and self._switches.no_pool:
            raise RpcError(f"the method {method} does not exist/is not available", NOT_FOUND)
        head = self._sequencer.heads.before(self._switches.lag_s) if late else None
        if method == "eth_getTransactionCount":
            head = None  # a node that is behind in blocks knows the nonces of now
        placed = self._placed(method, list(parameters), head)
        own = self._own.get(method)
        return own(placed, head) if own else self._node.ask(method, *placed)

    def _placed(self, method: str, parameters: Parameters, head: int | None) -> Parameters:
        place = TAGGED.get(method)
        if place is None or (len(parameters) <= place and head is None):
            return parameters
        parameters += ["latest"] * (place + 1 - len(parameters))
        parameters[place] = self._tag(parameters[place], head)
        return parameters

    def _tag(self, tag: Json, head: int | None) -> Json:
        """Say in the node's words which block is meant."""
        if tag in ("safe", "finalized"):
            return hex(self._sequencer.heads.before(self._switches.finality_s))
        if tag == "latest" or (tag == "pending" and self._switches.no_pool):
            return "latest" if head is None else hex(head)
        return tag

    def _block_number(self, _: Parameters, head: int | None) -> Json:
        return self._node.ask("eth_blockNumber") if head is None else hex(head)

    # --- calls ---

    def _call(self, parameters: Parameters, head: int | None) -> Json:
        call = dict(parameters[0])
        if head is not None and _beyond(parameters[1] if len(parameters) > 1 else None, head):
            raise RpcError("header not found")
        if self._switches.l1_gas and call.get("gas") and "from" in call:
            call["gas"] = hex(self._left(call))
        try:
            return self._node.ask("eth_call", call, *parameters[1:])
        except RpcError as error:
            if call.get("gas") and "gas" in error.message.lower():
                raise RpcError("out of gas") from error
            raise

    def _left(self, call: dict[str, Any]) -> int:
        """Give the gas that L1 leaves of a call's."""
        supplied, data = int(call["gas"], 16), _data(call)
        poster = call_poster_gas(data, self._switches.l1_price)
        if supplied < poster + intrinsic_gas(data, creates=not call.get("to")):
            raise RpcError(f"err: intrinsic gas too low (supplied gas {supplied})")
        return supplied - poster

    def _estimate(self, parameters: Parameters, head: int | None) -> Json:
        call = {name: value for name, value in parameters[0].items() if name != "gas"}
        estimate = int(self._node.ask("eth_estimateGas", call, *parameters[1:]), 16)
        if self._switches.l1_gas:
            estimate += padded(call_poster_gas(_data(call), self._switches.l1_price))
        allowed = parameters[0].get("gas")
        if allowed and int(allowed, 16) < estimate:
            raise RpcError(f"gas required exceeds allowance ({int(allowed, 16)})")
        return hex(estimate)

    # --- blocks, transactions, logs ---

    def _block(self, parameters: Parameters, head: int | None) -> Json:
        method = "eth_getBlockByHash" if _is_hash(parameters[0]) else "eth_getBlockByNumber"
        block = self._node.ask(method, *parameters)
        if block is None or (head is not None and _beyond(block.get("number"), head)):
            return None
        if not self._switches.extra_fields:
            return block
        number = int(block["number"], 16)
        first: Json = _internal_hash(block["hash"])
        if len(parameters) > 1 and parameters[1]:
            first = _internal(first, block)
        return block | {
            "gasLimit": GAS_LIMIT,
            "l1BlockNumber": _l1_number(number),
            "sendCount": hex(number),
            "sendRoot": "0x" + keccak(f"send {number}".encode()).hex(),
            "transactions": [first, *(self._shifted(one) for one in block["transactions"])],
        }

    def _transaction(self, parameters: Parameters, head: int | None) -> Json:
        found = self._node.ask("eth_getTransactionByHash", *parameters)
        waits = found is not None and found.get("blockNumber") is None
        if found is None or (waits and self._switches.no_pool):
            return None
        if head is not None and _beyond(found.get("blockNumber"), head):
            return None
        return self._shifted(found)

    def _receipt(self, parameters: Parameters, head: int | None) -> Json:
        receipt = self._node.ask("eth_getTransactionReceipt", *parameters)
        if receipt is None or (head is not None and _beyond(receipt["blockNumber"], head)):
            return None
        charge = self._sequencer.charges.get(receipt["transactionHash"])
        changes: dict[str, Json] = {}
        if charge is not None:
            used = hex(total_gas(int(receipt["gasUsed"], 16), charge))
            changes = {"gasUsed": used, "cumulativeGasUsed": used}
            changes["effectiveGasPrice"] = hex(charge.base_fee_wei)
        if self._switches.extra_fields:
            changes["gasUsedForL1"] = hex(charge.poster_gas if charge else 0)
            changes["l1BlockNumber"] = _l1_number(int(receipt["blockNumber"], 16))
            changes["logs"] = [self._shifted(log) for log in receipt["logs"]]
            receipt = self._shifted(receipt)
        return receipt | changes

    def _logs(self, parameters: Parameters, head: int | None) -> Json:
        wanted = dict(parameters[0])
        if "blockHash" not in wanted:
            newest = int(self._node.ask("eth_blockNumber"), 16) if head is None else head
            first, last = (
                self._number(wanted.get(end, "latest"), newest) for end in ("fromBlock", "toBlock")
            )
            check_range(self._switches, last - first + 1)
            last = min(last, newest)
            if first > last:
                return []
            wanted |= {"fromBlock": hex(first), "toBlock": hex(last)}
        logs = self._node.ask("eth_getLogs", wanted)
        check_results(self._switches, len(logs))
        if head is not None:
            logs = [log for log in logs if not _beyond(log["blockNumber"], head)]
        return [self._shifted(log) for log in logs]

    def _number(self, tag: str, newest: int) -> int:
        if tag == "earliest":
            return 0
        found = self._tag(tag, newest)
        return int(found, 16) if found.startswith("0x") else newest

    def _shifted(self, found: Json) -> Json:
        """Count the chain's own transaction, the first of each block."""
        index = found.get("transactionIndex") if isinstance(found, dict) else None
        if index is None or not self._switches.extra_fields:
            return found
        return found | {"transactionIndex": hex(int(index, 16) + 1)}


def _beyond(number: Json, head: int) -> bool:
    return isinstance(number, str) and number.startswith("0x") and int(number, 16) > head


def _is_hash(block: Json) -> bool:
    return isinstance(block, str) and len(block) == len("0x") + 64


def _data(call: dict[str, Any]) -> bytes:
    text = str(call.get("data") or call.get("input") or "0x")
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return b""  # the node says what is wrong with it


def _l1_number(number: int) -> str:
    return hex(L1_BLOCK_0 + number // BLOCKS_PER_L1_BLOCK)


def _internal_hash(block_hash: str) -> str:
    return "0x" + keccak(f"internal {block_hash}".encode()).hex()


def _internal(tx_hash: str, block: dict[str, Any]) -> dict[str, Any]:
    """Make the transaction by which ArbOS begins a block."""
    return {
        "blockHash": block["hash"],
        "blockNumber": block["number"],
        "from": INTERNAL_SENDER,
        "to": INTERNAL_SENDER,
        "gas": "0x0",
        "gasPrice": "0x0",
        "hash": tx_hash,
        "input": "0x6bf6a42d",
        "nonce": "0x0",
        "transactionIndex": "0x0",
        "value": "0x0",
        "type": INTERNAL_TYPE,
        "chainId": block.get("chainId", "0x0"),
        "v": "0x0",
        "r": "0x0",
        "s": "0x0",
    }
