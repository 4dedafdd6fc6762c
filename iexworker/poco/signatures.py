"""Who signed: the address of a public key, and of a signature."""

from __future__ import annotations

from coincurve import PublicKey

from iexworker.poco.hashing import hex_text, keccak, lenient_bytes, message_digest


def address_of(public_key: PublicKey) -> str:
    """Return the lower-case address of a public key."""
    return hex_text(keccak(public_key.format(compressed=False)[1:])[12:])


def recover(digest: bytes, signature: str) -> str | None:
    """Return the address whose key signed the digest, None when no key can have.

    Only v 27 and 28 are taken, as the contract does: a signature that it refuses is of no use.
    """
    data = lenient_bytes(signature)
    if len(data) != 65 or data[64] not in (27, 28):
        return None
    plain = data[:64] + bytes([data[64] - 27])
    try:
        return address_of(PublicKey.from_signature_and_message(plain, digest, hasher=None))
    except Exception:  # noqa: BLE001 - coincurve raises a bare Exception for r or s out of range
        return None


def recover_message_hash(message_hash: bytes, signature: str) -> str | None:
    """Return the signer of an Ethereum signed message over a 32-byte hash, or None."""
    return recover(message_digest(message_hash), signature)
