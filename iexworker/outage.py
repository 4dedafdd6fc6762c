"""Peers that do not serve us: a line when it begins, one a minute, and one when it is over.

`of(CHAIN)` is the one `Outage` of that peer in this process, as loggers are. Whoever tries says
how a try ended, under a name of its own: only when none of those that failed fails any more is the
peer back, so that a task that cannot be served does not make the log tick.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

CHAIN = "chain node"
SCHEDULER = "scheduler"
DOCKER = "Docker engine"
RESULT_PROXY = "result proxy"
REGISTRY = "image registry"
INPUT_HOST = "input host"

AGAIN_S = 60.0
FORGOTTEN_S = 300.0
"""A failure that was not tried again for so long is no sign any more."""

log = logging.getLogger(__name__)


class Outage:
    """One peer, from any thread."""

    def __init__(self, peer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.peer = peer
        self._clock = clock
        self._lock = threading.Lock()
        self._failing: dict[str, float] = {}
        """Who failed, and when last."""
        self._error = ""
        self._tries = 0
        self._since_s: float | None = None
        self._said_s = 0.0

    def failed(self, who: str, error: object, **facts: object) -> None:
        """Take note that a try of `who` failed; `facts` go with the line that begins an outage."""
        with self._lock:
            now_s = self._clock()
            self._forget(now_s)
            if self._since_s is not None and not self._failing:
                self._since_s = None  # nobody has tried for so long that it is another outage
            self._failing[who] = now_s
            self._error = str(error)
            if self._since_s is None:
                self._since_s = self._said_s = now_s
                self._tries = 1
                extra = {"peer": self.peer, "error": self._error, **facts}
                log.warning("peer out of service", extra=extra)
                return
            self._tries += 1
            self._remind(now_s)

    def worked(self, who: str) -> None:
        """Take note that a try of `who` did not fail."""
        with self._lock:
            self._failing.pop(who, None)
            if self._since_s is None:
                return
            now_s = self._clock()
            self._forget(now_s)
            if not self._failing:
                extra = {
                    "peer": self.peer,
                    "tries": self._tries,
                    "seconds": round(now_s - self._since_s),
                }
                log.info("peer back in service", extra=extra)
                self._since_s = None

    def dropped(self, who: str) -> None:
        """Take note that `who` will not try again, which says nothing of the peer."""
        with self._lock:
            self._failing.pop(who, None)

    def remind(self) -> None:
        """Say that it lasts, when a minute has passed since the last line."""
        with self._lock:
            now_s = self._clock()
            self._forget(now_s)
            if self._since_s is not None and self._failing:
                self._remind(now_s)

    def _remind(self, now_s: float) -> None:
        if self._since_s is None or now_s - self._said_s < AGAIN_S:
            return
        self._said_s = now_s
        extra = {
            "peer": self.peer,
            "error": self._error,
            "tries": self._tries,
            "seconds": round(now_s - self._since_s),
        }
        log.warning("peer still out of service", extra=extra)

    def _forget(self, now_s: float) -> None:
        self._failing = {
            who: at_s for who, at_s in self._failing.items() if now_s - at_s <= FORGOTTEN_S
        }


@dataclass(slots=True)
class Trial:
    """What one piece of work tries until it is done or given up, with whichever peer it needs."""

    who: str
    _peers: set[str]

    def failed(self, peer: str, error: object, **facts: object) -> None:
        """Take note that a try failed for this peer."""
        self._peers.add(peer)
        of(peer).failed(self.who, error, **facts)


@contextlib.contextmanager
def trial() -> Iterator[Trial]:
    """Give what to tell of tries; that the block ends without an error tells that they worked."""
    peers: set[str] = set()
    made = Trial(f"trial {next(_numbers)}", peers)
    try:
        yield made
    except BaseException:
        for peer in peers:
            of(peer).dropped(made.who)
        raise
    for peer in peers:
        of(peer).worked(made.who)


def of(peer: str) -> Outage:
    """Return the outage of a peer in this process."""
    with _lock:
        return _outages.setdefault(peer, Outage(peer))


def remind() -> None:
    """Say of every peer that is out of service that it still is, when a minute has passed."""
    for outage in list(_outages.values()):
        outage.remind()


def forget() -> None:
    """Begin anew, as a process that is born; for tests."""
    with _lock:
        _outages.clear()


_lock = threading.Lock()
_outages: dict[str, Outage] = {}
_numbers = iter(range(1 << 62))
