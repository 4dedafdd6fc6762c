"""A chain in memory: one wallet's mempool, blocks and contributions, and their faults.

It stands for a real node where thousands of random histories are played; the integration tests
play some of them on the real one (tests/integration/test_outbox_chain.py).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import rlp

from iexworker.errors import ChainError
from iexworker.outbox import situation
from iexworker.outbox.actions import Action, ActionKey
from iexworker.outbox.evidence import BroadcastAnswer, Evidence, Position
from iexworker.poco import abi, receipts
from iexworker.poco.hashing import hex_text, keccak
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ActionKind,
    ChainReceipt,
    Contribution,
    ContributionStatus,
    Head,
    Log,
    Nonces,
    Receipt,
)
from iexworker.wallet import Wallet

WALLET = Wallet(bytes([7]) * 32)
HUB = "0x" + "42" * 20
CHAIN_ID = 134
BLOCK_TIME_S = 5.0
START_S = 1_700_000_000
UNSET = Contribution(ContributionStatus.UNSET, "0x" + "00" * 32, "0x" + "00" * 32, ZERO_ADDRESS)

_SELECTORS = {
    keccak(signature.encode())[:4]: kind
    for signature, kind in (
        (abi.CONTRIBUTE, ActionKind.CONTRIBUTE),
        (abi.REVEAL, ActionKind.REVEAL),
    )
}


@dataclass(frozen=True)
class Sent:
    """A transaction as a node reads it."""

    raw: bytes
    tx_hash: str
    nonce: int
    price_wei: int
    data: bytes

    @classmethod
    def read(cls, raw: bytes) -> Sent:
        nonce, price, _, _, _, data, *_ = rlp.decode(raw)
        return cls(
            raw, hex_text(keccak(raw)), int.from_bytes(nonce), int.from_bytes(price), bytes(data)
        )


@dataclass
class State:
    """What a block changes, and a reorganisation takes back."""

    number: int = 100
    nonce: int = 0
    contributions: dict[str, Contribution] = field(default_factory=dict)
    mined: dict[str, Receipt] = field(default_factory=dict)


class FakeChain:
    """The node of one wallet; its public attributes are the faults that a test sets."""

    def __init__(self) -> None:
        self.state = State()
        self.time_s = START_S
        self.pool: dict[int, Sent] = {}
        self.deadlines: dict[str, int] = {}
        self.revealing: set[str] = set()
        self.past: list[State] = []
        self.network_wei: int | None = 1_000
        self.least_wei = 0
        """What a block takes, and a node keeps."""
        self.unreachable = False
        self.loses_answers = False
        """A broadcast gets through, its answer does not."""
        self.refuses: str | None = None
        """What the contract says to everything, None: it looks."""
        self.chain_id = CHAIN_ID
        self.broadcasts: list[str] = []
        self._all: dict[str, Sent] = {}

    # What the outbox asks.

    def position(self) -> Position:
        self._reach()
        return Position(self.chain_id, self.nonces, self.head, self.network_wei)

    def evidence(
        self, hashes: Sequence[str], tasks: Sequence[str], trials: Sequence[Action]
    ) -> Evidence:
        self._reach()
        held = {sent.tx_hash for sent in self.pool.values()}
        return Evidence(
            {tx: self.state.mined[tx] for tx in hashes if tx in self.state.mined},
            frozenset(tx for tx in hashes if tx in held or tx in self.state.mined),
            {task: self.contribution(task) for task in tasks},
            dict(self._refusals(trials)),
        )

    def broadcast(self, raw: bytes) -> tuple[BroadcastAnswer, str]:
        self._reach()
        sent = Sent.read(raw)
        self.broadcasts.append(sent.tx_hash)
        answer = self._take(sent)
        if self.loses_answers:
            raise ChainError("no answer in time")
        return answer, answer.value

    def locate(self, kind: ActionKind, task_id: str) -> ChainReceipt | None:
        self._reach()
        for receipt in self.state.mined.values():
            proof = receipts.confirmation(receipt, kind, task_id, WALLET.address, 1)
            if proof is not None:
                return proof
        return None

    # What a test looks at.

    @property
    def head(self) -> Head:
        return Head(self.state.number, self.time_s)

    @property
    def nonces(self) -> Nonces:
        pending = self.state.nonce
        while pending in self.pool:
            pending += 1
        return Nonces(self.state.nonce, pending)

    def contribution(self, task_id: str) -> Contribution:
        return self.state.contributions.get(task_id, UNSET)

    # What a test makes happen.

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.past.append(copy.deepcopy(self.state))
            self.state.number += 1
            self.time_s += int(BLOCK_TIME_S)
            while (sent := self._next()) is not None:
                self._execute(self.pool.pop(sent.nonce))

    def reorganise(self, depth: int, *, keep: bool) -> None:
        """Take blocks back; their transactions wait again, or are forgotten."""
        for _ in range(min(depth, len(self.past))):
            undone, self.state = self.state, self.past.pop()
            if keep:
                for tx_hash, sent in self._sent_in(undone):
                    if tx_hash not in self.state.mined:
                        self.pool.setdefault(sent.nonce, sent)
            self.state.number = undone.number  # the new branch is no shorter

    def forget(self) -> None:
        """Restart with an empty mempool."""
        self.pool.clear()

    def spend_nonce(self) -> None:
        """Mine a transaction that another program sent with our key."""
        self.pool.pop(self.state.nonce, None)
        self.state.nonce += 1

    def _sent_in(self, state: State) -> list[tuple[str, Sent]]:
        return [(tx, self._all[tx]) for tx in state.mined if tx in self._all]

    def _reach(self) -> None:
        if self.unreachable:
            raise ChainError("node: no answer in time")

    def _refusals(self, trials: Sequence[Action]) -> list[tuple[ActionKey, str]]:
        if self.refuses is not None:
            return [(action.key, self.refuses) for action in trials]
        return [
            (action.key, "execution reverted")
            for action in trials
            if not self._allowed(action.kind, action.task_id)
        ]

    def _take(self, sent: Sent) -> BroadcastAnswer:
        self._all[sent.tx_hash] = sent
        rival = self.pool.get(sent.nonce)
        if sent.nonce < self.state.nonce:
            return BroadcastAnswer.NONCE_SPENT
        if rival is not None and rival.tx_hash == sent.tx_hash:
            return BroadcastAnswer.TAKEN
        if sent.price_wei < self.least_wei:
            return BroadcastAnswer.UNDERPRICED
        if rival is not None and sent.price_wei * 8 < rival.price_wei * 9:
            return BroadcastAnswer.UNDERPRICED
        if rival is not None and sent.price_wei == 0:
            return BroadcastAnswer.UNDERPRICED
        self.pool[sent.nonce] = sent
        return BroadcastAnswer.TAKEN

    def _next(self) -> Sent | None:
        sent = self.pool.get(self.state.nonce)
        return None if sent is None or sent.price_wei < self.least_wei else sent

    def _execute(self, sent: Sent) -> None:
        self.state.nonce += 1
        kind = _SELECTORS.get(sent.data[:4])
        task_id = hex_text(sent.data[4:36])
        success = kind is None or (self.refuses is None and self._allowed(kind, task_id))
        logs: tuple[Log, ...] = ()
        if success and kind is not None:
            self._apply(kind, task_id, sent)
            wanted = tuple(receipts.topics(kind, task_id, WALLET.address))
            logs = (Log(wanted, "0x", self.state.number, sent.tx_hash),)
        self.state.mined[sent.tx_hash] = Receipt(
            sent.tx_hash, success, self.state.number, 21_000, logs
        )

    def _allowed(self, kind: ActionKind, task_id: str) -> bool:
        if self.time_s >= self.deadlines.get(task_id, 2**62):
            return False
        status = self.contribution(task_id).status
        if kind is ActionKind.CONTRIBUTE:
            return status is ContributionStatus.UNSET
        return status is ContributionStatus.CONTRIBUTED and task_id in self.revealing

    def _apply(self, kind: ActionKind, task_id: str, sent: Sent) -> None:
        status, result_hash = ContributionStatus.CONTRIBUTED, hex_text(sent.data[36:68])
        if kind is ActionKind.REVEAL:
            status, result_hash = ContributionStatus.PROVED, self.contribution(task_id).result_hash
        self.state.contributions[task_id] = Contribution(
            status, result_hash, "0x" + "00" * 32, ZERO_ADDRESS
        )


def task(number: int) -> str:
    return "0x" + number.to_bytes(32, "big").hex()


def contribute(task_id: str, deadline_s: int = 2**40, result: int = 1) -> Action:
    calldata = abi.contribute(task_id, WALLET.address, task(result), "0x" + "11" * 65)
    return Action(task_id, ActionKind.CONTRIBUTE, calldata, 500_000, deadline_s)


def reveal(task_id: str, deadline_s: int = 2**40, result: int = 1) -> Action:
    calldata = abi.reveal(task_id, task(result))
    return Action(task_id, ActionKind.REVEAL, calldata, 100_000, deadline_s)


def shown_done(chain: FakeChain, action: Action) -> bool:
    return situation.shown_done(action, chain.contribution(action.task_id))
