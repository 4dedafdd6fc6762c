"""Amounts as people read them: ether and gwei of wei, RLC of nRLC."""

from __future__ import annotations

from decimal import Decimal

WEI_PER_ETHER = 10**18
NRLC_PER_RLC = 10**9

_DIGITS = 4


def ether(wei: int) -> str:
    """Return wei in ether, rounded to four digits that count."""
    return f"{_decimal(wei, 18)} ether"


def gwei(wei: int) -> str:
    """Return wei in gwei, every digit of it: two prices are told apart by it."""
    return f"{_plain(Decimal(wei).scaleb(-9))} gwei"


def rlc(nrlc: int) -> str:
    """Return nRLC in RLC, every digit of it."""
    return f"{_plain(Decimal(nrlc).scaleb(-9))} RLC"


def _decimal(amount: int, places: int) -> str:
    return _plain(Decimal(f"{Decimal(amount):.{_DIGITS - 1}e}").scaleb(-places))


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
