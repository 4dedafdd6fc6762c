"""Buying tasks on the sandbox's marketplace: assets, the four orders, the match (docs/spec/10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3.logs import DISCARD
from web3.types import TxReceipt

from iexworker.errors import SandboxError
from iexworker.sandbox.chain import deal_words
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.chain.orders import Order, SignedOrder
from iexworker.sandbox.chain.reverts import Reverted

ZERO_ADDRESS = "0x" + "00" * 20
WORKERPOOL_PRICE_NRLC = 100_000_000
"""0.1 RLC a task: a worker puts 30 % of it at stake, and earns 99 % of it."""

RECEIVER = "receiver"
"""Stands for the callback receiver that is deployed with the contracts."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a requester wants; all owners' orders are made to fit."""

    image: str
    """The app's image, as the worker shall pull it."""
    params: str = "{}"
    """What the deal carries: a JSON object, or plain arguments (docs/spec/05, 3.3)."""
    volume: int = 1
    """Number of tasks."""
    trust: int = 1
    tag: str = "0x0"
    category: int = 0
    callback: str = ZERO_ADDRESS
    dataset: str | None = None
    """Location of the dataset, if there is one."""
    dataset_checksum: str = "0x0"
    app_name: str = "app"
    app_checksum: str = "0x0"
    app_enclave: str = ""
    """JSON text, for TEE tags."""
    app_price_nrlc: int = 0
    dataset_price_nrlc: int = 0
    workerpool_price_nrlc: int = WORKERPOOL_PRICE_NRLC
    beneficiary: str | None = None
    """By default the requester."""

    @property
    def task_price_nrlc(self) -> int:
        """What one task costs the requester."""
        dataset = 0 if self.dataset is None else self.dataset_price_nrlc
        return self.app_price_nrlc + dataset + self.workerpool_price_nrlc


@dataclass(frozen=True, slots=True)
class Deal:
    """What was bought. Identifiers are lower-case texts with 0x, addresses as the chain tells."""

    deal_id: str
    task_ids: tuple[str, ...]
    app: str
    dataset: str
    workerpool: str
    block: int


def default_params(arguments: str, proxy_url: str) -> str:
    """Make the params of a deal whose results go through the sandbox's proxy."""
    params = {
        "iexec_args": arguments,
        "iexec_result_storage_provider": "ipfs",
        "iexec_result_storage_proxy": proxy_url,
    }
    return json.dumps(params)


def buy(chain: LocalChain, purchase: Purchase) -> Deal:
    """Create the assets that are not there yet, sign the four orders, match them.

    Raises:
        SandboxError: the contracts refuse the match, for instance for want of escrow.

    """
    app = _ensure_app(chain, purchase)
    dataset = _ensure_dataset(chain, purchase)
    orders = _signed_orders(chain, purchase, app, dataset)
    try:
        receipt = chain.send("requester", "matchOrders", *(one.as_struct() for one in orders))
    except Reverted as error:
        reason = deal_words.refused(
            chain,
            error.reason,
            category=purchase.category,
            volume=purchase.volume,
            task_price_nrlc=purchase.task_price_nrlc,
        )
        raise SandboxError(f"the contracts refuse this deal: {reason}") from error
    deal_id = keccak(orders[-1].digest + bytes(32))  # the index of the first task is 0
    _require_notice(chain, receipt, deal_id)
    return Deal(
        deal_id="0x" + deal_id.hex(),
        task_ids=tuple(
            "0x" + keccak(deal_id + index.to_bytes(32, "big")).hex()
            for index in range(purchase.volume)
        ),
        app=app,
        dataset=dataset,
        workerpool=chain.deployed["workerpool"],
        block=receipt["blockNumber"],
    )


def warnings(chain: LocalChain, purchase: Purchase) -> Iterator[str]:
    """Say what the contracts do not mind and who buys this should know."""
    return deal_words.warnings(
        chain,
        image=purchase.image,
        params=purchase.params,
        tag=purchase.tag,
        callback=_callback(chain, purchase),
        trust=purchase.trust,
        volume=purchase.volume,
    )


def _ensure_app(chain: LocalChain, purchase: Purchase) -> str:
    checksum, enclave = _bytes32(purchase.app_checksum), purchase.app_enclave.encode()
    properties = (purchase.app_name, "DOCKER", purchase.image.encode(), checksum, enclave)
    return _ensure_asset(chain, "App", "appOwner", properties)


def _ensure_dataset(chain: LocalChain, purchase: Purchase) -> str:
    if purchase.dataset is None:
        return ZERO_ADDRESS
    properties = ("dataset", purchase.dataset.encode(), _bytes32(purchase.dataset_checksum))
    return _ensure_asset(chain, "Dataset", "datasetOwner", properties)


def _ensure_asset(chain: LocalChain, kind: str, owner: str, properties: tuple[object, ...]) -> str:
    """Find the asset that has exactly these properties, or create it; twice would revert."""
    registry = chain.contract(f"{kind}Registry", chain.deployed["registries"][kind.lower()])
    arguments = (chain.accounts[owner].address, *properties)
    address = str(registry.get_function_by_name(f"predict{kind}")(*arguments).call())
    if not registry.functions.isRegistered(address).call():
        chain.send_to(owner, registry, f"create{kind}", *arguments)
    return address


def _signed_orders(
    chain: LocalChain, purchase: Purchase, app: str, dataset: str
) -> tuple[SignedOrder, ...]:
    """Make and sign the orders of app, dataset, workerpool and requester, in this order."""
    task = {"volume": purchase.volume, "tag": _bytes32(purchase.tag)}
    work = task | {"category": purchase.category, "trust": purchase.trust}
    dataset_price = purchase.dataset_price_nrlc if purchase.dataset is not None else 0
    workerpool, requester = chain.deployed["workerpool"], chain.accounts["requester"].address
    orders = {
        "appOwner": Order.make("AppOrder", app=app, appprice=purchase.app_price_nrlc, **task),
        "datasetOwner": Order.make(
            "DatasetOrder", dataset=dataset, datasetprice=dataset_price, volume=purchase.volume
        ),
        "scheduler": Order.make(
            "WorkerpoolOrder",
            workerpool=workerpool,
            workerpoolprice=purchase.workerpool_price_nrlc,
            **work,
        ),
        "requester": Order.make(
            "RequestOrder",
            app=app,
            appmaxprice=purchase.app_price_nrlc,
            dataset=dataset,
            datasetmaxprice=dataset_price,
            workerpool=workerpool,
            workerpoolmaxprice=purchase.workerpool_price_nrlc,
            requester=requester,
            beneficiary=to_checksum_address(purchase.beneficiary or requester),
            callback=_callback(chain, purchase),
            params=purchase.params,
            **work,
        ),
    }
    domain = (chain.deployed["chainId"], chain.deployed["hub"])
    return tuple(order.sign(chain.accounts[role], *domain) for role, order in orders.items())


def _callback(chain: LocalChain, purchase: Purchase) -> str:
    if purchase.callback == RECEIVER:
        return str(chain.deployed["callbackReceiver"])
    return to_checksum_address(purchase.callback)


def _require_notice(chain: LocalChain, receipt: TxReceipt, deal_id: bytes) -> None:
    """Make sure that the chain announced the deal we think of: schedulers hear only of that."""
    events = chain.hub.events.SchedulerNotice().process_receipt(receipt, errors=DISCARD)
    announced = [event["args"]["dealid"] for event in events]
    if announced != [deal_id]:
        raise SandboxError(f"the chain announced {announced}, not the deal 0x{deal_id.hex()}")


def _bytes32(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x").rjust(64, "0"))
