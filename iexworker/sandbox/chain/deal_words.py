"""What is wrong with a deal, for who buys it: why it is refused, or why it comes to nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from eth_utils.address import to_checksum_address

from iexworker.poco import params as poco_params
from iexworker.poco.models import DealParams
from iexworker.poco.models import Profile as PocoProfile
from iexworker.sandbox.chain.accounts import STAKED_ROLES
from iexworker.sandbox.chain.chain_view import INITIALIZE_GAS, weight_of
from iexworker.sandbox.chain.reverts import OVERFLOW
from iexworker.sandbox.scheduler import workflow
from iexworker.sandbox.scheduler.models import ZERO_ADDRESS, Profile
from iexworker.sandbox.scheduler.supply import reaches_consensus

if TYPE_CHECKING:
    from iexworker.sandbox.chain.chain import LocalChain

NRLC_PER_RLC = 10**9
STORAGE_PROVIDER = "iexec_result_storage_provider"

_MATCH = "iExecV5-matchOrders-0x"
_SHORT_OF_MONEY = "IexecEscrow: Transfer amount exceeds balance"
_NOT_FITTING = {
    "00": "request and workerpool order are of different categories",
    "02": "the workerpool does not offer so much trust",
    "03": "the app's price is above what the request allows",
    "04": "the dataset's price is above what the request allows",
    "05": "the workerpool's price is above what the request allows",
    "06": "the tag has bits that the workerpool's order has not",
    "07": "the tag asks for an enclave and the app's order does not",
    "10": "the request is for another app than the app order",
    "11": "the request is for another dataset than the dataset order",
    "12": "the request is for another workerpool",
    "13": "the app's order is for another dataset",
    "14": "the app's order is for another workerpool",
    "15": "the app's order is for another requester",
    "16": "the dataset's order is for another app",
    "17": "the dataset's order is for another workerpool",
    "18": "the dataset's order is for another requester",
    "19": "the workerpool's order is for another app",
    "1a": "the workerpool's order is for another dataset",
    "1b": "the workerpool's order is for another requester",
    "20": "the app is in no registry",
    "21": "the app's order is not signed by its owner",
    "30": "the dataset is in no registry",
    "31": "the dataset's order is not signed by its owner",
    "40": "the workerpool is in no registry",
    "41": "the workerpool's order is not signed by its owner",
    "50": "the request is not signed by its requester",
    "60": "its volume is 0, or an order is used up",
}
"""What `IexecPoco1Facet.matchOrders` means by its numbers; of 01 and the escrow more is said."""

_FIRST_TASK_GAS, _NEXT_TASK_GAS, _GAS_A_WORD = 225_400, 245_700, 2_210
"""What `initialize` needs with empty params, and more for each 32 bytes of them (measured)."""

_TEE_BIT = 1
_NAME = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REGISTRY = r"[A-Za-z0-9.-]+(?::\d+)?"
_IMAGE = re.compile(
    rf"(?:{_REGISTRY}/)?{_NAME}(?:/{_NAME})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)


def refused(
    chain: LocalChain, reason: str, *, category: int, volume: int, task_price_nrlc: int
) -> str:
    """Say why the contracts do not take a deal; a reason that is not known stands as it is."""
    code = reason.removeprefix(_MATCH)
    if reason == f"{_MATCH}01":
        highest = int(chain.read("countCategory")) - 1
        return f"there is no category {category} on this chain: 0 to {highest}"
    if reason == _SHORT_OF_MONEY:
        return _short_of_money(chain, volume, task_price_nrlc)
    if reason.startswith(OVERFLOW):
        return "it costs more than a number can hold"
    return _NOT_FITTING.get(code, reason) if code != reason else reason or "they give no reason"


def _short_of_money(chain: LocalChain, volume: int, price_nrlc: int) -> str:
    """Name who has too little; the workerpool puts 30 % of its price at stake."""
    cost = price_nrlc * volume
    tasks = f"{volume} task{'s' if volume > 1 else ''} for {_rlc(price_nrlc)}"
    free = _free_nrlc(chain, "requester")
    if free < cost:
        verb = "cost" if volume > 1 else "costs"
        return f"the requester has {_rlc(free)} free, and {tasks} {verb} {_rlc(cost)}"
    return (
        f"the scheduler has {_rlc(_free_nrlc(chain, 'scheduler'))} free, "
        f"less than it must put at stake for {tasks}"
    )


def _free_nrlc(chain: LocalChain, role: str) -> int:
    return int(chain.struct("viewAccount", chain.accounts[role].address)["stake"])


def _rlc(amount_nrlc: int) -> str:
    return f"{amount_nrlc / NRLC_PER_RLC:.12g} RLC"


def warnings(
    chain: LocalChain,
    *,
    image: str,
    params: str,
    tag: str,
    callback: str,
    trust: int,
    volume: int,
) -> Iterator[str]:
    """Say what the contracts do not mind and a deal's buyer should know."""
    profile = Profile.V9 if chain.deployed["pocoVersion"].startswith("6.") else Profile.V8
    if not _IMAGE.fullmatch(image):
        yield f"{image} is no name of a Docker image: no worker can pull it"
    tee = workflow.is_tee(tag, profile)
    if tee:
        yield "nobody takes the task: this network has no enclave, which its tag asks for"
    elif int(tag, 16) & _TEE_BIT:
        kinds = "0x3 Scone, 0x5 Gramine" + (", 0x9 TDX" if profile is Profile.V9 else "")
        yield f"the tag {tag} asks for an enclave and names no kind of it: {kinds}"
    if callback != ZERO_ADDRESS and not chain.web3.eth.get_code(to_checksum_address(callback)):
        yield f"there is no contract at {callback}: the result will reach nobody"
    found = poco_params.read(params, PocoProfile(profile.value))
    if params.lstrip().startswith(("{", "[")) and found == DealParams(args=params):
        yield (
            "the params are no JSON object of known keys: "
            "the app gets their whole text as its arguments"
        )
    if callback == ZERO_ADDRESS:
        yield from _without_link(found.storage_provider, tee=tee)
    yield from _without_start(len(params.encode()), volume)
    yield from _without_consensus(chain, trust)


def _without_link(provider: str | None, *, tee: bool) -> Iterator[str]:
    """Warn of a deal whose result the Java worker uploads and then finds no link to."""
    if provider == "ipfs" or (tee and provider == "dropbox"):
        return
    named = f"{STORAGE_PROVIDER} {provider!r}" if provider else f"no {STORAGE_PROVIDER}"
    yield (
        f"the params name {named}: this worker stores the result as for 'ipfs', but a Java worker "
        "finds no link to such a result, and its task stands until the final deadline"
    )


def _without_start(params_bytes: int, volume: int) -> Iterator[str]:
    """Warn of params with which a scheduler's `initialize` runs out of gas."""
    base = _NEXT_TASK_GAS if volume > 1 else _FIRST_TASK_GAS
    gas = base + _GAS_A_WORD * (params_bytes // 32)
    if gas > INITIALIZE_GAS:
        yield (
            f"params of {params_bytes} bytes make `initialize` need {gas} gas, and schedulers "
            f"give {INITIALIZE_GAS}: the task will not begin"
        )


def _without_consensus(chain: LocalChain, trust: int) -> Iterator[str]:
    """Warn of a trust that all workers of the sandbox together do not reach."""
    workers = [role for role in STAKED_ROLES if role.startswith("worker")]
    scores = (chain.read("viewScore", chain.accounts[role].address) for role in workers)
    group = math.prod(weight_of(score) for score in scores)
    if not reaches_consensus(group, group, trust):
        few = f"{len(workers)} workers are too few to agree with trust {trust}"
        yield f"{few}: {group} at most"
