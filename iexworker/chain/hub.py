"""The PoCo contracts as the worker reads them (05, sections 2 and 3).

Every read is made at the latest block, from the wallet. One that fails raises `ChainError`; only
what a contract does not know is None, where a function says so. One instance a thread.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from iexworker.chain.logscan import scan
from iexworker.chain.rpc import Batches, Request, Rpc, RpcError, quantity, raise_first
from iexworker.errors import ChainError
from iexworker.poco import abi, description, receipts
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ActionKind,
    Category,
    ChainAccount,
    ChainConfiguration,
    ChainTask,
    Contributed,
    Contribution,
    ContributionEvent,
    Deal,
    Head,
    Log,
    Nonces,
    Profile,
    Receipt,
    TaskDescription,
    TaskView,
)

log = logging.getLogger(__name__)

DESCRIPTION_TRIES = 6
"""Reads of each step of a description, one block time apart (3.8)."""

_LONGEST_TASK_S = 10 * 36_000
"""From the start of a deal to the final deadline of a task of the longest category (3.1)."""

_Found = TypeVar("_Found")
_ROLLUP_FIELDS = frozenset({"l1BlockNumber", "sendRoot"})
_EIP1271_MAGIC = bytes.fromhex("1626ba7e")


class Hub:
    """The hub contract and its node, seen from one wallet."""

    def __init__(
        self,
        configuration: ChainConfiguration,
        node_url: str,
        wallet: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        batches: Batches | None = None,
    ) -> None:
        self.configuration = configuration
        self.wallet = wallet.lower()
        self.rpc = Rpc(node_url, of_pool=node_url == configuration.node_url, batches=batches)
        self._sleep = sleep

    # The node.

    def client_version(self) -> str:
        """Return what the node calls itself (`web3_clientVersion`)."""
        return str(self.rpc.call("web3_clientVersion"))

    def chain_id(self) -> int:
        """Return the chain that the node is on, to be compared before anything is signed."""
        return quantity(self.rpc.call("eth_chainId"), "eth_chainId")

    def has_contract(self) -> bool:
        """Tell whether there is any code at the hub's address; True where the node hides it."""
        try:
            code = self.rpc.call("eth_getCode", self.configuration.hub_address, "latest")
        except RpcError:
            return True
        return isinstance(code, str) and bool(code.removeprefix("0x").strip("0"))

    def genesis_hash(self) -> str:
        """Return the hash of block 0, which tells two chains of one id apart."""
        return str(_block(self.rpc.call("eth_getBlockByNumber", "0x0", False))["hash"]).lower()

    def head(self) -> Head:
        """Return number and time of the newest block."""
        return head_of(self.rpc.call("eth_getBlockByNumber", "latest", False))

    def block_number(self) -> int:
        """Return the number of the newest block."""
        return quantity(self.rpc.call("eth_blockNumber"), "eth_blockNumber")

    def purse(self) -> tuple[int, int | None, Head]:
        """Return balance, the network's price of gas (None where it is not told) and head."""
        balance, price, head = self.rpc.batch(
            [
                ("eth_getBalance", (self.wallet, "latest")),
                ("eth_gasPrice", ()),
                ("eth_getBlockByNumber", ("latest", False)),
            ]
        )
        raise_first((balance, head))
        return quantity(balance, "eth_getBalance"), gas_price(price), head_of(head)

    def nonces(self) -> Nonces:
        """Return the wallet's transaction counts; one that cannot be read is an error, never 0."""
        latest, pending = self._all(nonce_requests(self.wallet))
        return Nonces(quantity(latest, "latest nonce"), quantity(pending, "pending nonce"))

    def receipt(self, tx_hash: str) -> Receipt | None:
        """Return a transaction's receipt, None while it has none."""
        return receipts.parse(self.rpc.call("eth_getTransactionReceipt", tx_hash))

    # The contracts.

    def task(self, task_id: str) -> ChainTask | None:
        """Return the task, None when the hub does not know it."""
        return abi.task(self._read(self.view(abi.VIEW_TASK, task_id)))

    def deal(self, deal_id: str) -> Deal | None:
        """Return the deal, None when the hub does not know it."""
        return abi.deal(self._read(self.view(abi.VIEW_DEAL, deal_id)))

    def contribution(self, task_id: str) -> Contribution:
        """Return this wallet's contribution; its status is UNSET when there is none."""
        return abi.contribution(self._read(self.view_contribution(task_id)))

    def account(self) -> ChainAccount:
        """Return the wallet's stake, free and locked."""
        return abi.account(self._read(self.view(abi.VIEW_ACCOUNT, self.wallet)))

    def category(self, index: int) -> Category:
        """Return a category of tasks."""
        return abi.category(self._read(self.view(abi.VIEW_CATEGORY, index)))

    def task_view(self, task_id: str) -> TaskView:
        """Return task, contribution, account and head, all in one round trip."""
        task, contribution, account, head = self._all(
            [
                self.view(abi.VIEW_TASK, task_id),
                self.view_contribution(task_id),
                self.view(abi.VIEW_ACCOUNT, self.wallet),
                ("eth_getBlockByNumber", ("latest", False)),
            ]
        )
        return TaskView(
            abi.task(task), abi.contribution(contribution), abi.account(account), head_of(head)
        )

    def workerpool_owner(self, workerpool: str) -> str:
        """Return the owner of a workerpool."""
        return abi.address(abi.OWNER, self._read(self.view(abi.OWNER, to=workerpool)))

    def tee_broker(self) -> str | None:
        """Return the hub's TEE broker, who may sign authorisations too; None when there is none."""
        try:
            broker = abi.address(abi.TEE_BROKER, self._read(self.view(abi.TEE_BROKER)))
        except RpcError as error:
            if error.reverted:
                return None
            raise
        return None if broker == ZERO_ADDRESS else broker

    def accepts_signature(self, contract: str, digest: str, signature: str) -> bool:
        """Ask a contract that owns a workerpool whether a signature is its own (EIP-1271).

        False also for an address without code, which can have signed with its key alone.
        """
        call = self.view(abi.IS_VALID_SIGNATURE, digest, signature, to=contract)
        try:
            answer = self._read(call)
        except RpcError as error:
            if error.reverted:
                return False
            raise
        if answer == "0x":
            return False
        return bool(abi.values(abi.IS_VALID_SIGNATURE, answer)[0] == _EIP1271_MAGIC)

    def describe(self, task_id: str, profile: Profile) -> TaskDescription:
        """Return all that computing the task needs, with retries (3.6, 3.8).

        Three round trips when all goes well. Raises `ChainError` when a step stays empty.
        """
        task = self._retried(task_id, lambda: self._known(self.task(task_id), "task", task_id))
        return self._retried(task_id, lambda: self._described(task, profile))

    def oldest_block(self) -> int:
        """Return a block before which no task that has not ended yet can have begun.

        Found by the blocks' own times, in some twenty reads: not every chain keeps its block time.
        """
        head = self.head()
        since_s = head.timestamp_s - _LONGEST_TASK_S
        return bisect_left(range(head.number), since_s, key=self._time_of)

    def _time_of(self, block: int) -> int:
        return head_of(self.rpc.call("eth_getBlockByNumber", hex(block), False)).timestamp_s

    def contributions_since(self, block: int) -> list[ContributionEvent]:
        """Return this wallet's contributions from `block` on, to rebuild a lost journal from."""
        wanted = [receipts.TASK_CONTRIBUTE, None, receipts.address_topic(self.wallet)]
        found = [
            entry for logs in scan(self.logs, wanted, block, self.block_number()) for entry in logs
        ]
        return [
            ContributionEvent(entry.topics[1], entry.data, entry.block_number, entry.tx_hash)
            for entry in sorted(found, key=lambda entry: entry.block_number or 0)
            if entry.block_number is not None
        ]

    def contributed(self, tx_hash: str) -> Contributed | None:
        """Return what a transaction contributed, None when it is unknown or none of `contribute`.

        Raises `ChainError` for an answer of another shape.
        """
        raw = self.rpc.call("eth_getTransactionByHash", tx_hash)
        if raw is None:
            return None
        data = raw.get("input") if isinstance(raw, dict) else None
        if not isinstance(data, str):
            raise ChainError(f"transaction {tx_hash} of another shape: {raw!r:.200}")
        return abi.contributed(data)

    def event(self, kind: ActionKind, task_id: str, since_block: int) -> Log | None:
        """Return the event that confirms an action of this wallet, None when none is found."""
        wanted = receipts.topics(kind, task_id, self.wallet)
        for logs in scan(self.logs, wanted, since_block, self.block_number()):
            if logs:
                return logs[-1]
        return None

    def reward_nrlc(self, task_id: str, since_block: int) -> int | None:
        """Return what the end of a task has paid this wallet, None while none is found.

        The contract's `TaskFinalize` and `Reward`, both in the transaction that ends the task.
        """
        end = self.event(ActionKind.CONTRIBUTE_AND_FINALIZE, task_id, since_block)
        if end is None or end.block_number is None:
            return None
        paid = self.logs([receipts.REWARD], end.block_number, end.block_number)
        return receipts.reward_nrlc(paid, task_id, self.wallet)

    def logs(self, topics: Sequence[str | None], first: int, last: int) -> list[Log]:
        """Return the hub's events between two blocks, both included."""
        found = self.rpc.call(
            "eth_getLogs",
            {
                "address": self.configuration.hub_address,
                "topics": list(topics),
                "fromBlock": hex(first),
                "toBlock": hex(last),
            },
        )
        try:
            return [receipts.log(item) for item in found]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ChainError(f"eth_getLogs: events of another shape ({error})") from None

    def view(self, signature: str, *arguments: object, to: str = "") -> Request:
        """Return the request of a read, of the hub unless `to` names another contract."""
        data = "0x" + abi.calldata(signature, *arguments).hex()
        target = to or self.configuration.hub_address
        return "eth_call", ({"from": self.wallet, "to": target, "data": data}, "latest")

    def view_contribution(self, task_id: str) -> Request:
        """Return the request that reads this wallet's contribution."""
        return self.view(abi.VIEW_CONTRIBUTION, task_id, self.wallet)

    def _described(self, task: ChainTask, profile: Profile) -> TaskDescription:
        deal = self._known(self.deal(task.deal_id), "deal", task.deal_id)
        answers = self._all(
            [
                self.view(abi.VIEW_CATEGORY, deal.category),
                *(self.view(name, to=asset) for asset, name in description.getters(deal)),
            ]
        )
        return description.assemble(task, deal, answers, profile)

    def _known(self, found: _Found | None, what: str, identifier: str) -> _Found:
        if found is None:
            raise ChainError(
                f"{what} {identifier} is not known to {self.configuration.hub_address}"
            )
        return found

    def _retried(self, task_id: str, read: Callable[[], _Found]) -> _Found:
        for left in range(DESCRIPTION_TRIES - 1, 0, -1):
            try:
                return read()
            except ChainError as error:
                facts = {"task": task_id, "error": str(error), "tries_left": left}
                log.debug("task not read from the chain, trying again", extra=facts)
                self._sleep(self.configuration.block_time_s)
        return read()

    def _read(self, request: Request) -> Any:  # noqa: ANN401 - any JSON value
        method, parameters = request
        return self.rpc.call(method, *parameters)

    def _all(self, requests: Sequence[Request]) -> list[Any]:
        results = self.rpc.batch(requests)
        raise_first(results)
        return results


def nonce_requests(wallet: str) -> list[Request]:
    """Return the requests that read the wallet's transaction counts: mined, and with pending."""
    return [("eth_getTransactionCount", (wallet, block)) for block in ("latest", "pending")]


def gas_price(result: object) -> int | None:
    """Read the network's price of gas in wei, None where the node does not tell it."""
    return None if isinstance(result, RpcError) else quantity(result, "eth_gasPrice")


def head_of(raw: object) -> Head:
    """Read a block's number and time; its long extra data of other consensus rules is no matter.

    A rollup's block carries fields of the chain below: there, no node holds what is not mined.
    """
    block = _block(raw)
    base_fee = block.get("baseFeePerGas")
    return Head(
        quantity(block.get("number"), "block number"),
        quantity(block.get("timestamp"), "block timestamp"),
        None if base_fee is None else quantity(base_fee, "base fee"),
        has_pool=not _ROLLUP_FIELDS & block.keys(),
    )


def _block(raw: object) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ChainError(f"expected a block, the node says {raw!r}")
    return raw
