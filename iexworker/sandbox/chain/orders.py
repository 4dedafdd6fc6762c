"""Orders of the marketplace: EIP-712 texts that four owners sign (docs/spec/10, Orders)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

NAME = "iExecODB"
VERSION = "5.0.0"  # on the v6 contracts too
DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"

# The fields' order counts; the signature is not one of them.
_FIELDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "AppOrder": (
        ("app", "address"),
        ("appprice", "uint256"),
        ("volume", "uint256"),
        ("tag", "bytes32"),
        ("datasetrestrict", "address"),
        ("workerpoolrestrict", "address"),
        ("requesterrestrict", "address"),
        ("salt", "bytes32"),
    ),
    "DatasetOrder": (
        ("dataset", "address"),
        ("datasetprice", "uint256"),
        ("volume", "uint256"),
        ("tag", "bytes32"),
        ("apprestrict", "address"),
        ("workerpoolrestrict", "address"),
        ("requesterrestrict", "address"),
        ("salt", "bytes32"),
    ),
    "WorkerpoolOrder": (
        ("workerpool", "address"),
        ("workerpoolprice", "uint256"),
        ("volume", "uint256"),
        ("tag", "bytes32"),
        ("category", "uint256"),
        ("trust", "uint256"),
        ("apprestrict", "address"),
        ("datasetrestrict", "address"),
        ("requesterrestrict", "address"),
        ("salt", "bytes32"),
    ),
    "RequestOrder": (
        ("app", "address"),
        ("appmaxprice", "uint256"),
        ("dataset", "address"),
        ("datasetmaxprice", "uint256"),
        ("workerpool", "address"),
        ("workerpoolmaxprice", "uint256"),
        ("requester", "address"),
        ("volume", "uint256"),
        ("tag", "bytes32"),
        ("category", "uint256"),
        ("trust", "uint256"),
        ("beneficiary", "address"),
        ("callback", "address"),
        ("params", "string"),
        ("salt", "bytes32"),
    ),
}
_NOTHING: Mapping[str, Any] = {
    "address": "0x" + "00" * 20,
    "bytes32": bytes(32),
    "string": "",
    "uint256": 0,
}


@dataclass(frozen=True, slots=True)
class Order:
    """One order: its kind and the values of all its fields."""

    kind: str
    values: Mapping[str, Any]

    @classmethod
    def make(cls, kind: str, **values: object) -> Order:
        """Fill what is not given: no restriction, nothing to pay, a salt of its own."""
        fields = _FIELDS[kind]
        if unknown := values.keys() - {name for name, _ in fields}:
            raise TypeError(f"{kind} has no {', '.join(sorted(unknown))}")
        # A salt that was used before would find its volume consumed.
        filled = {name: _NOTHING[type_] for name, type_ in fields}
        return cls(kind, filled | {"salt": secrets.token_bytes(32)} | values)

    def sign(self, owner: LocalAccount, chain_id: int, hub: str) -> SignedOrder:
        """Sign for the hub of one chain."""
        domain = {
            "name": NAME,
            "version": VERSION,
            "chainId": chain_id,
            "verifyingContract": hub,
        }
        types = {self.kind: [{"name": n, "type": t} for n, t in _FIELDS[self.kind]]}
        message = encode_typed_data(domain, types, dict(self.values))
        digest = keccak(b"\x19" + message.version + message.header + message.body)
        return SignedOrder(self, digest, bytes(owner.sign_message(message).signature))


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order with its EIP-712 hash and its owner's signature."""

    order: Order
    digest: bytes
    signature: bytes

    def as_struct(self) -> tuple[Any, ...]:
        """Give what the contract takes: the fields in their order, then the signature."""
        return (*(self.order.values[name] for name, _ in _FIELDS[self.order.kind]), self.signature)


def domain_separator(chain_id: int, hub: str) -> bytes:
    """Compute what `eip712domain_separator()` of the hub must answer."""
    texts = [keccak(text=DOMAIN_TYPE), keccak(text=NAME), keccak(text=VERSION)]
    types = ["bytes32", "bytes32", "bytes32", "uint256", "address"]
    return keccak(encode(types, [*texts, chain_id, hub]))
