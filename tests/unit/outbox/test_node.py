from __future__ import annotations

from collections.abc import Iterator

import pytest
from eth_abi.abi import encode

from iexworker.chain.hub import Hub
from iexworker.chain.rpc import RpcError
from iexworker.errors import ChainError
from iexworker.outbox.evidence import BroadcastAnswer
from iexworker.outbox.node import ChainNode
from iexworker.outbox.transaction import hash_of
from iexworker.poco import receipts
from iexworker.poco.models import (
    ActionKind,
    ChainConfiguration,
    ChainReceipt,
    ContributionStatus,
    Nonces,
)
from tests.helpers.fake_chain import WALLET, contribute, task
from tests.helpers.fake_node import FakeNode, Fault, serving

HUB = "0x" + "aa" * 20
HASH = "0x" + "cc" * 32
UNSET = "0x" + encode(["uint8", "bytes32", "bytes32", "address"], [0, b"", b"", HUB]).hex()


@pytest.fixture
def server() -> Iterator[FakeNode]:
    with serving() as found:
        found.set("eth_chainId", "0x86")
        found.set("eth_gasPrice", "0x5")
        found.set("eth_getBlockByNumber", {"number": "0x2a", "timestamp": "0x64"})
        found.set("eth_getTransactionCount", "0x7")
        found.set("eth_getTransactionReceipt", None)
        found.set("eth_getTransactionByHash", None)
        found.set("eth_call", UNSET)
        yield found


@pytest.fixture
def node(server: FakeNode) -> ChainNode:
    configuration = ChainConfiguration(134, HUB, "http://unused", True, 5.0)
    return ChainNode(Hub(configuration, server.url, WALLET.address))


def test_the_position_is_read_in_one_round_trip(node: ChainNode, server: FakeNode) -> None:
    found = node.position()

    assert found.chain_id == 134
    assert found.nonces == Nonces(7, 7)
    assert found.head.number == 42
    assert found.network_wei == 5
    assert len(server.posts) == 1


def test_a_price_that_the_node_does_not_say_is_none(node: ChainNode, server: FakeNode) -> None:
    server.set("eth_gasPrice", Fault(-32601, "no such method"))

    assert node.position().network_wei is None


@pytest.mark.parametrize(
    "method", ["eth_chainId", "eth_getBlockByNumber", "eth_getTransactionCount"]
)
def test_a_position_that_lacks_anything_is_an_error(
    node: ChainNode, server: FakeNode, method: str
) -> None:
    server.set(method, Fault(-32000, "not now"))
    with pytest.raises(RpcError):
        node.position()
    server.set(method, None)
    with pytest.raises(ChainError):
        node.position()


def test_evidence_tells_mined_held_and_unknown_apart(node: ChainNode, server: FakeNode) -> None:
    held, mined, unknown = ("0x" + pair * 32 for pair in ("01", "02", "03"))
    raw = {
        "transactionHash": mined,
        "status": "0x1",
        "blockNumber": "0x2",
        "gasUsed": "0x1",
        "logs": [],
    }
    server.answers["eth_getTransactionReceipt"] = lambda asked: raw if asked == [mined] else None
    server.answers["eth_getTransactionByHash"] = lambda asked: None if asked == [unknown] else {}

    found = node.evidence([held, mined, unknown], [task(1)], [])

    assert list(found.receipts) == [mined]
    assert found.known == {held, mined}
    assert found.contributions[task(1)].status is ContributionStatus.UNSET
    assert len(server.posts) == 1


def test_a_trial_tells_why_the_contract_refuses(node: ChainNode, server: FakeNode) -> None:
    server.set("eth_estimateGas", Fault(3, "execution reverted: no stake"))
    action = contribute(task(1))

    found = node.evidence([], [task(1)], [action])

    assert found.refusals == {action.key: "execution reverted: no stake"}
    assert found.estimates == {}


def test_a_trial_carries_no_gas_and_tells_what_it_needs(node: ChainNode, server: FakeNode) -> None:
    asked: list[list[object]] = []

    def estimate(parameters: list[object]) -> str:
        asked.append(parameters)
        return "0x5208"

    server.answers["eth_estimateGas"] = estimate
    action = contribute(task(1))

    assert node.evidence([], [task(1)], [action]).estimates == {action.key: 21_000}
    data = "0x" + action.calldata.hex()
    assert asked == [[{"from": WALLET.address, "to": HUB, "data": data}, "latest"]]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-32000, "busy"),
        (-32000, "gas required exceeds allowance (50000000)"),
        (-32000, "err: intrinsic gas too low (supplied gas 100000)"),
        (-32000, "out of gas"),
        (-32601, "the method eth_estimateGas does not exist"),
    ],
)
def test_a_trial_that_the_node_cannot_make_counts_as_fit(
    node: ChainNode, server: FakeNode, code: int, words: str
) -> None:
    server.set("eth_estimateGas", Fault(code, words))

    found = node.evidence([], [task(1)], [contribute(task(1))])

    assert found.refusals == {}
    assert found.estimates == {}


def test_evidence_without_a_contribution_is_an_error(node: ChainNode, server: FakeNode) -> None:
    server.set("eth_call", Fault(-32000, "busy"))

    with pytest.raises(RpcError):
        node.evidence([], [task(1)], [])


def test_a_broadcast_is_taken_under_its_own_hash_only(node: ChainNode, server: FakeNode) -> None:
    server.set("eth_sendRawTransaction", hash_of(b"bytes").upper().replace("0X", "0x"))
    assert node.broadcast(b"bytes") == (BroadcastAnswer.TAKEN, "")

    server.set("eth_sendRawTransaction", HASH)
    with pytest.raises(ChainError, match="by another hash"):
        node.broadcast(b"bytes")


def test_a_refused_broadcast_gives_the_node_s_words(node: ChainNode, server: FakeNode) -> None:
    server.set("eth_sendRawTransaction", Fault(-32000, "nonce too low"))

    assert node.broadcast(b"bytes") == (BroadcastAnswer.NONCE_SPENT, "nonce too low")


def test_an_action_is_located_by_its_event(node: ChainNode, server: FakeNode) -> None:
    event = {"data": "0x", "blockNumber": "0x5", "transactionHash": HASH}
    topics = receipts.topics(ActionKind.REVEAL, task(1), WALLET.address)
    server.set("eth_blockNumber", "0x2a")
    server.set("eth_getLogs", [{**event, "topics": topics}])
    assert node.locate(ActionKind.REVEAL, task(1)) == ChainReceipt(5, HASH)

    server.set("eth_getLogs", [])
    assert node.locate(ActionKind.REVEAL, task(1)) is None
