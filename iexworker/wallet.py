"""The worker's key: a keystore file opened once, and what is signed with it (docs/spec/05, 6.4, 7).

web3 and eth_account stay out: they cost 0.4 s, and a worker logs in before it needs them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coincurve import PrivateKey
from Crypto.Cipher import AES

from iexworker import secrets
from iexworker.errors import WalletError
from iexworker.poco.hashing import hex_text, keccak, message_digest
from iexworker.poco.signatures import address_of

_WHERE = "IEXEC_WORKER_WALLET_PATH must name an Ethereum keystore file (version 3)"


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
    try:
        return open_keystore(path.read_bytes(), password)
    except FileNotFoundError:
        raise WalletError(f"wallet {path}: there is no such file; {_WHERE}") from None
    except OSError as error:
        raise WalletError(
            f"wallet {path}: cannot be read ({error.strerror}); "
            "give the worker's user permission to read it"
        ) from None
    except WalletError as error:
        raise WalletError(f"wallet {path}: {error}") from None


def open_keystore(content: bytes, password: str) -> Wallet:
    """Decrypt the text of a version 3 keystore; raises WalletError (7)."""
    crypto = _crypto(content)
    try:
        # surrogateescape: a password of the environment that is no UTF-8 keeps its bytes.
        secret = password.encode(errors="surrogateescape")
        derived = _derive(crypto["kdf"], crypto["kdfparams"], secret)
        ciphertext = bytes.fromhex(crypto["ciphertext"])
        expected_mac = bytes.fromhex(crypto["mac"])
        cipher = AES.new(
            derived[:16],
            AES.MODE_CTR,
            nonce=b"",
            initial_value=bytes.fromhex(crypto["cipherparams"]["iv"]),
        )
    except (KeyError, TypeError, ValueError, MemoryError, OverflowError) as error:
        # The text of a KeyError is the name of the missing field; the password is in none of them.
        raise WalletError(
            f"its crypto section cannot be used ({type(error).__name__}: {error}); {_WHERE}"
        ) from None
    if not hmac.compare_digest(keccak(derived[16:32], ciphertext), expected_mac):
        odd = secrets.oddity(password)
        raise WalletError(
            "does not open with this password; "
            "set IEXEC_WORKER_WALLET_PASSWORD, or its twin ending in _FILE, to the right one"
            + (f" ({odd})" if odd else "")
        )
    try:
        return Wallet(cipher.decrypt(ciphertext))
    except ValueError:
        raise WalletError(f"holds no valid private key; {_WHERE}") from None


def _crypto(content: bytes) -> Mapping[str, Any]:
    try:
        keystore = json.loads(content)
    except ValueError:
        raise WalletError(f"is not JSON; {_WHERE}") from None
    if not isinstance(keystore, dict):
        raise WalletError(f"is not a JSON object; {_WHERE}")
    if keystore.get("version") != 3:
        raise WalletError(f"is of version {keystore.get('version')!r}; {_WHERE}")
    crypto = keystore.get("crypto", keystore.get("Crypto"))
    if not isinstance(crypto, dict):
        raise WalletError(f"has no crypto section; {_WHERE}")
    if crypto.get("cipher") != "aes-128-ctr":
        raise WalletError(f"has the cipher {crypto.get('cipher')!r}, only aes-128-ctr is supported")
    if crypto.get("kdf") not in ("scrypt", "pbkdf2"):
        raise WalletError(
            f"has the key derivation {crypto.get('kdf')!r}, only scrypt and pbkdf2 are supported"
        )
    return crypto


def _derive(kdf: str, parameters: Mapping[str, Any], password: bytes) -> bytes:
    salt, length = bytes.fromhex(parameters["salt"]), parameters["dklen"]
    if length < 32:
        raise ValueError(f"dklen {length}: expected at least 32")
    if kdf == "pbkdf2":
        if parameters["prf"] != "hmac-sha256":
            raise ValueError(f"prf {parameters['prf']!r}: expected 'hmac-sha256'")
        return hashlib.pbkdf2_hmac("sha256", password, salt, parameters["c"], length)
    n, r, p = parameters["n"], parameters["r"], parameters["p"]
    # OpenSSL allows 32 MiB unless told otherwise; this is what scrypt needs (RFC 7914), with room.
    room = 128 * r * (n + p + 4)
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, dklen=length, maxmem=room)
