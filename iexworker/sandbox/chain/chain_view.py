"""The real chain behind the scheduler's and the proxy's interface (docs/spec/05, 2)."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import requests
from web3.exceptions import TransactionNotFound, Web3Exception, Web3RPCError
from web3.types import FilterParams

from iexworker.poco.hashing import lenient_bytes
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.chain.reverts import node_words
from iexworker.sandbox.chain.sender import Sender
from iexworker.sandbox.scheduler.interfaces import (
    ChainContribution,
    ChainRefused,
    ChainTask,
    ChainTaskStatus,
    ChainUnreachable,
    ContributionStatus,
    Mined,
)
from iexworker.sandbox.scheduler.models import Deal

_P = ParamSpec("_P")
_R = TypeVar("_R")

INITIALIZE_GAS = 300_000
FINALIZE_GAS = 500_000
CALLBACK_GAS_FACTOR = 2
"""The contract keeps a 64th of the gas back around a callback; its own allowance comes on top."""
CALLDATA_GAS = 4
"""What a byte of a transaction costs at the least, a zero (EIP-2028)."""
GAS_USED_UP = 0.95
"""Part of its gas above which a transaction that reverted had too little: each call inside keeps a
64th of it back."""
SCORE_DIVISOR = 3
LOWEST_SHARE = 3

_GETTERS = (("m_appType", "string"), ("m_appMultiaddr", "bytes"))
_APP_ABI = [
    {
        "type": "function",
        "name": name,
        "inputs": [],
        "outputs": [{"name": "", "type": kind}],
        "stateMutability": "view",
    }
    for name, kind in _GETTERS
]


def _reaching(
    method: Callable[Concatenate[Ledger, _P], _R],
) -> Callable[Concatenate[Ledger, _P], _R]:
    """Tell of a node that is out of reach, or does not take a request, in the interface's words."""

    @functools.wraps(method)
    def asked(self: Ledger, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except (requests.RequestException, Web3Exception) as error:
            raise ChainUnreachable(str(error)) from error

    return asked


class Ledger:
    """Reads the contracts, and sends the transactions of the workerpool's owner."""

    def __init__(self, chain: LocalChain) -> None:
        self._chain = chain
        self._web3 = chain.web3
        self._sender = Sender(chain.web3, chain.accounts["scheduler"], chain.deployed["chainId"])
        self._workerpool: str = chain.deployed["workerpool"]
        self._free_gas = bool(chain.deployed["chainConfig"]["sidechain"])

    @_reaching
    def head(self) -> tuple[int, int]:
        """Return number and timestamp of the latest block."""
        block = self._web3.eth.get_block("latest")
        return block["number"], block["timestamp"]

    @_reaching
    def deals_since(self, block: int) -> Sequence[tuple[int, str]]:
        """Find the `SchedulerNotice` events of our workerpool."""
        pool = self._workerpool.removeprefix("0x").lower().rjust(64, "0")
        found = self._logs(block, "SchedulerNotice(address,bytes32)", f"0x{pool}")
        return [(entry["blockNumber"], "0x" + entry["data"].hex()) for entry in found]

    @_reaching
    def deal(self, deal_id: str) -> Deal | None:
        """Read a deal with its category and its app."""
        found = self._chain.struct("viewDeal", _bytes(deal_id))
        if not found["startTime"]:
            return None
        category = self._chain.struct("viewCategory", found["category"])
        app = self._web3.eth.contract(address=found["app"][0], abi=_APP_ABI)
        params = _params(found["params"])
        return Deal(
            deal_id=deal_id,
            trust=found["trust"],
            tag="0x" + found["tag"].hex(),
            app_type=app.functions.m_appType().call(),
            app_image=app.functions.m_appMultiaddr().call().decode(errors="replace"),
            command=params.get("iexec_args") or "",
            callback=str(found["callback"]).lower(),
            max_execution_ms=category["workClockTimeRef"] * 1000,
            start_s=found["startTime"],
            first=found["botFirst"],
            size=found["botSize"],
            proxy_url=params.get("iexec_result_storage_proxy"),
        )

    @_reaching
    def task(self, task_id: str) -> ChainTask | None:
        """Read a task."""
        found = self._chain.struct("viewTask", _bytes(task_id))
        if not found["status"]:
            return None
        return ChainTask(
            status=ChainTaskStatus(found["status"]),
            deal_id="0x" + found["dealid"].hex(),
            consensus="0x" + found["consensusValue"].hex(),
            reveal_deadline_s=found["revealDeadline"],
            final_deadline_s=found["finalDeadline"],
            reveals=found["revealCounter"],
            winners=found["winnerCounter"],
        )

    @_reaching
    def contribution(self, task_id: str, wallet: str) -> ChainContribution:
        """Read a contribution."""
        address = self._web3.to_checksum_address(wallet)
        found = self._chain.struct("viewContribution", _bytes(task_id), address)
        return ChainContribution(
            status=ContributionStatus(found["status"]),
            result_hash="0x" + found["resultHash"].hex(),
            weight=found["weight"],
        )

    @_reaching
    def worker_weight(self, wallet: str) -> int:
        """Work out a worker's weight from its score."""
        return weight_of(self._chain.read("viewScore", self._web3.to_checksum_address(wallet)))

    @_reaching
    def consensus_block(self, task_id: str) -> int:
        """Find the `TaskConsensus` event."""
        found = self._logs(0, "TaskConsensus(bytes32,bytes32)", task_id)
        return int(found[-1]["blockNumber"]) if found else 0

    @_reaching
    def has_gas(self, wallet: str) -> bool:
        """Whether transactions are free, or the wallet has something to pay them with."""
        if self._free_gas:
            return True
        return self._web3.eth.get_balance(self._web3.to_checksum_address(wallet)) > 0

    @_reaching
    def initialize(self, deal_id: str, index: int) -> str:
        """Send `initialize`."""
        return self._send("initialize", _bytes(deal_id), index, gas=INITIALIZE_GAS)

    @_reaching
    def finalize(self, task_id: str, results: str, callback_data: str) -> str:
        """Send `finalize` with the link and, for a callback task, the data of the callback.

        The data is read as web3j does, from which the worker has made its digest, too.
        """
        gas = FINALIZE_GAS
        if callback_data:
            gas += CALLBACK_GAS_FACTOR * int(self._chain.read("callbackgas"))
        if CALLDATA_GAS * (len(results) + len(callback_data) // 2) > gas:
            # The node would say the same of the gas; signing and sending megabytes takes seconds.
            raise ChainRefused(f"a transaction with {gas} gas cannot carry it")
        link, data = results.encode(errors="replace"), lenient_bytes(callback_data)
        return self._send("finalize", _bytes(task_id), link, data, gas=gas)

    @_reaching
    def mined(self, transaction: str) -> Mined | None:
        """Read a receipt."""
        try:
            receipt = self._web3.eth.get_transaction_receipt(_hash(transaction))
        except TransactionNotFound:
            return None
        if receipt["status"] == 1:
            return Mined(receipt["blockNumber"], succeeded=True)
        given = self._web3.eth.get_transaction(_hash(transaction))["gas"]
        out_of_gas = receipt["gasUsed"] > GAS_USED_UP * given
        return Mined(receipt["blockNumber"], succeeded=False, out_of_gas=out_of_gas)

    @_reaching
    def deal_owner(self, deal_id: str) -> str | None:
        """Return the owner of the deal's workerpool in lower case: who signs authorisations."""
        found = self._chain.struct("viewDeal", _bytes(deal_id))
        return str(found["workerpool"][1]).lower() if found["startTime"] else None

    def _send(self, function: str, *arguments: object, gas: int) -> str:
        data = self._chain.hub.encode_abi(function, args=arguments)
        try:
            return self._sender.send(self._chain.hub.address, data, gas=gas).to_0x_hex()
        except Web3RPCError as error:
            raise ChainRefused(node_words(error)) from error

    def _logs(self, block: int, event: str, topic: str) -> Sequence[Any]:
        asked: FilterParams = {
            "fromBlock": block,
            "toBlock": "latest",
            "address": self._chain.hub.address,
            "topics": ["0x" + self._web3.keccak(text=event).hex().removeprefix("0x"), topic],
        }
        return self._web3.eth.get_logs(asked)


def weight_of(score: int) -> int:
    """Return the factor by which a contribution makes its group grow, as in `contribute`."""
    return max(score // SCORE_DIVISOR, LOWEST_SHARE) - 1


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _hash(text: str) -> Any:  # noqa: ANN401 - web3 wants its own hash type, texts serve as well
    return text


def _params(text: str) -> dict[str, str]:
    """Read what the scheduler itself needs of a deal's parameters; other texts are arguments."""
    try:
        params = json.loads(text)
    except (ValueError, RecursionError):
        return {"iexec_args": text}
    if not isinstance(params, dict):
        return {"iexec_args": text}
    return {key: value for key, value in params.items() if isinstance(value, str)}
