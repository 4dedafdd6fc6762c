"""A chain with the contracts whose blocks are made when a test says so, and a worker on it."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iexworker.chain.hub import Hub
from iexworker.outbox import gas
from iexworker.outbox.actions import Action, Result
from iexworker.outbox.gas import PriceRule
from iexworker.outbox.ledger import SCHEMA, Ledger
from iexworker.outbox.node import ChainNode
from iexworker.outbox.outbox import Outbox
from iexworker.poco import abi
from iexworker.poco.hashing import authorization_hash, keccak, lenient_bytes
from iexworker.poco.models import ZERO_ADDRESS, ActionKind, ChainConfiguration
from iexworker.sandbox.chain import snapshot
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.chain.deals import Purchase, buy
from iexworker.sandbox.chain.node import Node
from iexworker.sandbox.network import ports
from iexworker.sandbox.network.network import CHAIN_ID
from iexworker.wallet import Wallet

FREE = PriceRule(multiplier=0.0, cap_wei=0)
PAID = PriceRule(multiplier=1.3, cap_wei=22_000_000_000)

_names = itertools.count()


class Anvil:
    """The node's own calls, and what the other actors of a task do."""

    def __init__(self, local: LocalChain) -> None:
        self.local = local
        self.url: str = local.deployed["rpc"]
        self.configuration = ChainConfiguration(
            chain_id=local.deployed["chainId"],
            hub_address=local.deployed["hub"].lower(),
            node_url=self.url,
            sidechain=True,
            block_time_s=1.0,
        )

    def ask(self, method: str, *parameters: object) -> Any:
        answer = self.local.web3.provider.make_request(method, list(parameters))  # type: ignore[arg-type]  # anvil's own methods
        assert "error" not in answer, answer
        return answer["result"]

    def mine(self, blocks: int = 1) -> None:
        """Make blocks a second apart, by their own time."""
        for _ in range(blocks):
            head = self.ask("eth_getBlockByNumber", "latest", False)
            self.ask("evm_mine", int(head["timestamp"], 16) + 1)

    @contextmanager
    def mining_at_once(self) -> Iterator[None]:
        """Let the other actors' transactions through; ours are mined when a test says so."""
        self.ask("evm_setAutomine", True)
        try:
            yield
        finally:
            self.ask("evm_setAutomine", False)

    def task(self, trust: int = 1, **wanted: Any) -> str:
        """Buy a task and initialise it."""
        purchase = Purchase(
            image="registry/app:1", app_name=f"app {next(_names)}", trust=trust, **wanted
        )
        with self.mining_at_once():
            deal = buy(self.local, purchase)
            self.local.send("scheduler", "initialize", bytes.fromhex(deal.deal_id[2:]), 0)
        return deal.task_ids[0]

    def wallet(self, role: str) -> Wallet:
        return Wallet(bytes(self.local.accounts[role].key))

    def authorization(self, task_id: str, wallet: str) -> str:
        message = lenient_bytes(authorization_hash(wallet, task_id, ZERO_ADDRESS))
        return self.wallet("scheduler").sign_message_hash(message)


@dataclass
class OutboxWorker:
    """A wallet with its journal; `restart` is what a crash leaves."""

    anvil: Anvil
    role: str
    journal: Path
    rule: PriceRule = FREE
    skew_s: float = 0.0
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.wallet = self.anvil.wallet(self.role)
        self.hub = Hub(self.anvil.configuration, self.anvil.url, self.wallet.address)
        self.ledger = open_ledger(self.journal)
        self.outbox = self.outbox_on(ChainNode(self.hub))

    def outbox_on(self, node: ChainNode) -> Outbox:
        configuration = self.anvil.configuration
        return Outbox(
            node, self.ledger, self.wallet, configuration, self.rule, monotonic=self.monotonic
        )

    def monotonic(self) -> float:
        return time.monotonic() + self.skew_s

    def contribute(self, task_id: str, result: str = "result") -> Action:
        authorization = self.anvil.authorization(task_id, self.wallet.address)
        calldata = abi.contribute(task_id, self.wallet.address, digest(result), authorization)
        deadline_s = self.anvil.local.struct("viewTask", lenient_bytes(task_id))[
            "contributionDeadline"
        ]
        return Action(task_id, ActionKind.CONTRIBUTE, calldata, gas.CONTRIBUTE_GAS, deadline_s)

    def reveal(self, task_id: str, result: str = "result") -> Action:
        calldata = abi.reveal(task_id, digest(result))
        task = self.hub.task(task_id)
        assert task is not None
        deadline_s = task.reveal_deadline_s
        return Action(task_id, ActionKind.REVEAL, calldata, gas.REVEAL_GAS, deadline_s)

    def turn(self, passes: int = 1) -> list[Result]:
        """Make passes with a block after each; return what the last ones decided."""
        found: list[Result] = []
        for _ in range(passes):
            found += self.outbox.step()
            self.anvil.mine()
            self.skew_s += 1
        return found + self.outbox.step()

    def contributions(self, task_id: str) -> list[str]:
        """Return the hashes of this wallet's transactions that contributed to the task."""
        events = self.hub.contributions_since(0)
        return [event.tx_hash for event in events if event.task_id == task_id]


def digest(result: str) -> str:
    return "0x" + keccak(result.encode()).hex()


def open_ledger(path: Path) -> Ledger:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.executescript(SCHEMA)
    return Ledger(connection, "test")


@contextmanager
def anvil(folder: Path, profile: str) -> Iterator[Anvil]:
    """Start a chain that mines on demand only; it is stopped in the end."""
    made = snapshot.prepare(profile, CHAIN_ID, snapshot.CATEGORIES)
    port = ports.free(snapshot.HOST)
    # Without a block time, so without pruning: a reorganisation needs the states of the past.
    node = Node(snapshot.HOST, port, CHAIN_ID, load_state=made / "state.json")
    child = node.start(folder / "anvil.log")
    try:
        deployed = json.loads((made / "chain.json").read_text(encoding="utf-8"))
        rpc = f"http://{snapshot.HOST}:{port}"
        found = Anvil(LocalChain({**deployed, "rpc": rpc, "abi": str(made / "abi.json")}))
        found.ask("evm_setAutomine", False)
        found.ask("evm_mine")  # at the time of the clock: `mine` counts on from it
        yield found
    finally:
        child.stop()
