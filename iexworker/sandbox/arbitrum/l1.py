"""Signed transactions, and the gas that their data on L1 costs (docs/spec/11, 1.4).

The public network compresses with brotli. zlib, which is always here, comes near: most of a
transaction is hashes and signatures, which nothing makes shorter.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

from iexworker.poco.hashing import keccak
from iexworker.sandbox.arbitrum.upstream import RpcError

GAS_PER_BYTE = 16
PRICE_PADDING = 1.1
BASE_FEE_PADDING = 8 / 7
"""An estimate takes L1 for dearer, and the base fee for lower: `GasEstimationL1PricePadding`."""
ENVELOPE_BYTES = 110
"""What a transaction has besides its data: numbers, addresses, the signature."""
TRANSACTION_GAS = 21_000
CREATION_GAS = 32_000
ZERO_BYTE_GAS, BYTE_GAS = 4, 16

_BLOB, _ACCESS_LIST, _DYNAMIC_FEE = 3, 1, 2


@dataclass(frozen=True, slots=True)
class Signed:
    """What a raw transaction says."""

    raw: bytes
    tx_hash: str
    sender: str
    nonce: int
    gas: int
    max_price_wei: int
    to: str | None
    value_wei: int
    data: bytes

    @classmethod
    def decode(cls, text: str) -> Signed:
        """Read the hex of a raw transaction; RpcError for what is none."""
        import rlp
        from eth_account import Account

        try:
            raw = bytes.fromhex(text.removeprefix("0x"))
            kind = raw[0] if raw[0] in (_ACCESS_LIST, _DYNAMIC_FEE, _BLOB) else 0
            fields = rlp.decode(raw[1:] if kind else raw)
            if kind == _BLOB:
                raise RpcError("transaction type not supported")
            # Typed ones begin with the chain's id, type 2 with a tip before the price as well.
            nonce, *rest = fields[1:] if kind else fields
            price, gas, to, value, data = rest[1:6] if kind == _DYNAMIC_FEE else rest[:5]
            return cls(
                raw=raw,
                tx_hash="0x" + keccak(raw).hex(),
                sender=str(Account.recover_transaction(raw)).lower(),
                nonce=int.from_bytes(nonce, "big"),
                gas=int.from_bytes(gas, "big"),
                max_price_wei=int.from_bytes(price, "big"),
                to="0x" + to.hex() if to else None,
                value_wei=int.from_bytes(value, "big"),
                data=bytes(data),
            )
        except RpcError:
            raise
        except Exception as error:  # whatever three libraries say of bytes that are no transaction
            raise RpcError(f"rlp: {error}") from error

    def call(self) -> dict[str, str]:
        """Give the transaction as a call, without its gas."""
        call = {"from": self.sender, "data": "0x" + self.data.hex(), "value": hex(self.value_wei)}
        return call | ({"to": self.to} if self.to else {})


def intrinsic_gas(data: bytes, *, creates: bool) -> int:
    """Give what a transaction costs before anything runs, without L1."""
    zeros = data.count(0)
    calldata = zeros * ZERO_BYTE_GAS + (len(data) - zeros) * BYTE_GAS
    return TRANSACTION_GAS + calldata + (CREATION_GAS if creates else 0)


def poster_gas(raw: bytes, l1_price: float) -> int:
    """Give the gas that a signed transaction pays for its data on L1."""
    return math.ceil(l1_price * GAS_PER_BYTE * len(zlib.compress(raw, 9)))


def call_poster_gas(data: bytes, l1_price: float) -> int:
    """Give the same of a call that is not signed."""
    return math.ceil(l1_price * GAS_PER_BYTE * (len(zlib.compress(data, 9)) + ENVELOPE_BYTES))


def padded(gas: int) -> int:
    """Give what an estimate takes for this poster gas."""
    return math.ceil(gas * PRICE_PADDING * BASE_FEE_PADDING)
