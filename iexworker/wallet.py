"""The worker's key: a keystore file opened once, and what is signed with it (docs/spec/05, 6.4, 7).

web3 and eth_account stay out: they cost 0.4 s, and a worker logs in before it needs them.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from coincurve import PrivateKey
from Crypto.Cipher import AES

from iexworker import keystore as keystores
from iexworker import secrets
from iexworker.errors import WalletError
from iexworker.keystore import WHERE, Keystore, Scrypt
from iexworker.poco.hashing import hex_text, keccak, message_digest
from iexworker.poco.signatures import address_of

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of the curve secp256k1 (SEC 2, 2.4.1)."""
_MOST_MEMORY_BYTES = 2**31 - 1
"""What OpenSSL may be told to take."""


class Wallet:
    """A private key and its address, which is lower case everywhere in the protocol."""

    __slots__ = ("_key", "address")

    def __init__(self, private_key: bytes) -> None:
        self._key = PrivateKey(private_key)
        self.address = address_of(self._key.public_key)

    def __repr__(self) -> str:
        return f"Wallet({self.address})"

    @property
    def private_key(self) -> bytes:
        """The 32 secret bytes, for the signer of transactions only."""
        return bytes(self._key.secret)

    def sign_digest(self, digest: bytes) -> str:
        """Sign 32 bytes as they are: 0x, r, s, v (27 or 28); RFC 6979, low s."""
        signature: bytes = self._key.sign_recoverable(digest, hasher=None)
        return hex_text(signature[:64] + bytes([27 + signature[64]]))

    def sign_message_hash(self, message_hash: bytes) -> str:
        """Sign a 32-byte hash as an Ethereum signed message (EIP-191)."""
        return self.sign_digest(message_digest(message_hash))


def load(path: Path, password: str) -> Wallet:
    """Open a keystore file; raises WalletError, one line with the file and what to do."""
    keystore = keystores.read(path)
    try:
        return _open(keystore, password)
    except WalletError as error:
        raise WalletError(f"wallet {path}: {error}") from None


def open_keystore(content: bytes, password: str) -> Wallet:
    """Decrypt the bytes of a version 3 keystore; raises WalletError (7)."""
    return _open(keystores.parse(content), password)


def _open(keystore: Keystore, password: str) -> Wallet:
    try:
        # surrogateescape: a password of the environment that is no UTF-8 keeps its bytes.
        derived = _derive(keystore, password.encode(errors="surrogateescape"))
        cipher = AES.new(derived[:16], AES.MODE_CTR, nonce=b"", initial_value=keystore.iv)
    except (ValueError, OverflowError) as error:
        # The password is in none of these texts.
        raise WalletError(f"its crypto section cannot be used: {error}; {WHERE}") from None
    except MemoryError:
        raise WalletError("needs more memory to open than there is") from None
    if not hmac.compare_digest(keccak(derived[16:], keystore.ciphertext), keystore.mac):
        odd = secrets.oddity(password)
        raise WalletError(
            "does not open with this password; "
            "set IEXEC_WORKER_WALLET_PASSWORD, or its twin ending in _FILE, to the right one"
            + (f" ({odd})" if odd else "")
        )
    wallet = Wallet(_private_key(cipher.decrypt(keystore.ciphertext)))
    if keystore.declared not in (None, wallet.address):
        raise WalletError(
            f"holds the key of {wallet.address} and declares itself to be {keystore.declared}: "
            "one of them is wrong, restore the file from a copy; if the key is the right one, "
            'take "address" out of the file'
        )
    return wallet


def _derive(keystore: Keystore, password: bytes) -> bytes:
    """Return the 32 bytes that decrypt and authenticate."""
    how = keystore.derivation
    if not isinstance(how, Scrypt):
        return hashlib.pbkdf2_hmac("sha256", password, how.salt, how.iterations, 32)
    # OpenSSL allows 32 MiB unless told otherwise; this is what scrypt needs (RFC 7914), with room.
    room = 128 * how.r * (how.n + how.p + 4)
    if not 0 < room <= _MOST_MEMORY_BYTES:
        raise ValueError(f"scrypt with n={how.n}, r={how.r}, p={how.p} cannot be computed here")
    return hashlib.scrypt(password, salt=how.salt, n=how.n, r=how.r, p=how.p, dklen=32, maxmem=room)


def _private_key(decrypted: bytes) -> bytes:
    """Return the 32 bytes of the key: the whole text is one number, as in web3j, of any length.

    Some libraries write a zero in front, others drop leading zeros. libsecp256k1 would take the
    first 32 bytes of a longer text for the key, which is another one.
    """
    number = int.from_bytes(decrypted, "big") % _ORDER
    if number == 0:
        raise WalletError(f"holds no valid private key; {WHERE}")
    return number.to_bytes(32, "big")
