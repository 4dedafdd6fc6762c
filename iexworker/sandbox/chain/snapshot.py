"""Chains with the contracts already on them, made once and kept in the tools' folder.

A snapshot is a folder: `state.json` for the node to load, `chain.json` with what was deployed,
`abi.json` with the interfaces, and the accounts' keystores.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iexworker.sandbox.chain.accounts import STAKED_ROLES
from iexworker.sandbox.chain.node import Node
from iexworker.sandbox.network import ports, tools
from iexworker.sandbox.network.network import KEYSTORE_PASSWORD

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from iexworker.sandbox.chain.deployment import Deployed

SOURCES = ("deployment.py", "snapshot.py", "accounts.py", "contracts.py")
"""Modules that decide what a snapshot holds: when one changes, old snapshots do not count."""

CATEGORIES = (("XS", 300), ("S", 1200), ("M", 3600), ("L", 10800), ("XL", 36000))
"""Name and `workClockTimeRef` in seconds, as on the production chain."""

CALLED = ("AppRegistry", "DatasetRegistry", "WorkerpoolRegistry", "TestClient")
"""Contracts beside the hub whose interfaces a client of the chain needs."""

HOST = "127.0.0.1"


def prepare(profile: str, chain_id: int, categories: Sequence[tuple[str, int]]) -> Path:
    """Find the snapshot of a chain, or make it (2 s); several processes may ask at once."""
    contracts = tools.contracts_folder(profile)
    folder = tools.folder() / "chains" / _key(contracts.name, chain_id, categories)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=folder.parent))
        try:
            _make(draft, contracts, chain_id, categories)
            _publish(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _key(contracts: str, chain_id: int, categories: Sequence[tuple[str, int]]) -> str:
    facts = json.dumps([tools.ANVIL_VERSION, chain_id, list(categories)]).encode()
    sources = (Path(__file__).with_name(name).read_bytes() for name in SOURCES)
    return f"{contracts}-{hashlib.sha256(b''.join([facts, *sources])).hexdigest()[:12]}"


def _publish(draft: Path, folder: Path) -> None:
    """Give the draft its final name, unless another process was faster: both hold the same."""
    try:
        draft.rename(folder)
    except OSError:
        if not folder.exists():
            raise


def _make(
    folder: Path, contracts: Path, chain_id: int, categories: Sequence[tuple[str, int]]
) -> None:
    # Imported here: with a snapshot at hand nothing needs web3.
    from web3 import HTTPProvider, Web3

    from iexworker.sandbox.chain.accounts import derive, write_keystores
    from iexworker.sandbox.chain.contracts import Package
    from iexworker.sandbox.chain.deployment import Deployment

    package, accounts = Package(contracts), derive()
    node = Node(HOST, ports.free(HOST), chain_id, dump_state=folder / "state.json")
    child = node.start(folder / "anvil.log")
    try:
        web3 = Web3(HTTPProvider(f"http://{HOST}:{node.port}"))
        deployed = Deployment(web3, package, accounts).run(categories)
    finally:
        child.stop()
    abis = {name: package.artifact(name).abi for name in CALLED}
    abis["hub"] = package.abi(deployed.hub_sources)
    (folder / "abi.json").write_text(json.dumps(abis), encoding="utf-8")
    write_keystores(accounts, folder / "wallets", KEYSTORE_PASSWORD)
    facts = _facts(deployed, package.version, chain_id, accounts)
    (folder / "chain.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")


def _facts(
    deployed: Deployed, version: str, chain_id: int, accounts: Mapping[str, LocalAccount]
) -> dict[str, Any]:
    """List what any network on this chain has in common."""
    from iexworker.sandbox.chain.deployment import CALLBACK_GAS, STAKE_NRLC

    return {
        "chainId": chain_id,
        "asset": "native",
        "pocoVersion": version,
        "hub": deployed.hub,
        "token": None,
        "registries": dict(deployed.registries),
        "workerpool": deployed.workerpool,
        "callbackReceiver": deployed.callback_receiver,
        "categories": [
            {"id": index, "name": name, "workClockTimeRef": seconds}
            for index, (name, seconds) in enumerate(deployed.categories)
        ],
        "callbackGas": CALLBACK_GAS,
        "startBlock": 0,
        "stake": dict.fromkeys(STAKED_ROLES, STAKE_NRLC),
        "hubAbiSources": list(deployed.hub_sources),
        "accounts": {
            role: {"address": one.address, "key": "0x" + bytes(one.key).hex()}
            for role, one in accounts.items()
        },
    }
