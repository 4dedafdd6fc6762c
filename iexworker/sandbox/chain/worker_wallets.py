"""The wallets of a network's workers, which no other network has.

One wallet serves one worker on a machine, whatever the chain is. So the workers of two networks can
run side by side only with different keys. They come from a seed in the folder, which stays when a
network begins anew: a worker that runs meanwhile goes on.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from iexworker.errors import SandboxError
from iexworker.poco.hashing import keccak
from iexworker.sandbox.chain.accounts import write_keystores
from iexworker.sandbox.chain.node import Node
from iexworker.sandbox.network.network import KEYSTORE_PASSWORD, Network
from iexworker.sandbox.network.worker_env import WORKERS

SEED_NAME = "wallets.seed"

_WEI_PER_NRLC = 10**9
_GAS_MONEY_WEI = 10**21
_DEPOSIT = "depositForArray(uint256[],address[])"
_GAS = 2_000_000
_GAS_PRICE_WEI = 10**9


def make(network: Network) -> dict[str, dict[str, str]]:
    """Write the workers' keystores; return address and key by role, as `deployed.json` has them."""
    from eth_account import Account

    seed = _seed(network)
    accounts = {role: Account.from_key(keccak(seed, role.encode())) for role in WORKERS}
    write_keystores(accounts, network.keystore_path(WORKERS[0]).parent, KEYSTORE_PASSWORD)
    return {
        role: {"address": one.address, "key": "0x" + bytes(one.key).hex()}
        for role, one in accounts.items()
    }


def fund(node: Node, deployed: Mapping[str, Any]) -> None:
    """Give a stake and gas money to the workers, unless the chain knows them already.

    A chain whose node was killed before its first dump does not.
    """
    addresses = {role: deployed["accounts"][role]["address"] for role in WORKERS}
    poor = [
        role
        for role, address in addresses.items()
        if int(node.ask("eth_getBalance", address, "latest"), 16) == 0
    ]
    if not poor:
        return
    amounts = [int(deployed["stake"][role]) for role in poor]
    _deposit(node, deployed, amounts, [addresses[role] for role in poor])
    for role in poor:
        node.ask("anvil_setBalance", addresses[role], hex(_GAS_MONEY_WEI))


def _seed(network: Network) -> bytes:
    path = network.path / SEED_NAME
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32), encoding="utf-8")
    return path.read_bytes()


def _deposit(
    node: Node, deployed: Mapping[str, Any], amounts: list[int], targets: list[str]
) -> None:
    from eth_abi.abi import encode

    arguments = encode(["uint256[]", "address[]"], [amounts, targets])
    transaction = {
        "from": deployed["accounts"]["admin"]["address"],  # whose key the node has
        "to": deployed["hub"],
        "data": "0x" + (keccak(_DEPOSIT.encode())[:4] + arguments).hex(),
        "value": hex(sum(amounts) * _WEI_PER_NRLC),
        "gas": hex(_GAS),
        "gasPrice": hex(_GAS_PRICE_WEI),
    }
    sent = node.ask("eth_sendTransaction", transaction)
    node.ask("evm_mine")
    receipt = node.ask("eth_getTransactionReceipt", sent)
    if receipt is None or int(receipt["status"], 16) != 1:
        raise SandboxError("the workers' stakes were not deposited: see `sandbox logs anvil`")
