"""The outbox's questions to a real node, in few round trips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from iexworker.chain.hub import Hub, gas_price, head_of, nonce_requests
from iexworker.chain.rpc import Request, RpcError, quantity, raise_first
from iexworker.errors import ChainError
from iexworker.outbox.actions import Action, ActionKey
from iexworker.outbox.evidence import BroadcastAnswer, Evidence, Position, answer_of
from iexworker.outbox.transaction import hash_of
from iexworker.poco import abi, receipts
from iexworker.poco.models import ActionKind, ChainReceipt, Nonces


class ChainNode:
    """A hub's node, for one outbox."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._has_pool = True

    def position(self) -> Position:
        """Read nonces, head and price in one round trip; raises `ChainError`.

        It comes before `evidence`: a nonce that is spent here has its receipt there.
        """
        chain_id, latest, pending, head, price = self._hub.rpc.batch(
            [
                ("eth_chainId", ()),
                *nonce_requests(self._hub.wallet),
                ("eth_getBlockByNumber", ("latest", False)),
                ("eth_gasPrice", ()),
            ]
        )
        raise_first((chain_id, latest, pending, head))
        nonces = Nonces(quantity(latest, "latest nonce"), quantity(pending, "pending nonce"))
        newest = head_of(head)
        self._has_pool = newest.has_pool
        return Position(quantity(chain_id, "eth_chainId"), nonces, newest, gas_price(price))

    def evidence(
        self, hashes: Sequence[str], tasks: Sequence[str], trials: Sequence[Action]
    ) -> Evidence:
        """Read receipts and contributions, and estimate the gas of `trials`, in one round trip.

        Where there is no pool, no node knows the hash of what is not mined: only the receipt is
        asked for, and the head, by which a late node is told. An estimate that reverts is the
        contract's refusal. Raises `ChainError`; a trial that fails for another reason counts as
        fit.
        """
        held = hashes if self._has_pool else ()
        facts: list[Request] = [
            *(("eth_getTransactionReceipt", (tx_hash,)) for tx_hash in hashes),
            *(("eth_getTransactionByHash", (tx_hash,)) for tx_hash in held),
            *(self._hub.view_contribution(task) for task in tasks),
        ]
        if not self._has_pool:
            facts.append(("eth_blockNumber", ()))
        results = self._hub.rpc.batch([*facts, *(self._trial(action) for action in trials)])
        found, tried = results[: len(facts)], results[len(facts) :]
        raise_first(found)
        answers = iter(found)
        mined = [receipts.parse(next(answers)) for _ in hashes]
        known = {tx_hash for tx_hash in held if next(answers) is not None}
        made = {task: abi.contribution(next(answers)) for task in tasks}
        block = next(answers, None)
        return Evidence(
            receipts={receipt.tx_hash: receipt for receipt in mined if receipt is not None},
            known=frozenset(known),
            contributions=made,
            refusals=dict(_refusals(trials, tried)),
            estimates=dict(_estimates(trials, tried)),
            head_number=None if block is None else quantity(block, "eth_blockNumber"),
        )

    def broadcast(self, raw: bytes) -> tuple[BroadcastAnswer, str]:
        """Give the node signed bytes; returns its answer and its words.

        Raises `ChainError` when there was no answer: the node may have the bytes all the same.
        """
        try:
            said = self._hub.rpc.call("eth_sendRawTransaction", "0x" + raw.hex())
        except RpcError as error:
            return answer_of(error.reason), error.reason
        if str(said).lower() != hash_of(raw):
            raise ChainError(f"the node calls {hash_of(raw)} by another hash: {said}")
        return BroadcastAnswer.TAKEN, ""

    def locate(self, kind: ActionKind, task_id: str) -> ChainReceipt | None:
        """Find the event of an action that was mined without our knowing its transaction."""
        found = self._hub.event(kind, task_id, self._hub.oldest_block())
        if found is None or not found.block_number:
            return None
        return ChainReceipt(found.block_number, found.tx_hash)

    def _trial(self, action: Action) -> tuple[str, Sequence[object]]:
        call = {
            "from": self._hub.wallet,
            "to": self._hub.configuration.hub_address,
            "data": "0x" + action.calldata.hex(),
        }
        return "eth_estimateGas", (call, "latest")


def _refusals(
    trials: Sequence[Action], results: Sequence[object]
) -> Iterator[tuple[ActionKey, str]]:
    for action, result in zip(trials, results, strict=True):
        if not isinstance(result, RpcError) or not result.reverted:
            continue
        if answer_of(result.reason) is not BroadcastAnswer.SHORT_OF_GAS:
            yield action.key, result.reason


def _estimates(
    trials: Sequence[Action], results: Sequence[object]
) -> Iterator[tuple[ActionKey, int]]:
    for action, result in zip(trials, results, strict=True):
        if not isinstance(result, RpcError):
            yield action.key, quantity(result, "eth_estimateGas")
