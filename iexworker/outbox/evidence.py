"""The outbox's questions to a chain node, and the meaning of the answers.

`outbox/node.py` asks a real node; this module can be imported without web3.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from iexworker.outbox.actions import Action, ActionKey
from iexworker.poco.models import ActionKind, ChainReceipt, Contribution, Head, Nonces, Receipt


@dataclass(frozen=True, slots=True)
class Position:
    """Where chain and wallet stand."""

    chain_id: int
    nonces: Nonces
    head: Head
    network_wei: int | None
    """The network's gas price, None when the node does not say."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What became of transactions and contributions, read after the position."""

    receipts: Mapping[str, Receipt]
    known: frozenset[str]
    contributions: Mapping[str, Contribution]
    refusals: Mapping[ActionKey, str]
    """Of the trials that the contract refuses now: why."""
    estimates: Mapping[ActionKey, int] = field(default_factory=dict)
    """Of the trials that succeed: the gas that the node estimates."""
    head_number: int | None = None
    """The newest block of the node that answered; None where it was not asked."""


class BroadcastAnswer(enum.Enum):
    """What the node said to a broadcast."""

    TAKEN = "taken"
    NONCE_SPENT = "nonce spent"
    UNDERPRICED = "underpriced"
    POOR = "insufficient funds"
    SHORT_OF_GAS = "gas limit too low"
    NONCE_AHEAD = "nonce too high"
    REFUSED = "refused"


_WORDS: Mapping[BroadcastAnswer, re.Pattern[str]] = {
    BroadcastAnswer.TAKEN: re.compile(r"\b(already ?known|known transaction|already imported)"),
    BroadcastAnswer.NONCE_SPENT: re.compile(r"nonce (is )?too low|oldnonce|already ?(been )?used"),
    BroadcastAnswer.NONCE_AHEAD: re.compile(r"nonce (is )?too (high|far)"),
    BroadcastAnswer.POOR: re.compile(r"insufficient ?(funds|balance)"),
    BroadcastAnswer.SHORT_OF_GAS: re.compile(
        r"intrinsic ?gas|out ?of ?gas|\bgas (limit )?(is )?too low|not ?enough gas|gas required"
    ),
    BroadcastAnswer.UNDERPRICED: re.compile(
        r"underpriced|fee ?too ?low|gas ?price|base fee|replacement"
    ),
}


def answer_of(reason: str) -> BroadcastAnswer:
    """Tell what a node's refusal means; each implementation has its own words."""
    lowered = reason.lower()
    found = (answer for answer, words in _WORDS.items() if words.search(lowered))
    return next(found, BroadcastAnswer.REFUSED)


class Node(Protocol):
    """The questions; every one raises `ChainError` when it gets no usable answer."""

    def position(self) -> Position:
        """Read where chain and wallet stand.

        It is asked before `evidence`, so that a nonce that is spent here has its receipt there.
        """

    def evidence(
        self, hashes: Sequence[str], tasks: Sequence[str], trials: Sequence[Action]
    ) -> Evidence:
        """Read receipts and contributions, and try out what may be signed next.

        A trial that fails for another reason than its contract's refusal counts as fit, and has
        no estimate: too little gas is never the contract's refusal.
        """

    def broadcast(self, raw: bytes) -> tuple[BroadcastAnswer, str]:
        """Give the node signed bytes; returns its answer and its words.

        Where it raises, the node may have the bytes all the same.
        """

    def locate(self, kind: ActionKind, task_id: str) -> ChainReceipt | None:
        """Find the event of an action that was mined without our knowing its transaction."""
