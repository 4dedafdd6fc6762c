"""The worker's gateway to a chain that a test makes up: its checks, reads and threads are real.

What the hub's contract shows, and what becomes of a transaction, says a `ChainView`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from iexworker.chain.hub import Hub
from iexworker.outbox.actions import Pace, Result
from iexworker.outbox.gas import GasFunds, PriceRule, funds
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ZERO_BYTES32,
    ActionKind,
    ChainAccount,
    Contributed,
    Contribution,
    ContributionEvent,
    ContributionStatus,
    Head,
    Log,
    Nonces,
    Profile,
    TaskDescription,
    TaskView,
)
from iexworker.scheduling.chain_gateway import ChainGateway
from iexworker.task.replicate import Replicate, Step

ACTIONS = {Step.CONTRIBUTE: ActionKind.CONTRIBUTE, Step.REVEAL: ActionKind.REVEAL}
UNSET = Contribution(ContributionStatus.UNSET, ZERO_BYTES32, ZERO_BYTES32, ZERO_ADDRESS)

T = TypeVar("T")


class ChainView:
    """What a worker's node shows; whoever derives from this says more."""

    wallet: str
    pace = Pace.BUSY
    """How soon the outbox is to be asked again."""

    def reach(self) -> None:
        """Raise `ChainError` while the node does not answer."""

    def head(self) -> Head:
        """Return the newest block."""
        raise NotImplementedError

    def task_view(self, task_id: str) -> TaskView:
        """Return task and contribution."""
        raise NotImplementedError

    def describe(self, task_id: str, profile: Profile) -> TaskDescription:
        """Return what the task is."""
        raise NotImplementedError

    def nonces(self) -> Nonces:
        """Return the wallet's transaction counts."""
        return Nonces(0, 0)

    def balance_wei(self) -> int | None:
        """Return what transactions can be paid with, None where they cost nothing."""
        return None

    def contribution_events(self) -> list[ContributionEvent]:
        """Return the wallet's contributions."""
        return []

    def contributed(self, tx_hash: str) -> Contributed | None:
        """Return what a transaction contributed."""
        return None

    def event(self, kind: ActionKind, task_id: str) -> Log | None:
        """Return the log of a transaction of the wallet."""
        return None

    def transact(self, replicate: Replicate, step: Step) -> None:
        """Take a contribute or reveal for the outbox."""
        raise NotImplementedError

    def results(self) -> list[Result]:
        """Return what has become of transactions."""
        raise NotImplementedError

    def forget(self, task_id: str) -> None:
        """Hear that a task has ended."""


class FakeHub(Hub):
    """Reads a view."""

    chain: ChainView

    def client_version(self) -> str:
        return "fake"

    def chain_id(self) -> int:
        return self.configuration.chain_id

    def has_contract(self) -> bool:
        return True

    def genesis_hash(self) -> str:
        return ZERO_BYTES32

    def head(self) -> Head:
        self.chain.reach()
        return self.chain.head()

    def nonces(self) -> Nonces:
        self.chain.reach()
        return self.chain.nonces()

    def oldest_block(self) -> int:
        return 0

    def contributions_since(self, block: int) -> list[ContributionEvent]:
        return self.chain.contribution_events()

    def contributed(self, tx_hash: str) -> Contributed | None:
        return self.chain.contributed(tx_hash)

    def event(self, kind: ActionKind, task_id: str, since_block: int) -> Log | None:
        return self.chain.event(kind, task_id)

    def tee_broker(self) -> str | None:
        return None

    def accepts_signature(self, contract: str, digest: str, signature: str) -> bool:
        return False

    def account(self) -> ChainAccount:
        self.chain.reach()
        return ChainAccount(10**18, 0)

    def task_view(self, task_id: str) -> TaskView:
        self.chain.reach()
        return self.chain.task_view(task_id)

    def describe(self, task_id: str, profile: Profile) -> TaskDescription:
        self.chain.reach()
        return self.chain.describe(task_id, profile)


def gateway_class(chain: ChainView) -> type[ChainGateway]:
    """Return a gateway on what `chain` shows: its checks and reads are the real ones."""

    class FakeGateway(ChainGateway):
        def _hub(self) -> Hub:
            hub = FakeHub(self.configuration, "", chain.wallet)
            hub.chain = chain
            return hub

        async def _read(self, call: Callable[[Hub], T]) -> T:
            # A method of `Hub` itself, as `Hub.head`, is the fake's here.
            return await super()._read(getattr(FakeHub, call.__name__, call))

        def _make_outbox(self, journal_path: Path) -> None:
            pass

        async def signed_nonce(self) -> int:
            return -1

        async def gas_funds(self, owed_gas: int = 0) -> GasFunds | None:
            chain.reach()
            balance_wei = chain.balance_wei()
            if balance_wei is None:
                return await super().gas_funds(owed_gas)
            return funds(PriceRule(1.0, 1), balance_wei, 1, None, owed_gas)

        async def transact(self, replicate: Replicate, step: Step) -> None:
            chain.reach()
            chain.transact(replicate, step)
            self.wake.set()

        async def turn_outbox(self) -> tuple[list[Result], Pace]:
            return chain.results(), chain.pace

        async def forget(self, task_id: str) -> None:
            chain.forget(task_id)

    return FakeGateway
