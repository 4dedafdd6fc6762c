"""Worker wallets of a network's own.

One wallet serves one worker on a machine, and every sandbox has the same well-known ones: tests
that run side by side would keep each other's workers from starting.
"""

from __future__ import annotations

import json

from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.types import RPCEndpoint, TxParams, Wei

from iexworker.sandbox.chain import accounts
from iexworker.sandbox.network.files import write_whole
from iexworker.sandbox.network.network import KEYSTORE_PASSWORD, Network
from iexworker.sandbox.network.worker_env import WORKERS

STAKE_NRLC = 100 * 10**9
WEI_PER_NRLC = 10**9
GAS_MONEY_WEI = 10**21


def renew(network: Network) -> None:
    """Give the network's workers new wallets, with gas money and a stake each."""
    fresh = {role: Account.create() for role in WORKERS}
    deployed = json.loads(network.deployed_path.read_text(encoding="utf-8"))
    for role, account in fresh.items():
        deployed["accounts"][role] |= {"address": account.address, "key": account.key.to_0x_hex()}
    accounts.write_keystores(fresh, network.keystore_path("any").parent, KEYSTORE_PASSWORD)
    _fund(deployed, [account.address for account in fresh.values()])
    write_whole(network.deployed_path, json.dumps(deployed))


def _fund(deployed: dict[str, object], addresses: list[str]) -> None:
    web3 = Web3(HTTPProvider(str(deployed["rpc"])))
    for address in addresses:
        web3.provider.make_request(RPCEndpoint("anvil_setBalance"), [address, hex(GAS_MONEY_WEI)])
    hub = web3.eth.contract(
        address=web3.to_checksum_address(str(deployed["hub"])),
        abi=[
            {
                "type": "function",
                "name": "depositForArray",
                "stateMutability": "payable",
                "inputs": [
                    {"name": "amounts", "type": "uint256[]"},
                    {"name": "targets", "type": "address[]"},
                ],
                "outputs": [{"name": "", "type": "bool"}],
            }
        ],
    )
    # Anvil holds the key of the first account of its mnemonic, which has more than enough.
    paid: TxParams = {
        "from": web3.eth.accounts[0],
        "value": Wei(STAKE_NRLC * WEI_PER_NRLC * len(addresses)),
        "gas": 2_000_000,
    }
    amounts = [STAKE_NRLC] * len(addresses)
    sent = hub.functions.depositForArray(amounts, addresses).transact(paid)
    receipt = web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.05)
    assert receipt["status"] == 1
