from __future__ import annotations

import pytest

from iexworker.shared import money


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0 ether"),
        (10**16, "0.01 ether"),
        (22 * 10**15, "0.022 ether"),
        (123_456_789_012, "0.0000001235 ether"),
        (5 * 10**20, "500 ether"),
    ],
)
def test_ether_has_four_digits_that_count(wei: int, text: str) -> None:
    assert money.ether(wei) == text


def test_gwei_and_rlc_have_every_digit() -> None:
    assert money.gwei(22_000_000_000) == "22 gwei"
    assert money.gwei(20_000_001) == "0.020000001 gwei"
    assert money.rlc(1_500_000_000) == "1.5 RLC"
    assert money.rlc(0) == "0 RLC"
