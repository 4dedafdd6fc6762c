"""The Arbitrum-shaped node behaves as docs/spec/11 section 5 says: a test for each of its rows."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator

import pytest

from iexworker.sandbox.arbitrum.node import ArbitrumNode
from iexworker.sandbox.arbitrum.switches import AWAY_TEXTS, Answer, LogAnswer, RateAnswer
from iexworker.sandbox.chain.node import Node
from iexworker.sandbox.chain.snapshot import HOST
from iexworker.sandbox.network import ports
from iexworker.sandbox.network.network import CHAIN_ID
from tests.arbitrum.helpers.client import LOGGER, REVERTER, WRITER, Client, RpcProblem, request

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("arbitrum-node")]

SEND = "eth_sendRawTransaction"


@pytest.fixture(scope="module")
def anvil_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = ports.free(HOST)
    child = Node(HOST, port, CHAIN_ID).start(tmp_path_factory.mktemp("anvil") / "anvil.log")
    yield f"http://{HOST}:{port}"
    child.stop()


@pytest.fixture
def node(anvil_url: str) -> Iterator[ArbitrumNode]:
    with ArbitrumNode(anvil_url) as started:
        started.switches.nonce_wait_s = 0.1
        yield started


@pytest.fixture
def client(node: ArbitrumNode) -> Client:
    return Client(node)


def test_01_pending_is_latest_and_there_is_no_pool(node: ArbitrumNode, client: Client) -> None:
    raw, tx_hash = client.sign(0)
    node.upstream.ask(SEND, raw)  # into anvil's own pool, past the sequencer

    assert client.nonce("pending") == client.nonce("latest") == 0
    assert client.ask("eth_getTransactionByHash", tx_hash) is None
    assert client.ask("eth_getBlockByNumber", "pending", False) == client.head()
    with pytest.raises(RpcProblem, match="does not exist") as refused:
        client.ask("txpool_content")
    assert refused.value.code == -32601

    node.sequencer.mine()
    assert client.ask("eth_getTransactionByHash", tx_hash)["nonce"] == "0x0"


def test_02_a_send_answers_when_mined_and_no_block_is_empty(client: Client) -> None:
    before = client.number()

    receipt = client.send(0)

    assert int(receipt["blockNumber"], 16) == before + 1
    assert receipt["status"] == "0x1"
    time.sleep(0.3)
    assert client.number() == before + 1


def test_03_a_nonce_ahead_is_held_and_then_too_high(node: ArbitrumNode, client: Client) -> None:
    raw, _ = client.sign(1)
    with pytest.raises(RpcProblem) as refused:
        client.ask(SEND, raw)
    assert refused.value.code == -32000
    assert str(refused.value) == f"nonce too high: address {client.address}, tx: 1 state: 0"

    node.switches.nonce_wait_s = 20
    answers: list[str] = []
    ahead = threading.Thread(target=lambda: answers.append(client.ask(SEND, raw)))
    ahead.start()
    client.send(0)
    ahead.join()
    assert answers == [client.sign(1)[1]]
    assert client.nonce() == 2


def test_04_a_nonce_behind_is_too_low_also_with_the_same_bytes(client: Client) -> None:
    client.send(0)

    for raw in (client.sign(0)[0], client.sign(0, LOGGER)[0]):
        with pytest.raises(RpcProblem) as refused:
            client.ask(SEND, raw)
        assert str(refused.value) == f"nonce too low: address {client.address}, tx: 0 state: 1"


def test_05_a_limit_below_what_l1_takes_is_refused_and_leaves_the_nonce(client: Client) -> None:
    raw, tx_hash = client.sign(0, gas=100_000)
    client.switch("l1-price", "60")
    with pytest.raises(RpcProblem, match=r"^intrinsic gas too low$"):
        client.ask(SEND, raw)
    assert client.nonce() == 0
    assert client.ask("eth_getTransactionByHash", tx_hash) is None

    client.switch("l1-price", "1")
    assert client.ask(SEND, raw) == tx_hash


def test_06_a_limit_that_only_covers_l1_is_mined_out_of_gas(client: Client) -> None:
    client.switch("l1-price", "15")

    receipt = client.send(0, gas=60_000)

    assert (receipt["status"], int(receipt["gasUsed"], 16)) == ("0x0", 60_000)
    assert client.nonce() == 1
    assert client.send(1, gas=200_000)["status"] == "0x1"


def test_06_the_next_transaction_runs_out_of_gas_when_told(
    node: ArbitrumNode, client: Client
) -> None:
    node.switches.out_of_gas = 1

    starved = client.send(0, gas=500_000)

    assert (starved["status"], int(starved["gasUsed"], 16)) == ("0x0", 500_000)
    assert client.send(1)["status"] == "0x1"


def test_07_estimates_hold_the_part_for_l1_and_calls_with_gas_pay_it(client: Client) -> None:
    call = {"from": client.address, "to": WRITER, "data": "0x"}
    cheap = int(client.ask("eth_estimateGas", call), 16)
    client.switch("l1-price", "40")
    dear = int(client.ask("eth_estimateGas", call), 16)

    assert dear - cheap > 39 * 16 * 100
    assert client.ask("eth_call", call, "latest") == "0x"
    with pytest.raises(RpcProblem) as refused:
        client.ask("eth_call", call | {"gas": hex(60_000)}, "latest")
    assert str(refused.value) == "err: intrinsic gas too low (supplied gas 60000)"
    with pytest.raises(RpcProblem, match=r"^out of gas$"):
        client.ask("eth_call", call | {"gas": hex(110_000)}, "latest")
    assert client.send(0, gas=dear)["status"] == "0x1"


def test_08_a_price_below_the_base_fee_is_refused(client: Client) -> None:
    raw, _ = client.sign(0, price_wei=19_999_999)
    with pytest.raises(RpcProblem) as refused:
        client.ask(SEND, raw)
    assert refused.value.code == -32000
    assert str(refused.value) == (
        f"max fee per gas less than block base fee: address {client.address}, "
        "maxFeePerGas: 19999999 baseFee: 20000000"
    )


def test_09_the_base_fee_alone_is_charged_and_doubles_when_told(client: Client) -> None:
    assert client.ask("eth_gasPrice") == client.head()["baseFeePerGas"] == hex(20_000_000)
    assert client.ask("eth_maxPriorityFeePerGas") == "0x0"
    before = int(client.ask("eth_getBalance", client.address, "latest"), 16)

    receipt = client.send(0, price_wei=10**9)

    after = int(client.ask("eth_getBalance", client.address, "latest"), 16)
    assert receipt["effectiveGasPrice"] == hex(20_000_000)
    assert before - after == int(receipt["gasUsed"], 16) * 20_000_000

    client.switch("base-fee", "double")
    assert client.ask("eth_gasPrice") == client.head()["baseFeePerGas"] == hex(40_000_000)


def test_10_a_poor_wallet_is_refused(node: ArbitrumNode, client: Client) -> None:
    node.upstream.ask("anvil_setBalance", client.address, hex(999))
    raw, _ = client.sign(0)
    with pytest.raises(RpcProblem) as refused:
        client.ask(SEND, raw)
    assert str(refused.value) == (
        "insufficient funds for gas * price + value: "
        f"address {client.address} have 999 want {100_000 * 10**9}"
    )


@pytest.mark.parametrize("name", AWAY_TEXTS)
def test_11_a_sequencer_that_is_away_takes_nothing(client: Client, name: str) -> None:
    client.switch("sequencer", "away", "60", name)
    raw, tx_hash = client.sign(0)
    with pytest.raises(RpcProblem) as refused:
        client.ask(SEND, raw)
    assert str(refused.value) == AWAY_TEXTS[name]
    assert client.nonce() == 0

    client.switch("sequencer", "well")
    assert client.ask(SEND, raw) == tx_hash


@pytest.mark.parametrize("mined", [True, False])
def test_12_a_slow_sequencer_loses_the_answer_mined_or_not(
    node: ArbitrumNode, client: Client, mined: bool
) -> None:
    raw, tx_hash = client.sign(0)
    node.switches.slow_down(0.1, mined=mined, answer=Answer.SILENCE)
    with pytest.raises(http.client.RemoteDisconnected):
        client.ask(SEND, raw)
    assert (client.ask("eth_getTransactionReceipt", tx_hash) is not None) == mined


def test_12_a_slow_sequencer_ends_in_an_error(client: Client) -> None:
    client.switch("sequencer", "slow", "0.1", "error", "mined")
    raw, _ = client.sign(0)
    with pytest.raises(RpcProblem, match="context deadline exceeded"):
        client.ask(SEND, raw)
    assert client.nonce() == 1


def test_13_several_blocks_share_a_second(anvil_url: str) -> None:
    now = int(time.time()) + 100
    with ArbitrumNode(anvil_url, clock=lambda: now) as node:
        client = Client(node)
        stamps = set()
        for nonce in range(3):
            client.send(nonce)
            stamps.add(client.head()["timestamp"])
        assert stamps == {hex(now)}
        client.switch("rule", "same-second", "off")
        client.send(3)
        assert client.head()["timestamp"] == hex(now + 1)


def test_14_safe_and_finalized_are_behind_and_a_reorganisation_takes_back(client: Client) -> None:
    first = client.number()
    receipt = client.send(0)
    for tag in ("safe", "finalized"):
        assert int(client.ask("eth_getBlockByNumber", tag, False)["number"], 16) <= first
    client.switch("finality", "0")
    assert client.ask("eth_getBlockByNumber", "finalized", False) == client.head()

    client.switch("reorg", "1")

    assert client.ask("eth_getTransactionReceipt", receipt["transactionHash"]) is None
    assert client.nonce() == 0
    assert client.send(0)["status"] == "0x1"


def test_15_one_of_two_nodes_is_behind(client: Client) -> None:
    before = client.number()
    tx_hash = client.send(0)["transactionHash"]
    client.switch("lag", "30")

    def both(method: str, *parameters: object) -> list[object]:
        return [client.ask(method, *parameters) for _ in range(2)]

    assert sorted(int(str(one), 16) for one in both("eth_blockNumber")) == [before, before + 1]
    assert both("eth_getTransactionReceipt", tx_hash).count(None) == 1
    assert both("eth_getTransactionByHash", tx_hash).count(None) == 1
    assert both("eth_getBlockByNumber", hex(before + 1), False).count(None) == 1
    assert both("eth_getTransactionCount", client.address, "latest") == ["0x1", "0x1"]
    assert len(set(both("eth_getBalance", client.address, "latest"))) == 2

    client.switch("lag", "0")
    assert client.number() == before + 1


def test_15_logs_beyond_the_late_node_are_not_there(client: Client) -> None:
    before = client.number()
    client.send(0, LOGGER)
    client.switch("lag", "30", "always")
    span = {"fromBlock": hex(before), "toBlock": "latest", "address": LOGGER}
    assert client.ask("eth_getLogs", span) == []
    client.switch("lag", "0")
    assert len(client.ask("eth_getLogs", span)) == 1


@pytest.mark.parametrize("answer", RateAnswer)
def test_16_too_many_calls_are_refused_and_each_of_a_batch_counts(
    node: ArbitrumNode, client: Client, answer: RateAnswer
) -> None:
    node.reset_calls()
    node.switches.limit_rate(4, answer, retry_after_s=3)
    batch = [request("eth_chainId")] * 3
    assert len(client.post(batch).json) == 3

    refused = client.post(batch)

    assert isinstance(refused.json, dict)
    assert refused.json["error"]["message"] == "Rate limit exceeded"
    assert refused.json["error"]["code"] == (-32029 if answer is RateAnswer.OBJECT_29 else -32005)
    assert refused.status == (
        429 if answer in (RateAnswer.STATUS, RateAnswer.STATUS_WITH_PAUSE) else 200
    )
    assert refused.headers.get("retry-after") == (
        "3" if answer is RateAnswer.STATUS_WITH_PAUSE else None
    )
    assert node.calls() == {"eth_chainId": 6}
    assert node.meter.refused == 1


@pytest.mark.parametrize(
    ("answer", "status", "code", "words"),
    [
        (LogAnswer.INFURA, 200, -32602, "range 11000 exceeds limit of 10000"),
        (LogAnswer.QUICKNODE, 413, -32614, "eth_getLogs is limited to a 10,000 range"),
        (LogAnswer.GETH, 200, -32602, "exceed maximum block range 10000"),
        (LogAnswer.FREE, 400, -32602, "up to a 10000 block range"),
    ],
)
def test_17_a_wide_range_of_logs_is_refused(
    node: ArbitrumNode, client: Client, answer: LogAnswer, status: int, code: int, words: str
) -> None:
    node.switches.limit_logs(10_000, answer)

    refused = client.post(request("eth_getLogs", {"fromBlock": "0x0", "toBlock": hex(10_999)}))

    assert refused.status == status
    assert refused.json["error"]["code"] == code
    assert words in refused.json["error"]["message"]


def test_17_too_many_logs_are_refused(client: Client) -> None:
    before = client.number()
    client.send(0, LOGGER)
    client.send(1, LOGGER)
    client.switch("log-results", "1")
    with pytest.raises(RpcProblem, match="query returned more than 1 results") as refused:
        client.ask("eth_getLogs", {"fromBlock": hex(before + 1), "toBlock": "latest"})
    assert refused.value.code == -32005


def test_18_blocks_and_receipts_have_the_chains_own_fields(client: Client) -> None:
    receipt = client.send(0, LOGGER)
    block = client.ask("eth_getBlockByHash", receipt["blockHash"], True)

    assert {"gasUsedForL1", "l1BlockNumber"} <= receipt.keys()
    assert int(receipt["gasUsedForL1"], 16) > 16 * 50
    assert {"l1BlockNumber", "sendRoot", "sendCount"} <= block.keys()
    assert int(block["gasLimit"], 16) == 2**50
    assert block["transactions"][0]["type"] == "0x6a"
    assert block["transactions"][1]["hash"] == receipt["transactionHash"]
    assert receipt["transactionIndex"] == receipt["logs"][0]["transactionIndex"] == "0x1"


def test_19_an_empty_sender_is_refused_and_reverts_carry_data(client: Client) -> None:
    with pytest.raises(RpcProblem) as refused:
        client.ask("eth_call", {"from": "", "to": WRITER}, "latest")
    assert refused.value.code == -32602

    for method in ("eth_call", "eth_estimateGas"):
        with pytest.raises(RpcProblem, match="execution reverted") as refused:
            client.ask(method, {"from": client.address, "to": REVERTER}, "latest")
        assert refused.value.code == 3
        assert refused.value.data == "0x" + "00" * 31 + "01"


def test_an_unknown_word_is_answered_with_those_that_there_are(client: Client) -> None:
    answer = client.post(["l1-prize", "4"], "/control")
    assert answer.status == 400
    assert "l1-price N" in answer.json["said"]
    assert "base fee 0.02 gwei" in client.switch("show")
