"""The contracts on a real node, with tasks driven by hand from purchase to payment."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak

from iexworker.errors import SandboxError
from iexworker.sandbox.chain import chain, deals, history, snapshot
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.chain.contracts import Package
from iexworker.sandbox.chain.deals import Deal, Purchase
from iexworker.sandbox.chain.deployment import Deployment
from iexworker.sandbox.chain.node import Node
from iexworker.sandbox.chain.sender import GAS_PRICE_WEI
from iexworker.sandbox.network import ports, tools
from iexworker.sandbox.network.network import Network

pytestmark = pytest.mark.chain

HOST = "127.0.0.1"
IMAGE = "registry.test/app:1"
RESULT = b'{"storage":"ipfs","location":"/ipfs/Qm1"}'
CATEGORIES = (*snapshot.CATEGORIES, ("SECONDS", 3))


def new_network(folder: Path, profile: str) -> Network:
    return Network(str(folder), profile, HOST, ports.free(HOST), 1, 2, 3, 4, block_time_s=0.1)


@pytest.fixture(scope="module", params=["9", "8"])
def local(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalChain]:
    network = new_network(tmp_path_factory.mktemp("chain"), request.param)
    node = chain.start(network, CATEGORIES)
    yield LocalChain.open(network.deployed_path)
    node.stop()


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def contribute(local: LocalChain, worker: str, task_id: str, digest: bytes) -> None:
    address = raw(local.accounts[worker].address)
    enclave = bytes(20)
    promise = keccak(address + raw(task_id) + enclave)
    signed = local.accounts["scheduler"].sign_message(encode_defunct(promise))
    local.send(
        worker,
        "contribute",
        raw(task_id),
        keccak(raw(task_id) + digest),
        keccak(address + raw(task_id) + digest),
        "0x" + enclave.hex(),
        b"",
        bytes(signed.signature),
    )


def complete(
    local: LocalChain, deal: Deal, index: int, *workers: str, callback: bytes = b""
) -> str:
    """Play scheduler and workers of one task."""
    task_id, digest = deal.task_ids[index], keccak(callback or b"result")
    local.send("scheduler", "initialize", raw(deal.deal_id), index)
    for worker in workers:
        contribute(local, worker, task_id, digest)
    for worker in workers:
        local.send(worker, "reveal", raw(task_id), digest)
    local.send("scheduler", "finalize", raw(task_id), RESULT, callback)
    return task_id


def escrow(local: LocalChain, role: str) -> tuple[int, int]:
    account = local.struct("viewAccount", local.accounts[role].address)
    return account["stake"], account["locked"]


def test_a_task_is_bought_computed_and_paid(local: LocalChain) -> None:
    stake, locked = escrow(local, "worker1")
    deal = deals.buy(local, Purchase(IMAGE))
    task_id = deal.task_ids[0]
    local.send("scheduler", "initialize", raw(deal.deal_id), 0)
    assert local.task_status(task_id) == "ACTIVE"
    digest = keccak(b"result")

    contribute(local, "worker1", task_id, digest)
    at_stake = deals.WORKERPOOL_PRICE_NRLC * 30 // 100
    assert escrow(local, "worker1") == (stake - at_stake, locked + at_stake)
    assert local.task_status(task_id) == "REVEALING"

    local.send("worker1", "reveal", raw(task_id), digest)
    local.send("scheduler", "finalize", raw(task_id), RESULT, b"")
    earned = deals.WORKERPOOL_PRICE_NRLC * 99 // 100
    assert escrow(local, "worker1") == (stake + earned, locked)
    assert local.task_status(task_id) == "COMPLETED"


def test_whoever_sends_in_the_sandbox_pays_what_a_block_costs(local: LocalChain) -> None:
    deal = deals.buy(local, Purchase(IMAGE))
    ask: Any = local.web3.provider.make_request
    ask("anvil_setNextBlockBaseFeePerGas", [hex(10**12)])

    receipt = local.send("scheduler", "initialize", raw(deal.deal_id), 0)

    # A block may have come between: each that nobody needs costs an eighth less than the last.
    assert receipt["effectiveGasPrice"] > 10 * GAS_PRICE_WEI
    ask("anvil_setNextBlockBaseFeePerGas", [hex(0)])
    assert local.task_status(deal.task_ids[0]) == "ACTIVE"


def test_trust_3_takes_two_workers_that_agree(local: LocalChain) -> None:
    deal = deals.buy(local, Purchase(IMAGE, trust=3))

    task_id = complete(local, deal, 0, "worker2", "worker3")

    seen = history.task(local, task_id[:20])
    assert seen.status == "COMPLETED"
    assert seen.winners == ("worker2", "worker3")
    assert seen.ended


def test_every_task_of_a_deal_can_be_completed(local: LocalChain) -> None:
    deal = deals.buy(local, Purchase(IMAGE, volume=3))

    complete(local, deal, 2, "worker1")

    mine = [one for one in history.tasks(local) if one.deal_id == deal.deal_id]
    assert [one.task_id for one in mine] == list(deal.task_ids)
    assert [one.status for one in mine] == ["UNSET", "UNSET", "COMPLETED"]


def test_a_deal_carries_what_was_asked_for(local: LocalChain) -> None:
    beneficiary = local.accounts["beneficiary"].address
    purchase = Purchase(
        IMAGE,
        params="plain arguments",
        tag="0x3",
        category=5,
        dataset="http://data.test/file",
        dataset_checksum="0x" + "ab" * 32,
        app_enclave="{}",
        app_price_nrlc=5,
        dataset_price_nrlc=7,
        workerpool_price_nrlc=11,
        beneficiary=beneficiary.lower(),
    )

    seen = local.struct("viewDeal", raw(deals.buy(local, purchase).deal_id))

    assert seen["params"] == "plain arguments"
    assert seen["tag"] == bytes(31) + b"\x03"
    assert seen["category"] == 5
    assert seen["beneficiary"] == beneficiary
    assert [seen[kind][2] for kind in ("app", "dataset", "workerpool")] == [5, 7, 11]
    assert local.struct("viewCategory", 5)["workClockTimeRef"] == 3


def test_the_same_assets_are_used_again(local: LocalChain) -> None:
    purchase = Purchase("registry.test/again:1", dataset="http://data.test/again")

    first, second = deals.buy(local, purchase), deals.buy(local, purchase)

    assert (first.app, first.dataset) == (second.app, second.dataset)
    assert first.deal_id != second.deal_id


def test_a_callback_reaches_its_receiver(local: LocalChain) -> None:
    deal = deals.buy(local, Purchase(IMAGE, callback=deals.RECEIVER))

    task_id = complete(local, deal, 0, "worker4", callback=b"\xca\x11")

    receiver = local.contract("TestClient", local.deployed["callbackReceiver"])
    assert receiver.functions.store(raw(task_id)).call() == b"\xca\x11"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            {"workerpool_price_nrlc": 10**15},
            "the requester has .* RLC free, and 1 task for 1000000",
        ),
        ({"category": 99}, "there is no category 99 on this chain: 0 to 5"),
        ({"volume": 0}, "its volume is 0"),
        ({"workerpool_price_nrlc": 2**256 - 1, "volume": 2}, "more than a number can hold"),
    ],
)
def test_a_deal_that_the_contracts_refuse_is_told_in_words(
    local: LocalChain, wanted: dict[str, int], words: str
) -> None:
    with pytest.raises(SandboxError, match=f"the contracts refuse this deal: .*{words}"):
        deals.buy(local, Purchase(IMAGE, **wanted))  # type: ignore[arg-type]  # names are the fields'


def test_a_transaction_that_reverts_on_the_chain_is_said_so(local: LocalChain) -> None:
    with pytest.raises(SandboxError, match=r"of 0x.* reverted"):
        local.send("worker1", "reveal", bytes(32), bytes(32), gas=100_000)


def test_threads_may_send_from_one_account(local: LocalChain) -> None:
    deal = deals.buy(local, Purchase(IMAGE, volume=4))

    with ThreadPoolExecutor(4) as pool:
        sent = [
            pool.submit(local.send, "scheduler", "initialize", raw(deal.deal_id), index)
            for index in range(4)
        ]

    assert {one.result()["status"] for one in sent} == {1}


def test_a_task_that_does_not_exist_is_said_so(local: LocalChain) -> None:
    with pytest.raises(SandboxError, match="no task begins with 0x1234"):
        history.task(local, "0x1234")


def test_a_result_is_where_the_chain_says(local: LocalChain) -> None:
    deal = deals.buy(local, Purchase(IMAGE, volume=2))
    task_id = complete(local, deal, 0, "worker1")

    assert history.result_location(history.task(local, task_id)) == "/ipfs/Qm1"
    with pytest.raises(SandboxError, match="UNSET and has no result"):
        history.result_location(history.task(local, deal.task_ids[1]))
    for results in (b"nonsense", b'{"storage":"dropbox","location":"/results/1"}', b"[]"):
        elsewhere = replace(history.task(local, task_id), results=results)
        with pytest.raises(SandboxError, match="no result in the sandbox's store"):
            history.result_location(elsewhere)


def test_the_file_of_the_deployment_tells_all(local: LocalChain) -> None:
    deployed = local.deployed

    assert deployed["chainConfig"]["iexecHubContractAddress"] == deployed["hub"]
    assert deployed["chainConfig"]["blockTime"] == "PT0.1S"
    assert deployed["chainConfig"]["sidechain"] is True
    for role, account in deployed["accounts"].items():
        keystore = json.loads(Path(account["keystore"]).read_text())
        assert account["address"] == local.accounts[role].address
        assert keystore["address"] == account["address"][2:].lower()
        assert keystore["crypto"]["kdfparams"]["n"] == 4096


def test_a_client_refuses_a_node_that_is_another_chain(local: LocalChain, tmp_path: Path) -> None:
    other = Node(HOST, ports.free(HOST), local.deployed["chainId"])
    child = other.start(tmp_path / "log")

    with pytest.raises(SandboxError, match="is not this sandbox's chain"):
        LocalChain({**local.deployed, "rpc": f"http://{HOST}:{other.port}"})

    child.stop()
    with pytest.raises(SandboxError, match="no chain answers"):
        LocalChain({**local.deployed, "rpc": f"http://{HOST}:{other.port}"})


def test_a_node_refuses_a_port_that_is_taken(local: LocalChain, tmp_path: Path) -> None:
    port = int(local.deployed["rpc"].rpartition(":")[2])

    with pytest.raises(SandboxError, match=f"{port} is taken"):
        Node(HOST, port, 65535).start(tmp_path / "log")


def test_a_node_is_deployed_to_once(local: LocalChain) -> None:
    package = Package(Path(local.deployed["pocoDir"]))

    with pytest.raises(SandboxError, match="deployed to before"):
        Deployment(local.web3, package, local.accounts)


@pytest.fixture
def empty_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tools' folder without any snapshot."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for tool in (tools.anvil().parent, *map(tools.contracts_folder, tools.POCO_VERSIONS)):
        (folder / tool.name).symlink_to(tool)
    monkeypatch.setenv(tools.ENVIRONMENT, str(folder))
    return folder


@pytest.mark.parametrize("profile", ["9", "8"])
def test_a_snapshot_is_made_once_however_many_ask(empty_tools: Path, profile: str) -> None:
    together = threading.Barrier(2)

    def prepare() -> Path:
        together.wait()
        return snapshot.prepare(profile, 4242, snapshot.CATEGORIES)

    with ThreadPoolExecutor(2) as pool:
        asked: list[Callable[[], Path]] = [pool.submit(prepare).result, pool.submit(prepare).result]
        found = {ask() for ask in asked}

    assert len(found) == 1
    assert [path.name for path in (empty_tools / "chains").iterdir()] == [found.pop().name]


def test_a_snapshot_that_fails_leaves_nothing(empty_tools: Path) -> None:
    poco = empty_tools / tools.contracts_folder("9").name
    whole = poco.resolve()
    poco.unlink()
    shutil.copytree(whole, poco)
    (poco / "artifacts/contracts/facets/IexecPoco2Facet.sol/IexecPoco2Facet.json").unlink()
    shutil.rmtree(poco / "deployments")
    shutil.copytree(whole / "deployments" / "arbitrum", poco / "deployments" / "arbitrum")
    (poco / "deployments/arbitrum/IexecPoco2Facet.json").unlink(missing_ok=True)

    with pytest.raises(SandboxError, match="no contract IexecPoco2Facet"):
        snapshot.prepare("9", 4242, snapshot.CATEGORIES)

    assert list((empty_tools / "chains").iterdir()) == []
