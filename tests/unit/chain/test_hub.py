from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from eth_abi.abi import encode

from iexworker.chain.hub import DESCRIPTION_TRIES, Hub
from iexworker.chain.rpc import RpcError
from iexworker.errors import ChainError
from iexworker.poco import abi, receipts
from iexworker.poco.hashing import hex_text, keccak, task_id
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ActionKind,
    ChainConfiguration,
    Contributed,
    ContributionStatus,
    Head,
    Nonces,
    Profile,
)
from tests.helpers.fake_node import FakeNode, Fault, serving

HUB, WALLET = "0x" + "aa" * 20, "0x" + "bb" * 20
APP, DATASET, POOL, OWNER = ("0x" + pair * 20 for pair in ("01", "02", "03", "04"))
DEAL = "0x" + "dd" * 32
TASK = task_id(DEAL, 0)
CONFIGURATION = ChainConfiguration(134, HUB, "http://unused", True, 5.0)
DEAL_TYPES = (
    "((address,address,uint256),(address,address,uint256),(address,address,uint256),uint256,"
    "uint256,bytes32,address,address,address,string,uint256,uint256,uint256,uint256,uint256)"
)


def selector(signature: str) -> str:
    return hex_text(keccak(signature.encode())[:4])


def deal(dataset: str = DATASET, start_time_s: int = 1_700_000_000, params: str = "{}") -> bytes:
    resources = ((APP, OWNER, 1), (dataset, OWNER, 2), (POOL, OWNER, 3))
    people = (OWNER, OWNER, ZERO_ADDRESS)
    rest = (params, start_time_s, 0, 1, 9, 1)
    return encode([DEAL_TYPES], [(*resources, 1, 0, bytes(32), *people, *rest)])


def task(status: int = 1, deal_id: str = DEAL) -> bytes:
    types = ["uint8", "bytes32", *["uint256"] * 5, "bytes32", "uint256", "uint256"]
    values = [status, bytes.fromhex(deal_id[2:]), 0, 300, 2100, 0, 3000, bytes(32), 0, 0]
    return encode([*types, "address[]", "bytes"], [*values, [WALLET.upper()], b""])


class Contracts:
    """What the contracts answer, by function; the calls that were made."""

    def __init__(self) -> None:
        self.views: dict[str, bytes | Exception] = {}
        self.calls: list[dict[str, Any]] = []
        self.set(abi.VIEW_TASK, task())
        self.set(abi.VIEW_DEAL, deal())
        self.set(abi.VIEW_CATEGORY, encode(["string", "string", "uint256"], ["XS", "", 300]))
        self.set(abi.APP_TYPE, encode(["string"], ["DOCKER"]))
        self.set(abi.APP_MULTIADDR, encode(["bytes"], [b"registry/app:1"]))
        self.set(abi.APP_ENCLAVE, encode(["bytes"], [b""]))
        self.set(abi.DATASET_MULTIADDR, encode(["bytes"], [b"https://host/data"]))
        self.set(abi.DATASET_CHECKSUM, encode(["bytes32"], [b"\x11" * 32]))
        self.set(
            abi.VIEW_CONTRIBUTION,
            encode(["uint8", "bytes32", "bytes32", "address"], [1, b"\1" * 32, bytes(32), OWNER]),
        )
        self.set(abi.VIEW_ACCOUNT, encode(["uint256", "uint256"], [100, 7]))

    def set(self, signature: str, answer: bytes | Exception) -> None:
        self.views[selector(signature)] = answer

    def call(self, parameters: list[Any]) -> str:
        request, block = parameters
        assert block == "latest"
        assert request["from"] == WALLET
        self.calls.append(request)
        answer = self.views[request["data"][:10]]
        if isinstance(answer, Exception):
            raise answer
        return "0x" + answer.hex()


@pytest.fixture
def contracts() -> Contracts:
    return Contracts()


@pytest.fixture
def node(contracts: Contracts) -> Iterator[FakeNode]:
    with serving() as found:
        found.answers["eth_call"] = contracts.call
        found.set(
            "eth_getBlockByNumber",
            {"number": "0x2a", "timestamp": "0x64", "hash": "0xABC", "extraData": "0x" + "f" * 500},
        )
        found.set("eth_blockNumber", "0x2a")
        yield found


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def hub(node: FakeNode, pauses: list[float]) -> Hub:
    return Hub(CONFIGURATION, node.url, WALLET.upper().replace("0X", "0x"), sleep=pauses.append)


def test_the_node_s_own_facts_are_read(hub: Hub, node: FakeNode) -> None:
    node.set("web3_clientVersion", "anvil/1")
    node.set("eth_chainId", "0x86")
    node.set("eth_getBalance", "0x10")
    node.set("eth_gasPrice", "0x5")
    node.answers["eth_getTransactionCount"] = lambda parameters: {
        "latest": "0x7",
        "pending": "0x9",
    }[parameters[1]]

    assert hub.client_version() == "anvil/1"
    assert hub.chain_id() == 134
    assert hub.genesis_hash() == "0xabc"
    assert hub.head() == Head(42, 100)
    assert hub.block_number() == 42
    assert hub.purse() == (16, 5, Head(42, 100))
    assert hub.nonces() == Nonces(7, 9)


def test_a_price_that_the_node_does_not_tell_is_none_and_a_balance_is_an_error(
    hub: Hub, node: FakeNode
) -> None:
    node.set("eth_getBalance", "0x10")
    node.set("eth_gasPrice", Fault(-32000, "not now"))
    assert hub.purse() == (16, None, Head(42, 100))
    node.set("eth_getBalance", Fault(-32000, "not now"))
    with pytest.raises(RpcError):
        hub.purse()


def test_a_head_has_its_base_fee_and_tells_a_rollup(hub: Hub, node: FakeNode) -> None:
    block = {"number": "0x1", "timestamp": "0x2", "baseFeePerGas": "0x1312d00"}
    node.set("eth_getBlockByNumber", block)
    assert hub.head() == Head(1, 2, 20_000_000)
    node.set("eth_getBlockByNumber", {**block, "l1BlockNumber": "0x3"})
    assert hub.head() == Head(1, 2, 20_000_000, has_pool=False)


def test_a_nonce_that_cannot_be_read_is_an_error_never_zero(hub: Hub, node: FakeNode) -> None:
    node.set("eth_getTransactionCount", None)
    with pytest.raises(ChainError, match="latest nonce"):
        hub.nonces()
    node.set("eth_getTransactionCount", Fault(-32000, "not now"))
    with pytest.raises(RpcError):
        hub.nonces()


def test_a_task_is_seen_with_contribution_account_and_head_at_once(
    hub: Hub, node: FakeNode
) -> None:
    view = hub.task_view(TASK)

    assert view.task is not None
    assert view.task.task_id == TASK
    assert view.task.contributors == (WALLET,)
    assert view.contribution.status is ContributionStatus.CONTRIBUTED
    assert (view.account.stake, view.account.locked) == (100, 7)
    assert view.head == Head(42, 100)
    assert len(node.posts) == 1


def test_each_view_can_be_read_alone(hub: Hub) -> None:
    assert hub.contribution(TASK).enclave_challenge == OWNER
    assert hub.account().stake == 100
    assert hub.category(0).name == "XS"


def test_what_the_hub_does_not_know_is_none(hub: Hub, contracts: Contracts) -> None:
    contracts.set(abi.VIEW_TASK, task(0, "0x" + "00" * 32))
    contracts.set(abi.VIEW_DEAL, deal(start_time_s=0))

    assert hub.task(TASK) is None
    assert hub.deal(DEAL) is None


@pytest.mark.parametrize("answer", [b"", b"\1", bytes(64), Fault(-32000, "not now")])
def test_an_answer_that_cannot_be_used_is_an_error(
    hub: Hub, contracts: Contracts, answer: bytes | Exception
) -> None:
    contracts.set(abi.VIEW_TASK, answer)

    with pytest.raises(ChainError):
        hub.task(TASK)


def test_a_status_that_no_contract_knows_is_an_error(hub: Hub, contracts: Contracts) -> None:
    contracts.set(abi.VIEW_TASK, task(9))

    with pytest.raises(ChainError, match="unknown status 9"):
        hub.task(TASK)


def test_a_description_takes_three_round_trips(
    hub: Hub, node: FakeNode, pauses: list[float]
) -> None:
    found = hub.describe(TASK, Profile.V9)

    assert len(node.posts) == 3
    assert pauses == []
    assert found.app_image == "registry/app:1"
    assert found.dataset_uri == "https://host/data"
    assert found.dataset_checksum == "0x" + "11" * 32
    assert found.worker_stake == 9
    assert found.max_execution_time_s == 300
    assert found.workerpool_owner == OWNER
    assert found.profile == "9"


def test_a_deal_without_dataset_reads_none(hub: Hub, contracts: Contracts) -> None:
    contracts.set(abi.VIEW_DEAL, deal(dataset=ZERO_ADDRESS))

    found = hub.describe(TASK, Profile.V9)

    assert found.dataset_address == ZERO_ADDRESS
    assert (found.dataset_uri, found.dataset_checksum) == ("", "")
    assert not found.has_dataset
    assert {call["to"] for call in contracts.calls} == {HUB, APP}


def test_an_image_in_binary_form_is_read_by_profile_9_only(hub: Hub, contracts: Contracts) -> None:
    multihash = b"\x12\x20" + bytes(32)
    contracts.set(abi.APP_MULTIADDR, encode(["bytes"], [b"\xa5\x03\x22" + multihash]))

    assert hub.describe(TASK, Profile.V9).app_image.startswith("/ipfs/Qm")
    assert hub.describe(TASK, Profile.V8).app_image.endswith("\0")


def test_params_that_are_no_utf_8_are_read_all_the_same(hub: Hub, contracts: Contracts) -> None:
    contracts.set(abi.VIEW_DEAL, deal(params="abc").replace(b"abc", b"a\xffc"))

    assert hub.describe(TASK, Profile.V9).params.args == "a\ufffdc"


def test_a_read_that_fails_is_tried_again_a_block_later(
    hub: Hub, contracts: Contracts, pauses: list[float]
) -> None:
    answers: list[bytes | Exception] = [Fault(-32000, "late"), task(0, "0x" + "00" * 32), task()]
    contracts.views = {**contracts.views}
    real = contracts.call

    def call(parameters: list[Any]) -> str:
        if parameters[0]["data"][:10] == selector(abi.VIEW_TASK):
            contracts.set(abi.VIEW_TASK, answers.pop(0))
        return real(parameters)

    contracts.call = call  # type: ignore[method-assign]  # another answer each time
    with serving() as node:
        node.answers["eth_call"] = call
        hub = Hub(CONFIGURATION, node.url, WALLET, sleep=pauses.append)
        assert hub.describe(TASK, Profile.V9).task_id == TASK
    assert pauses == [5.0, 5.0]


def test_a_step_that_stays_empty_ends_without_description(
    hub: Hub, contracts: Contracts, pauses: list[float]
) -> None:
    contracts.set(abi.VIEW_DEAL, deal(start_time_s=0))

    with pytest.raises(ChainError, match=f"deal {DEAL} is not known"):
        hub.describe(TASK, Profile.V9)
    assert len(pauses) == DESCRIPTION_TRIES - 1


def test_a_dataset_that_cannot_be_read_means_no_description(hub: Hub, contracts: Contracts) -> None:
    contracts.set(abi.DATASET_CHECKSUM, Fault(3, "execution reverted"))

    with pytest.raises(ChainError):
        hub.describe(TASK, Profile.V9)


def test_the_signers_of_authorisations_are_read(hub: Hub, contracts: Contracts) -> None:
    contracts.set(abi.OWNER, encode(["address"], [OWNER]))
    contracts.set(abi.TEE_BROKER, encode(["address"], [POOL]))

    assert hub.workerpool_owner(POOL) == OWNER
    assert contracts.calls[-1]["to"] == POOL
    assert hub.tee_broker() == POOL


def test_a_hub_without_a_broker_has_none(hub: Hub, contracts: Contracts) -> None:
    contracts.set(abi.TEE_BROKER, encode(["address"], [ZERO_ADDRESS]))
    assert hub.tee_broker() is None
    contracts.set(abi.TEE_BROKER, Fault(3, "execution reverted"))
    assert hub.tee_broker() is None
    contracts.set(abi.TEE_BROKER, Fault(-32000, "not now"))
    with pytest.raises(RpcError):
        hub.tee_broker()


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        (bytes.fromhex("1626ba7e").ljust(32, b"\0"), True),
        (bytes.fromhex("ffffffff").ljust(32, b"\0"), False),
        (b"", False),
        (Fault(3, "execution reverted"), False),
    ],
)
def test_a_contract_is_asked_whether_a_signature_is_its_own(
    hub: Hub, contracts: Contracts, answer: bytes | Exception, accepted: bool
) -> None:
    contracts.set(abi.IS_VALID_SIGNATURE, answer)

    assert hub.accepts_signature(OWNER, "0x" + "11" * 32, "0x" + "22" * 65) is accepted


def test_a_contract_that_cannot_be_asked_is_an_error(hub: Hub, contracts: Contracts) -> None:
    contracts.set(abi.IS_VALID_SIGNATURE, Fault(-32000, "not now"))

    with pytest.raises(RpcError):
        hub.accepts_signature(OWNER, "0x" + "11" * 32, "0x" + "22" * 65)


def event(number: str | None, task: str = TASK) -> dict[str, Any]:
    return {
        "topics": [receipts.TASK_CONTRIBUTE, task, receipts.address_topic(WALLET)],
        "data": "0x" + "ee" * 32,
        "blockNumber": number,
        "transactionHash": "0x" + "cc" * 32,
    }


def test_contributions_are_found_by_their_events_oldest_first(hub: Hub, node: FakeNode) -> None:
    asked: list[Any] = []

    def logs(parameters: list[Any]) -> list[Any]:
        asked.append(parameters[0])
        return [event("0x5", "0x" + "02" * 32), event("0x3", "0x" + "01" * 32), event(None)]

    node.answers["eth_getLogs"] = logs

    found = hub.contributions_since(2)

    assert [one.block_number for one in found] == [3, 5]
    assert found[0].task_id == "0x" + "01" * 32
    assert found[0].result_hash == "0x" + "ee" * 32
    assert asked[0]["address"] == HUB
    assert (asked[0]["fromBlock"], asked[0]["toBlock"]) == ("0x2", "0x2a")
    assert asked[0]["topics"] == [
        receipts.TASK_CONTRIBUTE,
        None,
        receipts.address_topic(WALLET),
    ]


def test_a_reward_is_read_in_the_block_in_which_the_task_ended(hub: Hub, node: FakeNode) -> None:
    asked: list[Any] = []
    paid = receipts.address_topic(WALLET) + f"{7:064x}" + TASK.removeprefix("0x")

    def logs(parameters: list[Any]) -> list[Any]:
        asked.append(parameters[0])
        topic = parameters[0]["topics"][0]
        return [{**event("0x5", TASK), "topics": [topic], "data": paid}]

    node.answers["eth_getLogs"] = logs

    assert hub.reward_nrlc(TASK, 2) == 7
    ended, rewarded = asked
    assert ended["topics"] == [receipts.TASK_FINALIZE, TASK]
    assert (ended["fromBlock"], ended["toBlock"]) == ("0x2", "0x2a")
    assert rewarded["topics"] == [receipts.REWARD]
    assert (rewarded["fromBlock"], rewarded["toBlock"]) == ("0x5", "0x5")


def test_the_reward_of_a_task_that_has_not_ended_is_not_known(hub: Hub, node: FakeNode) -> None:
    node.set("eth_getLogs", [])

    assert hub.reward_nrlc(TASK, 2) is None


def test_an_event_that_is_not_there_is_none(hub: Hub, node: FakeNode) -> None:
    node.set("eth_getLogs", [])

    assert hub.event(ActionKind.REVEAL, TASK, 0) is None


@pytest.mark.parametrize("answer", [None, [7], [{}], {"a": 1}])
def test_events_of_another_shape_are_an_error(hub: Hub, node: FakeNode, answer: object) -> None:
    node.set("eth_getLogs", answer)

    with pytest.raises(ChainError, match="another shape"):
        hub.event(ActionKind.REVEAL, TASK, 0)


@pytest.mark.parametrize(
    ("block_time_s", "oldest"), [(5, 100_000 - 72_000), (1, 0), (3600, 99_900)]
)
def test_the_oldest_block_covers_the_longest_task_by_the_blocks_own_times(
    hub: Hub, node: FakeNode, block_time_s: int, oldest: int
) -> None:
    def block(parameters: list[Any]) -> dict[str, str]:
        number = 100_000 if parameters[0] == "latest" else int(parameters[0], 16)
        return {"number": hex(number), "timestamp": hex(1_700_000_000 + number * block_time_s)}

    node.answers["eth_getBlockByNumber"] = block

    assert hub.oldest_block() == oldest


def test_what_was_contributed_is_read_from_the_transaction(hub: Hub, node: FakeNode) -> None:
    signature = "0x" + "5a" * 65
    data = abi.contribute(TASK, WALLET, "0x" + "dd" * 32, signature)
    node.set("eth_getTransactionByHash", {"input": "0x" + data.hex()})

    assert hub.contributed("0x" + "cc" * 32) == Contributed(TASK, ZERO_ADDRESS, signature)


@pytest.mark.parametrize("data", ["0x", "0x1234567890", "0x" + abi.reveal(TASK, TASK).hex()])
def test_another_transaction_has_contributed_nothing(hub: Hub, node: FakeNode, data: str) -> None:
    node.set("eth_getTransactionByHash", {"input": data})

    assert hub.contributed("0x" + "cc" * 32) is None


def test_the_input_of_a_garbled_contribute_is_none(hub: Hub, node: FakeNode) -> None:
    data = abi.contribute(TASK, WALLET, "0x" + "dd" * 32, "0x" + "5a" * 65)
    node.set("eth_getTransactionByHash", {"input": "0x" + data[:100].hex()})

    assert hub.contributed("0x" + "cc" * 32) is None


def test_an_unknown_transaction_has_contributed_nothing(hub: Hub, node: FakeNode) -> None:
    node.set("eth_getTransactionByHash", None)

    assert hub.contributed("0x" + "cc" * 32) is None


@pytest.mark.parametrize("answer", [7, {"input": None}, []])
def test_a_transaction_of_another_shape_is_an_error(
    hub: Hub, node: FakeNode, answer: object
) -> None:
    node.set("eth_getTransactionByHash", answer)

    with pytest.raises(ChainError, match="another shape"):
        hub.contributed("0x" + "cc" * 32)


@pytest.mark.parametrize("answer", [None, "latest", {"number": "0x1"}])
def test_a_head_of_another_shape_is_an_error(hub: Hub, node: FakeNode, answer: object) -> None:
    node.set("eth_getBlockByNumber", answer)

    with pytest.raises(ChainError):
        hub.head()


def test_a_receipt_is_none_until_it_is_there(hub: Hub, node: FakeNode) -> None:
    node.set("eth_getTransactionReceipt", None)

    assert hub.receipt("0x" + "cc" * 32) is None
