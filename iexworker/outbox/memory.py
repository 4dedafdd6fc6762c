"""What an outbox has seen since when, by a monotonic clock; a new process learns it again."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from iexworker.outbox.actions import FREE, ActionKey, Transaction
from iexworker.outbox.evidence import BroadcastAnswer, Evidence
from iexworker.poco.models import Head, Nonces

LOOK_TWICE_S = 5.0
"""Between the two looks after which an effect is believed where there is no pool."""
LONGEST_LOOK_S = 60.0
"""Between two looks at a reveal whose task takes long to end."""
FORGET_NEWEST_S = 30.0
"""After so long without a block as new as the newest, a reorganisation has taken that back."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class Memory:
    """Instants of what was seen, and the node's last answer to each broadcast."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tried_at: dict[str, float] = {}
        self._refused_at: dict[ActionKey, float] = {}
        self._spent_at: dict[int, float] = {}
        self._ownerless_at: dict[str, float] = {}
        self._mined_at: dict[str, tuple[float, float]] = {}
        """By hash: the first and the last look that found a receipt."""
        self._newest_block = (-1, -math.inf)
        self.underpriced: set[str] = set()
        self.refused_for_gas: set[str] = set()
        self.unheld: dict[str, BroadcastAnswer] = {}

    def forget_all_but(self, hashes: Collection[str]) -> None:
        """Forget the transactions that nobody asks about any more."""
        self._tried_at = _only(self._tried_at, hashes)
        self._mined_at = _only(self._mined_at, hashes)
        self.unheld = _only(self.unheld, hashes)
        self.underpriced.intersection_update(hashes)
        self.refused_for_gas.intersection_update(hashes)

    # What is seen.

    def sending(self, tx_hash: str) -> None:
        """Take note that a transaction is on its way: a node may hold it until it is refused."""
        self.unheld.pop(tx_hash, None)

    def tried(self, tx_hash: str) -> None:
        """Take note that a node was given a transaction."""
        self._tried_at[tx_hash] = self._clock()

    def answered(self, tx_hash: str, answer: BroadcastAnswer, *, has_pool: bool) -> None:
        """Take note of what a node said to a transaction."""
        self.tried(tx_hash)
        if answer is BroadcastAnswer.TAKEN:
            self.underpriced.discard(tx_hash)
            return
        if answer is BroadcastAnswer.UNDERPRICED:
            self.underpriced.add(tx_hash)
        if answer is BroadcastAnswer.SHORT_OF_GAS:
            self.refused_for_gas.add(tx_hash)
        if not has_pool and answer is not BroadcastAnswer.NONCE_SPENT:
            self.unheld[tx_hash] = answer

    def newest_block(self, head: Head) -> int:
        """Return the newest block that any node has shown lately, this head's included."""
        newest, seen_at = self._newest_block
        if head.number >= newest or self._clock() - seen_at > FORGET_NEWEST_S:
            newest = head.number
            self._newest_block = (newest, self._clock())
        return newest

    def look(
        self,
        evidence: Evidence,
        nonces: Nonces,
        watched: Collection[Transaction],
        wanted: Collection[ActionKey],
    ) -> None:
        """Take note of what one look has shown; what it does not show is no longer so."""
        now = self._clock()
        mined = {item.nonce for item in watched if item.tx_hash in evidence.receipts}
        spent = (item.nonce for item in watched if item.nonce < nonces.latest)
        ownerless = (item.tx_hash for item in watched if item.owner not in wanted)
        self._refused_at = _kept(self._refused_at, evidence.refusals, now)
        self._spent_at = _kept(self._spent_at, (one for one in spent if one not in mined), now)
        self._ownerless_at = _kept(self._ownerless_at, ownerless, now)
        self._mined_at = {
            tx_hash: (self._mined_at.get(tx_hash, (now, now))[0], now)
            for tx_hash in evidence.receipts
        }

    # What follows.

    def signable_anew(self, transaction: Transaction) -> bool:
        """Tell whether a transaction does not stand in the way of a new one for its action."""
        tx_hash = transaction.tx_hash
        return (
            transaction.state not in FREE
            or tx_hash in self.refused_for_gas
            or tx_hash in self.unheld
        )

    def seen_twice(self, tx_hash: str) -> bool:
        """Tell whether two looks found it mined, with a pause between that tells something."""
        first, last = self._mined_at.get(tx_hash, (0.0, 0.0))
        return last - first >= LOOK_TWICE_S

    @property
    def look_every_s(self) -> float:
        """The pause between two looks at what is mined where there is no pool; it grows."""
        newest = max((first for first, _ in self._mined_at.values()), default=-math.inf)
        return min(max((self._clock() - newest) / 2, LOOK_TWICE_S), LONGEST_LOOK_S)

    @property
    def refused_s(self) -> dict[ActionKey, float]:
        """For how long the contract has refused an action."""
        return self._ages(self._refused_at)

    @property
    def spent_s(self) -> dict[int, float]:
        """For how long a nonce has been seen spent without a receipt of ours."""
        return self._ages(self._spent_at)

    @property
    def tried_s(self) -> dict[str, float]:
        """How long ago a node was given a transaction."""
        return self._ages(self._tried_at)

    @property
    def ownerless_s(self) -> dict[str, float]:
        """For how long nobody has wanted a transaction any more."""
        return self._ages(self._ownerless_at)

    @property
    def mined_s(self) -> dict[str, float]:
        """For how long a receipt has been seen."""
        return self._ages({tx_hash: first for tx_hash, (first, _) in self._mined_at.items()})

    def _ages(self, instants: Mapping[_K, float]) -> dict[_K, float]:
        now = self._clock()
        return {key: now - at for key, at in instants.items()}


def _only(known: Mapping[_K, _V], kept: Collection[_K]) -> dict[_K, _V]:
    return {key: value for key, value in known.items() if key in kept}


def _kept(instants: Mapping[_K, float], seen: Iterable[_K], now: float) -> dict[_K, float]:
    """Return since when each thing is seen that is seen now."""
    return {key: instants.get(key, now) for key in seen}
