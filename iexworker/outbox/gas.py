"""What a transaction may cost, and whether the wallet can pay it, pure (05, 4.2, 4.3, 5.3)."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

CONTRIBUTE_GAS = 500_000
REVEAL_GAS = 100_000

EMPTY_TRANSFER_GAS = 100_000
"""An empty transfer uses 21,000; rollups add what its data costs on the chain below."""
MOST_GAS = 30_000_000
"""More than a block takes: what a broken node may estimate is cut to it."""

_ESTIMATE_MARGIN = Fraction(5, 4)
_AFTER_TOO_LITTLE = Fraction(3, 2)
_GAS_PER_TRANSACTION = 1_000_000
_FUNDS_MARGIN = Fraction(5, 4)

DEFAULT_CAP_WEI = 22_000_000_000
UPSTREAM_FLOOR_WEI = _GAS_PER_TRANSACTION * DEFAULT_CAP_WEI
"""What a wallet has to hold for a scheduler with the default cap to grant it anything."""

_FEW_TRANSACTIONS = 10
_LARGEST_WEI = 2**100  # what a broken node may say has no single-precision form
# Nodes ask for a tenth (geth, Nethermind) or an eighth (OpenEthereum) more for the same nonce.
_REPLACEMENT = Fraction(9, 8)


@dataclass(frozen=True, slots=True)
class PriceRule:
    """What the operator is willing to pay: `IEXEC_GAS_PRICE_MULTIPLIER` and `_CAP`."""

    multiplier: float
    cap_wei: int
    reveal_may_pass_cap: bool = False
    """Whether a reveal, whose stake is lost without it, may cost more, up to the base fee."""

    def price_wei(self, network_wei: int | None, base_fee_wei: int | None = None) -> int:
        """Return the price for a network price; None or 0, one that is not known, gives the cap.

        The product is taken in single precision, as upstream does, then cut to an integer. Where
        blocks have a base fee, twice that at least: only the fee itself is charged, and it moves.
        """
        if network_wei is None or network_wei <= 0:
            return self.cap_wei
        network = _single(min(network_wei, _LARGEST_WEI))
        price_wei = int(_single(network * _single(self.multiplier)))
        return min(max(price_wei, 2 * (base_fee_wei or 0)), self.cap_wei)

    def replacement_wei(self, old_wei: int, network_wei: int | None) -> int | None:
        """Return a price at which nodes let a transaction take another's nonce.

        None when the cap forbids it.
        """
        least_wei = max(-(-old_wei * _REPLACEMENT // 1), old_wei + 1)
        if least_wei > self.cap_wei:
            return None
        fair_wei = max(self.price_wei(network_wei), min(network_wei or 0, self.cap_wei))
        return int(max(least_wei, fair_wei))


@dataclass(frozen=True, slots=True)
class GasReserve:
    """How many transactions the wallet can pay; `transactions` is None where nobody counts."""

    enough: bool
    level: str
    """`sidechain`, `unlimited`, `unknown`, `empty`, `low` or `fine`."""
    transactions: int | None = None


def reserve(balance_wei: int | None, cap_wei: int, *, sidechain: bool) -> GasReserve:
    """Judge the wallet's balance; None is a balance that could not be read (5.3)."""
    if sidechain:
        return GasReserve(True, "sidechain")
    if balance_wei is None:
        return GasReserve(False, "unknown")
    if cap_wei == 0:
        return GasReserve(True, "unlimited")
    count = balance_wei // (_GAS_PER_TRANSACTION * cap_wei)
    if count < 1:
        return GasReserve(False, "empty", count)
    return GasReserve(True, "low" if count < _FEW_TRANSACTIONS else "fine", count)


@dataclass(frozen=True, slots=True)
class GasFunds:
    """What a wallet has for gas, and what it is about to spend (docs/spec/11, 1.2)."""

    rule: PriceRule
    balance_wei: int
    price_wei: int
    base_fee_wei: int | None
    gas: int
    """Of what is under way, and of one more contribution and its reveal."""

    @property
    def wanted_wei(self) -> int:
        """What the wallet should hold: all of it at the price, and a quarter more."""
        return math.ceil(self.gas * self.price_wei * _FUNDS_MARGIN)

    @property
    def enough(self) -> bool:
        """Whether it can pay for that."""
        return self.balance_wei >= self.wanted_wei


def funds(
    rule: PriceRule,
    balance_wei: int,
    network_wei: int | None,
    base_fee_wei: int | None,
    owed_gas: int = 0,
) -> GasFunds:
    """Judge the balance on a chain with fees, at the price of now."""
    price_wei = rule.price_wei(network_wei, base_fee_wei)
    gas = CONTRIBUTE_GAS + REVEAL_GAS + owed_gas
    return GasFunds(rule, balance_wei, price_wei, base_fee_wei, gas)


def limit(constant: int, estimate: int | None, too_little: Iterable[int] = ()) -> int:
    """Return the gas limit to sign with (docs/spec/11, 1.4).

    The larger of upstream's constant and the estimate with a quarter more; and half more than
    every limit that was `too_little`.
    """
    least = [constant, *(math.ceil(limit * _AFTER_TOO_LITTLE) for limit in too_little)]
    if estimate is not None:
        least.append(math.ceil(estimate * _ESTIMATE_MARGIN))
    return min(max(least), MOST_GAS)


def ran_out(success: bool, gas_used: int, gas_limit: int) -> bool:
    """Tell whether a mined transaction failed for its gas, not by its contract."""
    return not success and gas_used * 100 >= gas_limit * 95


def finalize_gas(profile: str, estimate: int, callback_gas: int) -> int:
    """Return the gas limit of contributeAndFinalize (4.2)."""
    return 3_000_000 if profile == "8" else estimate + callback_gas


def _single(value: float) -> float:
    """Round to the nearest single-precision number."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded
