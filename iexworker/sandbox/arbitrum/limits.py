"""The limits of RPC providers, in their words (docs/spec/11, 1.7), and the count of calls."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque

from iexworker.sandbox.arbitrum.switches import LogAnswer, RateAnswer, Switches
from iexworker.sandbox.arbitrum.upstream import RpcError

WINDOW_S = 1.0
INVALID_PARAMETERS = -32602
LIMIT_EXCEEDED = -32005
RATE_EXCEEDED = -32029
QUICKNODE = -32614


class RateLimited(Exception):
    """Too many calls: the answer to the whole request."""

    def __init__(self, answer: RateAnswer, retry_after_s: int) -> None:
        super().__init__(answer.value)
        self.answer = answer
        self.retry_after_s = retry_after_s

    @property
    def error(self) -> dict[str, object]:
        """The error object where the status is 200."""
        other = self.answer is RateAnswer.OBJECT_29
        code = RATE_EXCEEDED if other else LIMIT_EXCEEDED
        return {"code": code, "message": "Rate limit exceeded"}


class Meter:
    """Counts calls by method, those of a batch singly, and refuses what is too much."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._taken: deque[float] = deque()
        self._refused = 0

    def take(self, methods: list[str]) -> None:
        """Count the calls of one request; RateLimited when they are too many."""
        now = time.monotonic()
        with self._lock:
            self._counts.update(methods)
            limit = self._switches.rate_limit
            if not limit:
                return
            while self._taken and self._taken[0] <= now - WINDOW_S:
                self._taken.popleft()
            if len(self._taken) + len(methods) > limit:
                self._refused += 1
                raise RateLimited(self._switches.rate_answer, self._switches.retry_after_s)
            self._taken.extend([now] * len(methods))

    def counts(self) -> dict[str, int]:
        """Give the calls since the last reset, by method."""
        with self._lock:
            return dict(self._counts)

    @property
    def refused(self) -> int:
        """Requests refused for the rate since the last reset."""
        return self._refused

    def reset(self) -> None:
        """Count from 0."""
        with self._lock:
            self._counts.clear()
            self._refused = 0


def check_range(switches: Switches, blocks: int) -> None:
    """Refuse a range of logs that is too wide."""
    limit = switches.log_range
    if not limit or blocks <= limit:
        return
    raise {
        LogAnswer.INFURA: RpcError(f"range {blocks} exceeds limit of {limit}", INVALID_PARAMETERS),
        LogAnswer.QUICKNODE: RpcError(
            f"eth_getLogs is limited to a {limit:,} range", QUICKNODE, status=413
        ),
        LogAnswer.FREE: RpcError(
            f"you can make eth_getLogs requests with up to a {limit} block range",
            INVALID_PARAMETERS,
            status=400,
        ),
        LogAnswer.GETH: RpcError(f"exceed maximum block range {limit}", INVALID_PARAMETERS),
    }[switches.log_answer]


def check_results(switches: Switches, found: int) -> None:
    """Refuse an answer of too many logs."""
    if switches.log_results and found > switches.log_results:
        raise RpcError(f"query returned more than {switches.log_results} results", LIMIT_EXCEEDED)
