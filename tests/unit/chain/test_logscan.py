from __future__ import annotations

from collections.abc import Sequence

import pytest

from iexworker.chain.logscan import FIRST_WINDOW, scan
from iexworker.chain.rpc import RpcError
from iexworker.poco.models import Log


def test_windows_cover_the_range_once_newest_first() -> None:
    asked: list[tuple[int, int]] = []

    def read(topics: Sequence[str | None], first: int, last: int) -> list[Log]:
        asked.append((first, last))
        return []

    list(scan(read, [], 5, 25_000))

    assert asked[0] == (25_000 - FIRST_WINDOW + 1, 25_000)
    covered = [block for first, last in reversed(asked) for block in range(first, last + 1)]
    assert covered == list(range(5, 25_001))


def test_an_empty_range_asks_nothing() -> None:
    assert list(scan(lambda *asked: pytest.fail("asked"), [], 5, 4)) == []


def test_a_node_that_refuses_wide_ranges_is_asked_for_narrow_ones() -> None:
    asked: list[int] = []

    def read(topics: Sequence[str | None], first: int, last: int) -> list[Log]:
        asked.append(last - first + 1)
        if last - first >= 1_000:
            raise RpcError("eth_getLogs", -32000, "range too wide")
        return []

    list(scan(read, [], 0, 1_999))

    assert asked == [2_000, 1_000, 1_000]


def test_a_node_that_refuses_everything_is_an_error() -> None:
    def read(topics: Sequence[str | None], first: int, last: int) -> list[Log]:
        raise RpcError("eth_getLogs", -32000, "no")

    with pytest.raises(RpcError):
        list(scan(read, [], 0, 50_000))
