"""Putting the PoCo contracts on a fresh development node (docs/spec/10, Deployment order)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.types import TxReceipt

from iexworker.errors import SandboxError
from iexworker.sandbox.chain.accounts import STAKED_ROLES
from iexworker.sandbox.chain.contracts import Package, routed_selectors, routed_signatures, selector
from iexworker.sandbox.chain.orders import domain_separator
from iexworker.sandbox.chain.sender import Sender

ZERO_ADDRESS = "0x" + "00" * 20
LIBRARY = "IexecLibOrders_v5"

V6_PROXY_FACETS = ("DiamondCutFacet", "DiamondLoupeFacet", "OwnershipFacet")
V6_FACETS = (
    "IexecAccessorsABILegacyFacet",
    "IexecCategoryManagerFacet",
    "IexecConfigurationExtraFacet",
    "IexecConfigurationFacet",
    "IexecERC20Facet",
    "IexecEscrowNativeFacet",
    "IexecOrderManagementFacet",
    "IexecPoco1Facet",
    "IexecPoco2Facet",
    "IexecPocoAccessorsFacet",
    "IexecPocoBoostFacet",
    "IexecPocoBoostAccessorsFacet",
    "IexecRelayFacet",
)
# The order counts: a later module takes over the signatures that an earlier one has too.
V5_MODULES = (
    "ERC1538QueryDelegate",
    "IexecAccessorsDelegate",
    "IexecAccessorsABILegacyDelegate",
    "IexecCategoryManagerDelegate",
    "IexecERC20Delegate",
    "IexecEscrowNativeDelegate",
    "IexecMaintenanceDelegate",
    "IexecOrderManagementDelegate",
    "IexecPoco1Delegate",
    "IexecPoco2Delegate",
    "IexecRelayDelegate",
    "ENSIntegrationDelegate",
    "IexecMaintenanceExtraDelegate",
    "IexecPocoAccessorsDelegate",
    "IexecPocoBoostDelegate",
    "IexecPocoBoostAccessorsDelegate",
)
REGISTRIES = {
    "app": "AppRegistry",
    "dataset": "DatasetRegistry",
    "workerpool": "WorkerpoolRegistry",
}

BASE_URI = "https://nfts-metadata.iex.ec/{kind}/{chain_id}/"
CALLBACK_GAS = 200_000
STAKE_NRLC = 100 * 10**9
WEI_PER_NRLC = 10**9
GAS_LIMIT = 15_000_000

ROUTED = (
    "viewDeal(bytes32)",
    "viewTask(bytes32)",
    "viewTaskABILegacy(bytes32)",
    "viewAccount(address)",
    "viewAccountABILegacy(address)",
    "viewCategory(uint256)",
    "viewContribution(bytes32,address)",
    "viewContributionABILegacy(bytes32,address)",
    "viewScore(address)",
    "viewConsumed(bytes32)",
    "callbackgas()",
    "owner()",
    "initialize(bytes32,uint256)",
    "contribute(bytes32,bytes32,bytes32,address,bytes,bytes)",
    "reveal(bytes32,bytes32)",
    "reopen(bytes32)",
    "finalize(bytes32,bytes,bytes)",
    "contributeAndFinalize(bytes32,bytes32,bytes,bytes,address,bytes,bytes)",
    "claim(bytes32)",
)
"""What scheduler and worker call; a deployment that misses one would fail much later."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where everything ended up."""

    hub: str
    hub_sources: tuple[str, ...]
    """The contracts whose ABIs together are the hub's."""
    registries: Mapping[str, str]
    workerpool: str
    callback_receiver: str
    categories: tuple[tuple[str, int], ...]


class Deployment:
    """One run of the deployment, by the admin, on a node that mines each transaction at once."""

    def __init__(self, web3: Web3, package: Package, accounts: Mapping[str, LocalAccount]) -> None:
        self._web3 = web3
        self._package = package
        self._accounts = accounts
        self._diamond = package.version.startswith("6.")
        self._sender = Sender(web3, accounts["admin"], web3.eth.chain_id)
        if self._sender.next_nonce():
            raise SandboxError("this node has been deployed to before: nothing was sent")

    def run(self, categories: Sequence[tuple[str, int]]) -> Deployed:
        """Deploy all, stake for the roles that need it, create the workerpool, check the hub."""
        hub, sources = self._deploy_v6() if self._diamond else self._deploy_v5()
        registries = {kind: self._registry(kind, name) for kind, name in REGISTRIES.items()}
        self._configure(hub, sources, registries, categories)
        amounts = [STAKE_NRLC] * len(STAKED_ROLES)
        targets = [self._accounts[role].address for role in STAKED_ROLES]
        self._call(
            hub, sources, "depositForArray", amounts, targets, value_wei=sum(amounts) * WEI_PER_NRLC
        )
        receiver = self._create("TestClient")
        workerpool = self._workerpool(registries["workerpool"])
        self._check(hub, sources)
        return Deployed(hub, sources, registries, workerpool, receiver, tuple(categories))

    def _deploy_v6(self) -> tuple[str, tuple[str, ...]]:
        """Build the ERC-2535 diamond; a selector can be added to it only once."""
        routed: set[bytes] = set()

        def cut(name: str, address: str) -> tuple[str, int, list[bytes]]:
            every = routed_selectors(self._package.artifact(name).abi)
            chosen = [one for one in every if one not in routed]
            routed.update(chosen)
            return address, 0, chosen  # 0: add

        init = self._create("DiamondInit")
        cuts = [cut(name, self._create(name)) for name in V6_PROXY_FACETS]
        owner = self._sender.account.address
        hub = self._create("Diamond", cuts, (owner, init, selector("init()")))
        libraries = {LIBRARY: self._create(LIBRARY)}
        cuts = [cut(name, self._create(name, libraries=libraries)) for name in V6_FACETS]
        self._call(hub, ("DiamondCutFacet",), "diamondCut", cuts, ZERO_ADDRESS, b"")
        return hub, V6_PROXY_FACETS + V6_FACETS

    def _deploy_v5(self) -> tuple[str, tuple[str, ...]]:
        """Build the ERC-1538 proxy, whose functions are as the last module that has them says."""
        update = "ERC1538UpdateDelegate"
        hub = self._create("ERC1538Proxy", self._create(update))
        libraries = {LIBRARY: self._create(LIBRARY)}
        for name in V5_MODULES:
            module = self._create(name, libraries=libraries)
            listed = "".join(
                f"{one};" for one in routed_signatures(self._package.artifact(name).abi)
            )
            self._call(hub, (update,), "updateContract", module, listed, f"Linking {name}")
        return hub, (*reversed(V5_MODULES), update)

    def _registry(self, kind: str, name: str) -> str:
        address = self._create(name)
        uri = BASE_URI.format(kind=kind, chain_id=self._web3.eth.chain_id)
        self._call(address, (name,), "initialize", ZERO_ADDRESS)
        self._call(address, (name,), "setBaseURI", uri)
        return address

    def _configure(
        self,
        hub: str,
        sources: Sequence[str],
        registries: Mapping[str, str],
        categories: Sequence[tuple[str, int]],
    ) -> None:
        addresses = [registries[kind] for kind in REGISTRIES]
        native = (ZERO_ADDRESS, "Staked RLC", "SRLC", 9)
        self._call(hub, sources, "configure", *native, *addresses, ZERO_ADDRESS)
        self._call(hub, sources, "setCallbackGas", CALLBACK_GAS)
        for name, seconds in categories:
            self._call(hub, sources, "createCategory", name, '""', seconds)

    def _workerpool(self, registry: str) -> str:
        arguments = (self._accounts["scheduler"].address, "sandbox workerpool")
        self._call(registry, ("WorkerpoolRegistry",), "createWorkerpool", *arguments)
        contract = self._web3.eth.contract(
            address=Web3.to_checksum_address(registry),
            abi=self._package.artifact("WorkerpoolRegistry").abi,
        )
        return str(contract.functions.predictWorkerpool(*arguments).call())

    def _check(self, hub: str, sources: Sequence[str]) -> None:
        """Make sure that the hub routes what the stack calls and signs for the domain we expect."""
        contract = self._web3.eth.contract(
            address=Web3.to_checksum_address(hub), abi=self._package.abi(sources)
        )
        if self._diamond:
            facet_of = contract.functions.facetAddress
            missing = [one for one in ROUTED if int(facet_of(selector(one)).call(), 16) == 0]
        else:
            exists = contract.functions.functionExists
            missing = [one for one in ROUTED if not exists(one).call()]
        if missing:
            raise SandboxError(f"the hub does not route {', '.join(missing)}")
        domain = contract.functions.eip712domain_separator().call()
        if domain != domain_separator(self._web3.eth.chain_id, hub):
            raise SandboxError(f"the hub signs for another domain: 0x{domain.hex()}")

    def _create(
        self, name: str, *arguments: object, libraries: Mapping[str, str] | None = None
    ) -> str:
        artifact = self._package.artifact(name)
        code = artifact.creation_code(libraries or {})
        code += encode(artifact.constructor_types, arguments)
        receipt: TxReceipt = self._sender.run(None, code, gas=GAS_LIMIT)
        return str(receipt["contractAddress"])

    def _call(
        self, to: str, sources: Sequence[str], function: str, *arguments: object, value_wei: int = 0
    ) -> None:
        contract = self._web3.eth.contract(abi=self._package.abi(sources))
        data = contract.encode_abi(function, args=arguments)
        self._sender.run(to, data, value_wei=value_wei, gas=GAS_LIMIT)
