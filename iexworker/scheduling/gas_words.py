"""What an operator is told of gas: the cap, the money, the scheduler that grants nothing; pure."""

from __future__ import annotations

from iexworker.outbox.gas import (
    DEFAULT_CAP_WEI,
    UPSTREAM_FLOOR_WEI,
    GasFunds,
    PriceRule,
    reserve,
)
from iexworker.shared.money import ether, gwei

CAP = "IEXEC_GAS_PRICE_CAP"


def cap_trouble(rule: PriceRule, base_fee_wei: int | None) -> str:
    """Say why a chain with fees mines nothing at this cap, empty where it does."""
    if rule.cap_wei == 0:
        fee = "" if base_fee_wei is None else f" (now {gwei(base_fee_wei)} for a unit of gas)"
        return (
            f"{CAP}=0 is for chains where transactions are free, and this one has fees{fee}: set "
            f"it to the most that a unit of gas may cost in wei, for example {DEFAULT_CAP_WEI}"
        )
    if base_fee_wei is not None and rule.cap_wei < base_fee_wei:
        return (
            f"{CAP} of {gwei(rule.cap_wei)} is below the chain's base fee of "
            f"{gwei(base_fee_wei)}: every transaction is refused; raise it, or wait for the fee "
            "to fall"
        )
    return ""


def wanted(funds: GasFunds) -> str:
    """Say what the wallet has to hold, for what, and which setting says so."""
    return (
        f"{ether(funds.wanted_wei)} wanted: {funds.gas} gas for what is under way and for one more "
        f"contribution and its reveal, at {gwei(funds.price_wei)} ({_price_source(funds)}), and a "
        "quarter more"
    )


def money_trouble(funds: GasFunds, wallet: str) -> str:
    """Say why the wallet cannot pay for what it is about to send, empty where it can."""
    if funds.enough:
        return ""
    return (
        f"wallet {wallet} has {ether(funds.balance_wei)} for gas, {wanted(funds)}: send it gas "
        "money"
    )


def too_poor_for_others(funds: GasFunds) -> bool:
    """Tell whether a scheduler with the default cap, by upstream's rule, grants it nothing."""
    return not reserve(funds.balance_wei, DEFAULT_CAP_WEI, sidechain=False).enough


def note(funds: GasFunds) -> str:
    """Warn of a balance that others find too low, empty where nobody does."""
    if not too_poor_for_others(funds):
        return ""
    return f"a scheduler with the default cap refuses this wallet {_floor()}"


def no_grants(funds: GasFunds, since_s: float) -> str:
    """Explain that nothing is granted to a wallet that a scheduler finds too poor."""
    return (
        f"nothing was granted for {since_s / 60:.0f} minutes and the wallet has "
        f"{ether(funds.balance_wei)}: a scheduler with the default cap refuses it without a word "
        f"{_floor()}; send it more if the pool has tasks"
    )


def _floor() -> str:
    return f"below {ether(UPSTREAM_FLOOR_WEI)} (1,000,000 x {gwei(DEFAULT_CAP_WEI)})"


def _price_source(funds: GasFunds) -> str:
    if funds.price_wei == funds.rule.cap_wei:
        return CAP
    if funds.base_fee_wei is not None and funds.price_wei == 2 * funds.base_fee_wei:
        return "twice the base fee"
    return "the network's price times IEXEC_GAS_PRICE_MULTIPLIER"
