"""An outbox on a chain of the test's own, which a crash may end at any time."""

from __future__ import annotations

import sqlite3

import pytest

from iexworker.outbox.actions import Result, TransactionState
from iexworker.outbox.gas import PriceRule
from iexworker.outbox.ledger import SCHEMA, Ledger
from iexworker.outbox.outbox import Outbox
from iexworker.poco.models import ChainConfiguration
from tests.helpers.fake_chain import (
    BLOCK_TIME_S,
    CHAIN_ID,
    HUB,
    START_S,
    WALLET,
    FakeChain,
    Sent,
)

FREE = PriceRule(0.0, 0)
PAID = PriceRule(1.3, 100_000)
CONFIGURATION = ChainConfiguration(CHAIN_ID, HUB, "http://node", True, BLOCK_TIME_S)


class OutboxHarness:
    """An outbox on a fake chain, with a clock of its own; `restart` is what a crash leaves."""

    def __init__(self, rule: PriceRule = PAID, path: str = ":memory:") -> None:
        self.chain = FakeChain()
        self.rule = rule
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.executescript(SCHEMA)
        self.ledger = Ledger(self.connection, "key")
        self.now_s = float(START_S)
        self.uptime_s = 1000.0
        self.restart()

    def restart(self) -> None:
        self.outbox = Outbox(
            self.chain,
            self.ledger,
            WALLET,
            CONFIGURATION,
            self.rule,
            clock=lambda: self.now_s,
            monotonic=lambda: self.uptime_s,
        )

    def mine(self, blocks: int = 1) -> None:
        self.chain.mine(blocks)
        self.now_s += blocks * BLOCK_TIME_S
        self.uptime_s += blocks * BLOCK_TIME_S

    def turn(self, passes: int = 1) -> list[Result]:
        found: list[Result] = []
        for _ in range(passes):
            found += self.outbox.step()
            self.mine()
        return found + self.outbox.step()

    @property
    def signed(self) -> list[Sent]:
        rows = self.connection.execute("SELECT raw FROM transactions ORDER BY nonce, rowid")
        return [Sent.read(raw) for (raw,) in rows]

    @property
    def free(self) -> list[Sent]:
        """What may still be mined, by nonce."""
        return [
            Sent.read(item.raw)
            for item in self.ledger.transactions(2**62)
            if item.state in (TransactionState.SIGNED, TransactionState.SENT)
        ]


@pytest.fixture
def harness() -> OutboxHarness:
    return OutboxHarness()
