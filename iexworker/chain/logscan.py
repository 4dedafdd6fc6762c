"""Events over many blocks, from nodes that answer only for a limited range."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from iexworker.chain.rpc import RpcError
from iexworker.poco.models import Log

FIRST_WINDOW = 10_000
"""Blocks asked for at once; narrowed where the node refuses."""

_NARROWEST = 100

Read = Callable[[Sequence[str | None], int, int], list[Log]]


def scan(read: Read, topics: Sequence[str | None], first: int, last: int) -> Iterator[list[Log]]:
    """Yield the events of `first`..`last`, window after window, the newest window first.

    Raises what `read` raises, and an `RpcError` when even a narrow range is refused.
    """
    window = FIRST_WINDOW
    while last >= first:
        start = max(first, last - window + 1)
        try:
            found = read(topics, start, last)
        except RpcError:
            if window <= _NARROWEST:
                raise
            window //= 10
            continue
        yield found
        last = start - 1
