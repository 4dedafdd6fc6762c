"""H11: transactions wait for each other's receipts, a late receipt counts as a failure, and a
nonce that cannot be read counts as 0.

Ours are broadcast one after the other; the contribution decides, whatever became of a receipt;
without a nonce nothing is signed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import pytest
from eth_abi.abi import encode

from iexworker.chain import rpc
from iexworker.chain.hub import Hub
from iexworker.chain.rpc import RpcError
from iexworker.errors import ChainError
from iexworker.outbox import node as chain_node
from iexworker.outbox import plan
from iexworker.outbox import verdict as verdicts
from iexworker.outbox.actions import FREE, ActionMined, OutboxEntry, Result, Transaction
from iexworker.outbox.evidence import Node
from iexworker.outbox.gas import PriceRule
from iexworker.outbox.ledger import SCHEMA, Ledger
from iexworker.outbox.node import ChainNode
from iexworker.outbox.outbox import Outbox
from iexworker.outbox.plan import Move
from iexworker.outbox.situation import ChainFacts, Policy
from iexworker.outbox.verdict import Done, Over
from iexworker.poco.models import ChainConfiguration
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.helpers.fake_chain import (
    BLOCK_TIME_S,
    CHAIN_ID,
    HUB,
    START_S,
    WALLET,
    FakeChain,
    contribute,
    task,
)
from tests.helpers.fake_node import Fault, serving

CONFIGURATION = ChainConfiguration(CHAIN_ID, HUB, "http://node", True, BLOCK_TIME_S)
UPSTREAM_POLLS = 12
UNSET = "0x" + encode(["uint8", "bytes32", "bytes32", "address"], [0, b"", b"", HUB]).hex()


class Service:
    """An outbox with its ledger, on a node whose time the scenario moves."""

    def __init__(self, node: Node) -> None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.executescript(SCHEMA)
        self.ledger = Ledger(connection, "key")
        self.now_s = float(START_S)
        self.outbox = Outbox(
            node,
            self.ledger,
            WALLET,
            CONFIGURATION,
            PriceRule(1.3, 100_000),
            clock=lambda: self.now_s,
            monotonic=lambda: self.now_s,
        )

    def signed(self) -> list[Transaction]:
        return self.ledger.transactions(0)


# --- one after the other -------------------------------------------------------------------------


def two_on_a_slow_chain() -> None:
    chain = FakeChain()
    service = Service(chain)
    for number in (1, 2):
        service.outbox.submit(contribute(task(number)))
        service.outbox.step()
    assert len(chain.pool) == 2


def one_at_a_time(patch: pytest.MonkeyPatch) -> None:
    moves = plan.moves

    def serialised(
        entries: Sequence[OutboxEntry],
        signed: Sequence[Transaction],
        facts: ChainFacts,
        policy: Policy,
    ) -> list[Move]:
        waits = any(item.state in FREE for item in signed)
        return [] if waits else moves(entries, signed, facts, policy)

    patch.setattr(plan, "moves", serialised)


def test_a_transaction_does_not_wait_for_the_receipt_of_another() -> None:
    fails_only_upstreams_way(two_on_a_slow_chain, one_at_a_time)


# --- a late receipt ------------------------------------------------------------------------------


def mined_late() -> None:
    chain = FakeChain()
    service = Service(chain)
    service.outbox.submit(contribute(task(1)))
    chain.least_wei = 10**9  # the blocks are full
    found: list[Result] = []
    for _ in range(2 * UPSTREAM_POLLS):
        found += service.outbox.step()
        chain.mine()
        service.now_s += BLOCK_TIME_S
    chain.least_wei = 0
    for _ in range(4):
        found += service.outbox.step()
        chain.mine()
        service.now_s += BLOCK_TIME_S
    assert [type(one) for one in found] == [ActionMined]


def twelve_polls(patch: pytest.MonkeyPatch) -> None:
    polls: dict[str, int] = {}
    verdict = verdicts.verdict

    def impatient(
        entry: OutboxEntry, own: Sequence[Transaction], facts: ChainFacts, policy: Policy
    ) -> Done | Over | None:
        found = verdict(entry, own, facts, policy)
        task_id = entry.action.task_id
        polls[task_id] = polls.get(task_id, 0) + 1
        if found is None and polls[task_id] > UPSTREAM_POLLS:
            return Over("CHAIN_RECEIPT_NOT_VALID", "no receipt")
        return found

    patch.setattr(verdicts, "verdict", impatient)


def test_a_transaction_that_is_mined_late_has_not_failed() -> None:
    fails_only_upstreams_way(mined_late, twelve_polls)


# --- no nonce ------------------------------------------------------------------------------------


@contextmanager
def node_without_nonces() -> Iterator[ChainNode]:
    answers: Mapping[str, object] = {
        "eth_chainId": hex(CHAIN_ID),
        "eth_gasPrice": "0x5",
        "eth_getBlockByNumber": {"number": "0x2a", "timestamp": hex(START_S)},
        "eth_getTransactionCount": Fault(-32000, "not now"),
        "eth_getTransactionReceipt": None,
        "eth_getTransactionByHash": None,
        "eth_call": UNSET,
        "eth_estimateGas": "0x5208",
        "eth_sendRawTransaction": Fault(-32000, "nonce too low"),
    }
    with serving() as server:
        for method, answer in answers.items():
            server.set(method, answer)
        yield ChainNode(Hub(CONFIGURATION, server.url, WALLET.address))


def nonces_unreadable() -> None:
    with node_without_nonces() as node:
        service = Service(node)
        service.outbox.submit(contribute(task(1)))
        with suppress(ChainError):
            service.outbox.step()
        assert service.signed() == []


def zero_for_an_error(patch: pytest.MonkeyPatch) -> None:
    quantity = rpc.quantity

    def lenient(result: object, what: str) -> int:
        return 0 if isinstance(result, RpcError) else quantity(result, what)

    patch.setattr(chain_node, "raise_first", lambda _: None)
    patch.setattr(chain_node, "quantity", lenient)


def test_nothing_is_signed_without_a_nonce() -> None:
    fails_only_upstreams_way(nonces_unreadable, zero_for_an_error)
