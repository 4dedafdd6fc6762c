"""Access to the chain for the scheduling loop: reads in a few threads, transactions in one thread.

Each thread has its own node connection; the outbox's thread also its own journal connection.
Nothing here blocks the loop, and a slow node delays no other task's reveal: the outbox waits for
no receipt between two sends (docs/spec/04, H11).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from iexworker import peers
from iexworker.chain.hub import Hub
from iexworker.chain.rpc import Batches
from iexworker.errors import ChainError
from iexworker.outbox import gas
from iexworker.outbox.actions import Action, Pace, Result, Tally
from iexworker.outbox.gas import PriceRule
from iexworker.outbox.ledger import Ledger
from iexworker.outbox.node import ChainNode
from iexworker.outbox.outbox import Outbox
from iexworker.poco import abi, preflight
from iexworker.poco import authorization as words
from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ActionKind,
    ChainAccount,
    ChainConfiguration,
    ChainReceipt,
    Contributed,
    ContributionEvent,
    Head,
    Nonces,
    Sighting,
    TaskDescription,
)
from iexworker.task.journal import JournalKey, connect
from iexworker.task.replicate import Replicate, Step
from iexworker.wallet import Wallet

READERS = 3

T = TypeVar("T")
log = logging.getLogger(__name__)


class ChainGateway:
    """One chain, one wallet.

    Made once the node has answered and is on the right chain; raises `ChainError` until then.
    The constructor blocks: call it in a thread.
    """

    def __init__(
        self,
        configuration: ChainConfiguration,
        node_url: str,
        wallet: Wallet,
        prices: PriceRule,
        pool_address: str | None,
        journal_path: Path,
    ) -> None:
        self.configuration = configuration
        self._node_url = node_url
        self._wallet = wallet
        self.prices = prices
        self._pool_address = pool_address
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="chain")
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._local = threading.local()
        self._one_reward = asyncio.Lock()
        self._batches = Batches()
        self.wake = asyncio.Event()
        """Set when the outbox has something new to do."""
        self.tally = Tally()
        try:
            self.key = self._checked_key()
            self._sender.submit(self._make_outbox, journal_path).result()
        except BaseException:
            self.close()
            raise

    def _checked_key(self) -> JournalKey:
        """Check that the node is on the right chain; return what names chain and wallet."""
        hub = self._hub()
        chain_id = hub.chain_id()
        if chain_id != self.configuration.chain_id:
            raise ChainError(
                hub.rpc.peer.told(
                    "eth_chainId",
                    f"it is on chain {chain_id}, the scheduler works on chain "
                    f"{self.configuration.chain_id}",
                    f"set {peers.NODE_SETTING} to a node of that chain",
                )
            )
        if not hub.has_contract():
            raise ChainError(
                hub.rpc.peer.told(
                    "eth_getCode",
                    f"no contract at the hub {self.configuration.hub_address} of chain {chain_id}",
                    "is the node synchronised, and of the same network? "
                    f"else set {peers.NODE_SETTING} to one that is",
                )
            )
        genesis = hub.genesis_hash()
        log.info("chain node answers", extra={"node": hub.client_version(), "chain": chain_id})
        return JournalKey(chain_id, self.configuration.hub_address, genesis, self._wallet.address)

    def _make_outbox(self, journal_path: Path) -> None:
        self._ledger = Ledger(connect(journal_path), str(self.key))
        node = ChainNode(self._hub())
        self._outbox = Outbox(node, self._ledger, self._wallet, self.configuration, self.prices)

    def _hub(self) -> Hub:
        hub: Hub | None = getattr(self._local, "hub", None)
        if hub is None:
            hub = Hub(
                self.configuration, self._node_url, self._wallet.address, batches=self._batches
            )
            self._local.hub = hub
        return hub

    async def _read(self, call: Callable[[Hub], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: call(self._hub()))

    async def describe(self, replicate: Replicate) -> TaskDescription | None:
        """Return what the task is."""
        return await self._read(lambda hub: hub.describe(replicate.task_id, replicate.profile))

    async def authorized(
        self, authorization: WorkerpoolAuthorization, description: TaskDescription
    ) -> bool:
        """Tell whether the contract will accept the authorisation, and the deal is our pool's."""
        pool = description.workerpool_address
        if self._pool_address not in (None, pool):
            log.error(
                "grant of another workerpool refused",
                extra={"task": description.task_id, "pool": pool, "ours": self._pool_address},
            )
            return False
        reason = await self._read(lambda hub: self._refusal(hub, authorization, description))
        if reason is not None:
            log.error("grant refused", extra={"task": description.task_id, "reason": reason})
        return reason is None

    def _refusal(
        self, hub: Hub, authorization: WorkerpoolAuthorization, description: TaskDescription
    ) -> str | None:
        """Say why the contract would refuse the authorisation (docs/spec/05, 5.6)."""
        signers = [description.workerpool_owner]
        if authorization.enclave_challenge != ZERO_ADDRESS:
            signers += filter(None, [hub.tee_broker()])
        task_id, wallet = description.task_id, self._wallet.address
        reason = words.refusal(authorization, task_id=task_id, wallet=wallet, signers=signers)
        if reason is None or words.mismatch(authorization, task_id=task_id, wallet=wallet):
            return reason
        accepted = hub.accepts_signature(
            description.workerpool_owner, words.digest(authorization), authorization.signature
        )
        return None if accepted else reason

    async def contribution_obstacles(
        self, replicate: Replicate, description: TaskDescription
    ) -> tuple[str, ...]:
        """Return the causes that forbid to go on, the first to report first; empty when none."""
        view = await self._read(lambda hub: hub.task_view(replicate.task_id))
        facts = preflight.PreflightFacts(
            wallet=self._wallet.address,
            authorized=True,
            task=view.task,
            account=view.account,
            # contributeAndFinalize locks no stake: profile 8's check of it is not repeated.
            worker_stake=0 if description.finalizes_at_once else description.worker_stake,
            described=True,
            finalizes_at_once=description.finalizes_at_once,
            contribution=view.contribution,
            now_s=view.head.timestamp_s,
        )
        return preflight.contribution_causes(facts, replicate.profile)

    async def enough_gas(self) -> bool:
        """Tell whether the wallet can pay for a contribution and its reveal."""
        funds = await self.gas_funds()
        return funds is None or funds.enough

    async def gas_funds(self, owed_gas: int = 0) -> gas.GasFunds | None:
        """Return what the wallet has for gas, and what it wants; None where there are no fees."""
        if self.configuration.sidechain:
            return None
        balance_wei, network_wei, head = await self._read(Hub.purse)
        return gas.funds(self.prices, balance_wei, network_wei, head.base_fee_wei, owed_gas)

    async def account(self) -> ChainAccount:
        """Return the wallet's deposit: what the next contributions can lock, and what is locked."""
        return await self._read(Hub.account)

    async def head(self) -> Head:
        """Return the newest block."""
        return await self._read(Hub.head)

    async def nonces(self) -> Nonces:
        """Return the wallet's transaction counts."""
        return await self._read(Hub.nonces)

    async def signed_nonce(self) -> int:
        """Return the highest nonce that the journal knows to be signed with, -1 without any."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._sender, lambda: self._ledger.top_nonce())

    async def sight(self, task_id: str) -> Sighting:
        """Read task and own contribution."""
        sighting = await self.look(task_id)
        if sighting is None:
            raise ChainError(f"task {task_id} is not known to {self.configuration.hub_address}")
        return sighting

    async def look(self, task_id: str) -> Sighting | None:
        """Read task and own contribution, None for a task that the hub does not know."""
        view = await self._read(lambda hub: hub.task_view(task_id))
        if view.task is None:
            return None
        return Sighting(view.task, view.contribution, view.head.timestamp_s)

    async def contributions(self) -> list[ContributionEvent]:
        """Return this wallet's contributions to all tasks that can be under way."""
        return await self._read(lambda hub: hub.contributions_since(hub.oldest_block()))

    async def contributed(self, tx_hash: str) -> Contributed | None:
        """Return what a transaction contributed, None if the node does not know it."""
        return await self._read(lambda hub: hub.contributed(tx_hash))

    async def revealed(self, task_id: str, since_block: int) -> ChainReceipt | None:
        """Return where our reveal was mined, None when it was not."""
        found = await self._read(lambda hub: hub.event(ActionKind.REVEAL, task_id, since_block))
        if found is None or found.block_number is None:
            return None
        return ChainReceipt(found.block_number, found.tx_hash)

    async def reward_nrlc(self, task_id: str, since_block: int) -> int | None:
        """Return what the wallet was paid for a task, None while the node does not show its end.

        One task at a time, so that a slow node leaves readers to those that can be revealed.
        """
        async with self._one_reward:
            return await self._read(lambda hub: hub.reward_nrlc(task_id, since_block))

    async def transact(self, replicate: Replicate, step: Step) -> None:
        """Hand a contribute or reveal to the outbox."""
        if step is Step.CONTRIBUTE:
            action = contribute_action(replicate, self._wallet.address)
        else:
            view = await self.sight(replicate.task_id)
            action = reveal_action(replicate, view.task.reveal_deadline_s)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._sender, lambda: self._outbox.submit(action))
        self.wake.set()

    async def turn_outbox(self) -> tuple[list[Result], Pace]:
        """Run one pass of the outbox; return its results and how soon to run the next."""

        def turn() -> tuple[list[Result], Pace]:
            results = self._outbox.step()
            self.tally = self._outbox.tally
            return results, self._outbox.pace

        return await asyncio.get_running_loop().run_in_executor(self._sender, turn)

    async def forget(self, task_id: str) -> None:
        """Drop the outbox's rows of a task that has ended."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._sender, lambda: self._outbox.forget(task_id))

    def close(self) -> None:
        """Stop the threads once their current work is done."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._sender.shutdown(wait=False, cancel_futures=True)


def contribute_action(replicate: Replicate, wallet: str) -> Action:
    """Return the contribute of a standard task (docs/spec/05, 4.1)."""
    task_id, digest = replicate.task_id, replicate.digest
    if digest is None:
        raise ValueError(f"{task_id}: a contribution needs a digest")
    calldata = abi.contribute(task_id, wallet, digest, replicate.authorization.signature)
    deadline_s = replicate.contribution_deadline_s or 0
    return Action(task_id, ActionKind.CONTRIBUTE, calldata, gas.CONTRIBUTE_GAS, deadline_s)


def reveal_action(replicate: Replicate, deadline_s: int) -> Action:
    """Return the reveal of a contribution."""
    if replicate.digest is None:
        raise ValueError(f"{replicate.task_id}: a reveal needs a digest")
    calldata = abi.reveal(replicate.task_id, replicate.digest)
    return Action(replicate.task_id, ActionKind.REVEAL, calldata, gas.REVEAL_GAS, deadline_s)
