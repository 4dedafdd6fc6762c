from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from iexworker.chain.rpc import MAX_BATCH, Rpc, RpcError, quantity
from iexworker.errors import ChainError
from tests.helpers.fake_node import FakeNode, Fault, serving


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with serving() as found:
        yield found


def test_a_result_is_returned(node: FakeNode) -> None:
    node.answers["eth_getBalance"] = lambda parameters: parameters

    assert Rpc(node.url).call("eth_getBalance", "0x01", "latest") == ["0x01", "latest"]


def test_a_null_is_a_result(node: FakeNode) -> None:
    node.set("eth_getTransactionReceipt", None)

    assert Rpc(node.url).call("eth_getTransactionReceipt", "0x01") is None


def test_an_error_object_keeps_code_and_words(node: FakeNode) -> None:
    node.set("eth_call", Fault(3, "execution reverted: no stake"))

    with pytest.raises(RpcError, match="no stake") as caught:
        Rpc(node.url).call("eth_call")
    assert caught.value.code == 3
    assert caught.value.reverted


def test_a_batch_is_one_round_trip_in_the_order_asked(node: FakeNode) -> None:
    node.set("eth_chainId", "0x1")
    node.set("eth_gasPrice", Fault(-32000, "not now"))

    chain_id, price = Rpc(node.url).batch([("eth_chainId", ()), ("eth_gasPrice", ())])

    assert chain_id == "0x1"
    assert isinstance(price, RpcError)
    assert not price.reverted
    assert len(node.posts) == 1


def test_a_large_batch_is_cut(node: FakeNode) -> None:
    node.answers["eth_call"] = lambda parameters: parameters[0]

    results = Rpc(node.url).batch([("eth_call", [number]) for number in range(MAX_BATCH + 1)])

    assert results == list(range(MAX_BATCH + 1))
    assert [len(post) for post in node.posts] == [MAX_BATCH, 1]


def test_a_node_that_refuses_batches_is_asked_one_by_one_from_then_on(node: FakeNode) -> None:
    node.takes_batches = False
    node.set("eth_chainId", "0x1")
    node.set("eth_gasPrice", Fault(-32000, "not now"))
    rpc = Rpc(node.url)

    for _ in range(2):
        chain_id, price = rpc.batch([("eth_chainId", ()), ("eth_gasPrice", ())])
        assert chain_id == "0x1"
        assert isinstance(price, RpcError)
    assert [isinstance(post, list) for post in node.posts] == [True, *[False] * 4]


@pytest.mark.parametrize("status", [400, 413, 405])
def test_a_node_that_refuses_batches_by_status_is_asked_one_by_one(
    node: FakeNode, status: int
) -> None:
    node.set("eth_chainId", "0x1")
    reply = node.reply

    def refuse(body: object) -> object:
        node.status = status if isinstance(body, list) else 200
        return reply(body)

    node.reply = refuse  # type: ignore[method-assign]  # the status depends on the body

    assert Rpc(node.url).batch([("eth_chainId", ())]) == ["0x1"]


@pytest.mark.parametrize(
    ("raw", "status", "words"),
    [
        (b"", 500, "answered 500"),
        (b"", 401, "answered 401"),
        (b"<html>", 200, "is no JSON"),
        (b"[]", 200, "JSON-RPC answer"),
        (b"7", 200, "JSON-RPC answer"),
        (b"{}", 200, "neither result nor error"),
        (b'{"error":"broken"}', 200, "broken"),
        (b'{"error":{}}', 200, "the node says"),
    ],
)
def test_garbage_is_an_error(node: FakeNode, raw: bytes, status: int, words: str) -> None:
    node.raw, node.status = raw, status
    node.set("eth_chainId", "0x1")

    with pytest.raises(ChainError, match=words):
        Rpc(node.url).call("eth_chainId")


def test_a_batch_that_meets_a_fault_of_the_node_is_an_error(node: FakeNode) -> None:
    node.status = 503
    node.set("eth_chainId", "0x1")
    rpc = Rpc(node.url)

    with pytest.raises(ChainError, match="answered 503"):
        rpc.batch([("eth_chainId", ())])
    node.status = 200
    assert rpc.batch([("eth_chainId", ()), ("eth_chainId", ())]) == ["0x1", "0x1"]
    assert [isinstance(post, list) for post in node.posts] == [True, False, True]


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"[{}]",
        b"[7,8]",
        b"<html>",
        b'[{"id":0},{"id":1}]',
        b'[{"result":"0x1"},{"result":"0x2"}]',
        b'[{"id":0,"result":"0x1"},{"id":0,"result":"0x2"}]',
        b'[{"id":0,"result":"0x1"},{"id":7,"result":"0x2"}]',
        b'[{"id":0,"result":"0x1"}]',
    ],
)
def test_a_garbled_batch_is_an_error(node: FakeNode, raw: bytes) -> None:
    node.raw = raw
    node.set("eth_chainId", "0x1")

    with pytest.raises(ChainError):
        Rpc(node.url).batch([("eth_chainId", ()), ("eth_chainId", ())])


def test_messages_do_not_show_the_access_key_in_the_address(node: FakeNode) -> None:
    node.status = 500
    node.set("eth_chainId", "0x1")

    with pytest.raises(ChainError) as caught:
        Rpc(node.url.replace("http://", "http://user:password@")).call("eth_chainId")
    assert "127.0.0.1:" in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert "password" not in str(caught.value)


def test_a_node_that_is_not_there_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ChainError, match=f"127.0.0.1:{port}"):
            Rpc(f"http://127.0.0.1:{port}/secret").call("eth_chainId")


def test_a_node_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ChainError, match=r"no answer within 0\.05 s"):
            Rpc(url, timeout_s=0.05).call("eth_chainId")


@pytest.mark.parametrize("value", [None, "", "0x", "latest", 7, [], "0xzz"])
def test_a_quantity_is_a_hex_number_or_an_error(value: object) -> None:
    with pytest.raises(ChainError, match="latest nonce: expected a hex number"):
        quantity(value, "latest nonce")


def test_a_quantity_may_be_zero() -> None:
    assert quantity("0x0", "nonce") == 0
    assert quantity("0x2a", "nonce") == 42
