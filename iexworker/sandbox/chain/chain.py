"""The sandbox's chain: starting it, and talking to its contracts in a role's name."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iexworker.errors import SandboxError
from iexworker.sandbox.chain import snapshot, worker_wallets
from iexworker.sandbox.chain.chainstate import ChainState
from iexworker.sandbox.chain.node import Node
from iexworker.sandbox.network import tools
from iexworker.sandbox.network.files import write_whole
from iexworker.sandbox.network.network import KEYSTORE_PASSWORD, Network, command, damaged
from iexworker.sandbox.network.processes import Child

if TYPE_CHECKING:
    import requests
    from eth_account.signers.local import LocalAccount
    from web3.contract import Contract
    from web3.contract.contract import ContractFunction
    from web3.types import TxReceipt

DUMP_INTERVAL_S = 60
"""What a killed node loses at most; a dump takes 2 MB and 10 ms for 1000 blocks (measured)."""
_NEEDED = frozenset(
    ("rpc", "chainId", "pocoVersion", "hub", "registries", "workerpool", "accounts", "abi")
)
"""Of what `deployed.json` tells."""

DIRECTLY = {"http": "", "all": ""}
"""Proxies for requests to the sandbox's own components, which are on this machine: none, whatever
the environment says."""
_CONNECTIONS_KEPT = 32
TASK_STATUS = ("UNSET", "ACTIVE", "REVEALING", "COMPLETED", "FAILED")


def start(network: Network, categories: Sequence[tuple[str, int]] = snapshot.CATEGORIES) -> Child:
    """Start the network's node on its chain, or on a new one with the contracts.

    A chain that was stopped goes on with its blocks; their times go on at the wall clock.

    Args:
        network: its profile says which contracts: v6 for 9, v5 for 8.
        categories: of a new chain: name and reference time in seconds, the index is the id.

    """
    files = state(network)
    if network.deployed_path.exists():
        content = json.loads(network.deployed_path.read_text(encoding="utf-8"))
    else:
        content = _create(network, files, categories)
    old_states = network.path / "states"
    shutil.rmtree(old_states, ignore_errors=True)  # of an earlier process, of use to itself only
    node = Node(
        network.listen,
        network.chain_port,
        network.chain_id,
        block_time_s=network.block_time_s,
        old_states=old_states,
        load_state=files.latest(),
        dump_state=files.dumped,
        dump_interval_s=DUMP_INTERVAL_S,
    )
    child = node.start(network.logs_path / "anvil.log")
    try:
        worker_wallets.fund(node, content)
    except BaseException:
        child.stop()
        raise
    write_whole(network.deployed_path, json.dumps(_deployed(network, content), indent=2))
    return child


def state(network: Network) -> ChainState:
    """Give the files of a network's chain."""
    return ChainState(network.path / "chain")


def _create(
    network: Network, files: ChainState, categories: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    """Put a new chain with wallets and interfaces into the folder; give what was deployed."""
    made = snapshot.prepare(network.profile, network.chain_id, categories)
    shutil.copytree(made / "wallets", network.path / "wallets", dirs_exist_ok=True)
    shutil.copy(made / "abi.json", network.path / "abi.json")
    files.begin(made / "state.json")
    content: dict[str, Any] = json.loads((made / "chain.json").read_text(encoding="utf-8"))
    content["accounts"] |= worker_wallets.make(network)
    return content


def _deployed(network: Network, content: dict[str, Any]) -> dict[str, Any]:
    """Complete a snapshot's facts with what only this network decides."""
    for role, account in content["accounts"].items():
        account["keystore"] = str(network.keystore_path(role))
    chain_config = {
        "chainId": network.chain_id,
        "sidechain": True,
        "chainNodeUrl": network.chain_rpc,
        "iexecHubContractAddress": content["hub"],
        "blockTime": f"PT{network.block_time_s:g}S",
    }
    return content | {
        "rpc": network.chain_rpc,
        "pocoDir": str(tools.contracts_folder(network.profile)),
        "abi": str(network.path / "abi.json"),
        "blockTime": network.block_time_s,
        "keystorePassword": KEYSTORE_PASSWORD,
        # The body of GET /config/chain of a configuration server.
        "chainConfig": chain_config,
    }


@contextlib.contextmanager
def in_words(network: Network) -> Iterator[None]:
    """Tell of a node that answers no more, or with what no one expects, in words."""
    import requests
    from web3.exceptions import Web3Exception

    from iexworker.sandbox.chain.reverts import node_words

    try:
        yield
    except requests.RequestException as error:
        raise SandboxError(
            f"the chain at {network.chain_rpc} does not answer: "
            f"see {command('logs anvil', network.path)}"
        ) from error
    except Web3Exception as error:
        raise SandboxError(
            f"the chain at {network.chain_rpc} gives an answer that is no use: {node_words(error)}"
        ) from error


def _session() -> requests.Session:
    """Return a session for all threads that never looks at the environment: the node is here."""
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.trust_env = False
    session.mount("http://", HTTPAdapter(pool_maxsize=_CONNECTIONS_KEPT))
    return session


class LocalChain:
    """A client of the sandbox's contracts that holds every role's key."""

    def __init__(self, deployed: Mapping[str, Any]) -> None:
        from eth_account import Account
        from web3 import HTTPProvider, Web3

        from iexworker.sandbox.chain.sender import Sender

        self.deployed = deployed
        provider = HTTPProvider(
            deployed["rpc"],
            request_kwargs={"timeout": 30},
            session=_session(),
            # web3 asks for the chain's id before every call.
            cache_allowed_requests=True,
            cacheable_requests={"eth_chainId"},
        )
        self.web3 = Web3(provider)
        self._require_same_chain()
        self.accounts: Mapping[str, LocalAccount] = {
            role: Account.from_key(one["key"]) for role, one in deployed["accounts"].items()
        }
        self._abis = json.loads(Path(deployed["abi"]).read_text(encoding="utf-8"))
        self.hub = self.contract("hub", deployed["hub"])
        self._views: dict[str, ContractFunction] = {}
        self._senders = {
            role: Sender(self.web3, one, deployed["chainId"]) for role, one in self.accounts.items()
        }

    @classmethod
    def open(cls, deployed_path: Path) -> LocalChain:
        """Connect to the chain that a `deployed.json` tells of.

        Raises:
            SandboxError: the file is damaged, no node answers, or one of another chain.

        """
        try:
            deployed = json.loads(deployed_path.read_text(encoding="utf-8"))
        except (ValueError, FileNotFoundError) as error:
            raise damaged(deployed_path) from error
        if not (isinstance(deployed, dict) and deployed.keys() >= _NEEDED):
            raise damaged(deployed_path)
        return cls(deployed)

    def read(self, function: str, *arguments: object) -> Any:  # noqa: ANN401 - the ABI says what
        """Call a view of the hub."""
        return self._view(function)(*arguments).call()

    def _view(self, function: str) -> ContractFunction:
        """Prepare a view by itself: in the whole hub web3 would search at each call."""
        if function not in self._views:
            entry = self.hub.get_function_by_name(function).abi
            alone = self.web3.eth.contract(address=self.hub.address, abi=[entry])
            self._views[function] = alone.get_function_by_name(function)
        return self._views[function]

    def struct(self, function: str, *arguments: object) -> dict[str, Any]:
        """Call a view of the hub that answers one struct; give it by the names of its fields."""
        struct = self._view(function).abi["outputs"][0]
        names = [str(one["name"]) for one in struct["components"]]
        return dict(zip(names, self.read(function, *arguments), strict=True))

    def send(
        self, role: str, function: str, *arguments: object, gas: int | None = None
    ) -> TxReceipt:
        """Call a function of the hub from a role's account and wait for the receipt.

        Raises:
            SandboxError: the contract refuses, the transaction reverted or was not mined.

        """
        return self.send_to(role, self.hub, function, *arguments, gas=gas)

    def send_to(
        self,
        role: str,
        contract: Contract,
        function: str,
        *arguments: object,
        gas: int | None = None,
    ) -> TxReceipt:
        """Do the same with a function of another contract."""
        data = contract.encode_abi(function, args=arguments)
        return self._senders[role].run(contract.address, data, gas=gas)

    def contract(self, name: str, address: str) -> Contract:
        """Give a contract beside the hub: a registry or the callback receiver `TestClient`."""
        checksummed = self.web3.to_checksum_address(address)
        return self.web3.eth.contract(address=checksummed, abi=self._abis[name])

    def task_status(self, task_id: str) -> str:
        """Read a task's status, `UNSET` where it is not initialised."""
        return TASK_STATUS[self.struct("viewTask", bytes.fromhex(task_id[2:]))["status"]]

    def _require_same_chain(self) -> None:
        """Make sure that nothing is sent to a node which is somebody else's."""
        if not self.web3.is_connected():
            raise SandboxError(
                f"no chain answers at {self.deployed['rpc']}: see `iexworker sandbox logs anvil`; "
                "if it hangs, take the network down and up again"
            )
        same = self.web3.eth.chain_id == self.deployed["chainId"]
        if not (same and self.web3.eth.get_code(self.deployed["hub"])):
            raise SandboxError(f"the node at {self.deployed['rpc']} is not this sandbox's chain")
