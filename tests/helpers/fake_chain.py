"""A chain in memory: one wallet's mempool, blocks, tasks and contributions, and their faults.

It stands for a real node where thousands of random histories are played; the integration tests
play some of them on the real one (tests/integration/test_outbox_chain.py). The outbox takes it as
its node; a gateway on it is made by fake_gateway.py.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
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
    ZERO_BYTES32,
    ActionKind,
    ChainAccount,
    ChainReceipt,
    ChainTask,
    Contributed,
    Contribution,
    ContributionEvent,
    ContributionStatus,
    Head,
    Log,
    Nonces,
    Profile,
    Receipt,
    Sighting,
    TaskDescription,
    TaskView,
)
from iexworker.wallet import Wallet
from tests.helpers.fake_gateway import UNSET, ChainView

WALLET = Wallet(bytes([7]) * 32)
HUB = "0x" + "42" * 20
CHAIN_ID = 134
BLOCK_TIME_S = 5.0
START_S = 1_700_000_000

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
    gas_limit: int
    data: bytes

    @classmethod
    def read(cls, raw: bytes) -> Sent:
        fields = rlp.decode(raw)
        nonce, price_wei, gas_limit = (int.from_bytes(field) for field in fields[:3])
        return cls(raw, hex_text(keccak(raw)), nonce, price_wei, gas_limit, bytes(fields[5]))


@dataclass
class State:
    """What a block changes, and a reorganisation takes back."""

    number: int = 100
    nonce: int = 0
    contributions: dict[str, Contribution] = field(default_factory=dict)
    receipts: dict[tuple[ActionKind, str], ChainReceipt] = field(default_factory=dict)
    """Where an action on a task was mined."""
    mined: dict[str, Receipt] = field(default_factory=dict)


class FakeChain(ChainView):
    """The node of one wallet; its public attributes are the faults that a test sets."""

    wallet = WALLET.address

    def __init__(self) -> None:
        self.state = State()
        self.tasks: dict[str, ChainTask] = {}
        self.descriptions: dict[str, TaskDescription] = {}
        self.signatures: dict[str, str] = {}
        """Of the authorisations with which tasks were contributed to."""
        self.unreadable: set[str] = set()
        """Tasks that cannot be read."""
        self.looked_at: list[str] = []
        self.knows_transactions = True
        self.held: list[int] = []
        """How many other transactions of ours the node holds, look by look; none at last."""
        self.time_s = START_S
        self.pool: dict[int, Sent] = {}
        self.deadlines: dict[str, int] = {}
        self.revealing: set[str] = set()
        self.past: list[State] = []
        self.network_wei: int | None = 1_000
        self.least_wei = 0
        """What a block takes, and a node keeps."""
        self.intrinsic_gas = 21_000
        """A transaction with less is refused."""
        self.needed_gas = 21_000
        """A transaction with less is mined, and runs out of gas."""
        self.estimate: int | None = None
        """What the node estimates, None: it says nothing."""
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
        self.reach()
        return Position(self.chain_id, self.nonces(), self.head(), self.network_wei)

    def evidence(
        self, hashes: Sequence[str], tasks: Sequence[str], trials: Sequence[Action]
    ) -> Evidence:
        self.reach()
        held = {sent.tx_hash for sent in self.pool.values()}
        return Evidence(
            {tx: self.state.mined[tx] for tx in hashes if tx in self.state.mined},
            frozenset(tx for tx in hashes if tx in held or tx in self.state.mined),
            {task: self.contribution(task) for task in tasks},
            dict(refusals := self._refusals(trials)),
            self._estimates(trials, dict(refusals)),
        )

    def broadcast(self, raw: bytes) -> tuple[BroadcastAnswer, str]:
        self.reach()
        sent = Sent.read(raw)
        self.broadcasts.append(sent.tx_hash)
        answer = self._take(sent)
        if self.loses_answers:
            raise ChainError("no answer in time")
        return answer, answer.value

    def locate(self, kind: ActionKind, task_id: str) -> ChainReceipt | None:
        self.reach()
        for receipt in self.state.mined.values():
            proof = receipts.confirmation(receipt, kind, task_id, WALLET.address, 1)
            if proof is not None:
                return proof
        return None

    # What a gateway reads.

    def reach(self) -> None:
        if self.unreachable:
            raise ChainError("node: no answer in time")

    def head(self) -> Head:
        return Head(self.state.number, self.time_s)

    def nonces(self) -> Nonces:
        pending = self.state.nonce
        while pending in self.pool:
            pending += 1
        others = self.held.pop(0) if self.held else 0
        return Nonces(self.state.nonce, pending + others)

    def task_view(self, task_id: str) -> TaskView:
        self.looked_at.append(task_id)
        if task_id in self.unreadable:
            raise ChainError("no answer")
        found = self.tasks.get(task_id)
        return TaskView(found, self.contribution(task_id), ChainAccount(0, 0), self.head())

    def describe(self, task_id: str, profile: Profile) -> TaskDescription:
        return self.descriptions[task_id]

    def contribution_events(self) -> list[ContributionEvent]:
        return [
            ContributionEvent(
                task_id, self.contribution(task_id).result_hash, mined.block_number, mined.tx_hash
            )
            for (kind, task_id), mined in self.state.receipts.items()
            if kind is ActionKind.CONTRIBUTE
        ]

    def contributed(self, tx_hash: str) -> Contributed | None:
        for event in self.contribution_events() if self.knows_transactions else ():
            if event.tx_hash == tx_hash:
                return Contributed(event.task_id, ZERO_ADDRESS, self.signatures[event.task_id])
        return None

    def event(self, kind: ActionKind, task_id: str) -> Log | None:
        found = self.state.receipts.get((kind, task_id))
        if found is None:
            return None
        return Log(tuple(receipts.topics(kind, task_id, self.wallet)), "0x", *_place(found))

    # What a test looks at.

    def contribution(self, task_id: str) -> Contribution:
        return self.state.contributions.get(task_id, UNSET)

    # What a test makes happen.

    def show(
        self,
        seen: Sighting,
        description: TaskDescription,
        receipts: Mapping[ActionKind, ChainReceipt],
        signature: str,
    ) -> None:
        """Have a task, and what the wallet has done for it, from now on."""
        task_id = seen.task.task_id
        self.time_s = seen.head_s
        self.tasks[task_id], self.descriptions[task_id] = seen.task, description
        self.state.contributions[task_id] = seen.contribution
        self.state.receipts |= {(kind, task_id): at for kind, at in receipts.items()}
        self.signatures[task_id] = signature

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

    def drop_pool(self) -> None:
        """Restart with an empty mempool."""
        self.pool.clear()

    def spend_nonce(self) -> None:
        """Mine a transaction that another program sent with our key."""
        self.pool.pop(self.state.nonce, None)
        self.state.nonce += 1

    def _sent_in(self, state: State) -> list[tuple[str, Sent]]:
        return [(tx, self._all[tx]) for tx in state.mined if tx in self._all]

    def _refusals(self, trials: Sequence[Action]) -> list[tuple[ActionKey, str]]:
        if self.refuses is not None:
            return [(action.key, self.refuses) for action in trials]
        return [
            (action.key, "execution reverted")
            for action in trials
            if not self._allowed(action.kind, action.task_id)
        ]

    def _estimates(
        self, trials: Sequence[Action], refusals: Mapping[ActionKey, str]
    ) -> dict[ActionKey, int]:
        if self.estimate is None:
            return {}
        return {one.key: self.estimate for one in trials if one.key not in refusals}

    def _take(self, sent: Sent) -> BroadcastAnswer:
        self._all[sent.tx_hash] = sent
        rival = self.pool.get(sent.nonce)
        if sent.nonce < self.state.nonce:
            return BroadcastAnswer.NONCE_SPENT
        if rival is not None and rival.tx_hash == sent.tx_hash:
            return BroadcastAnswer.TAKEN
        if sent.gas_limit < self.intrinsic_gas:
            return BroadcastAnswer.SHORT_OF_GAS
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
        enough = sent.gas_limit >= self.needed_gas
        success = enough and (
            kind is None or (self.refuses is None and self._allowed(kind, task_id))
        )
        logs: tuple[Log, ...] = ()
        if success and kind is not None:
            self._apply(kind, task_id, sent)
            wanted = tuple(receipts.topics(kind, task_id, WALLET.address))
            logs = (Log(wanted, "0x", self.state.number, sent.tx_hash),)
        gas_used = 21_000 if enough else sent.gas_limit
        self.state.mined[sent.tx_hash] = Receipt(
            sent.tx_hash, success, self.state.number, gas_used, logs, sent.price_wei
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
            status, result_hash, ZERO_BYTES32, ZERO_ADDRESS
        )
        self.state.receipts[kind, task_id] = ChainReceipt(self.state.number, sent.tx_hash)


def _place(receipt: ChainReceipt) -> tuple[int, str]:
    return receipt.block_number, receipt.tx_hash


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
