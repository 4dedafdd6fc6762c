"""Legacy transactions, signed for one chain (05, section 4.4; EIP-155)."""

from __future__ import annotations

from dataclasses import dataclass

import rlp

from iexworker.poco.hashing import hex_text, keccak
from iexworker.wallet import Wallet


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction before its signature; no value is ever sent."""

    nonce: int
    gas_price_wei: int
    gas_limit: int
    to: str
    data: bytes
    chain_id: int

    def signed(self, wallet: Wallet) -> bytes:
        """Return the bytes to broadcast."""
        fields = [
            self.nonce,
            self.gas_price_wei,
            self.gas_limit,
            bytes.fromhex(self.to.removeprefix("0x")),
            0,
            self.data,
        ]
        digest = keccak(rlp.encode([*fields, self.chain_id, 0, 0]))
        signature = bytes.fromhex(wallet.sign_digest(digest)[2:])
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:64]))
        v = signature[64] - 27 + 35 + 2 * self.chain_id
        encoded: bytes = rlp.encode([*fields, v, r, s])
        return encoded


def gas_limit_of(raw: bytes) -> int:
    """Return the gas limit of signed bytes."""
    fields: list[bytes] = rlp.decode(raw)
    return int.from_bytes(fields[2], "big")


def hash_of(raw: bytes) -> str:
    """Return the hash by which nodes know the signed bytes."""
    return hex_text(keccak(raw))
