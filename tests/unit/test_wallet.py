from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keyfile.keyfile import create_keyfile_json
from hypothesis import given
from hypothesis import strategies as st

from iexworker import wallet as wallets
from iexworker.errors import EXIT_REFUSED, WalletError
from iexworker.poco import signatures
from iexworker.poco.hashing import keccak
from iexworker.wallet import Wallet

SECRET = bytes(range(1, 33))
PASSWORD = b"correct horse"


def keystore(**changes: object) -> dict[str, Any]:
    """Make a keystore with another library; `changes` go into its crypto section."""
    data: dict[str, Any] = dict(create_keyfile_json(SECRET, PASSWORD, kdf="scrypt", iterations=2))
    data["crypto"] = {**data["crypto"], **changes}
    return data


def saved(folder: Path, content: object) -> Path:
    path = folder / "wallet.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def scrypt_parameters(**changes: object) -> dict[str, Any]:
    return {**keystore()["crypto"]["kdfparams"], **changes}


@pytest.mark.parametrize("kdf", ["scrypt", "pbkdf2"])
def test_the_key_in_a_keystore_of_another_library_is_found(kdf: Any, tmp_path: Path) -> None:
    path = saved(tmp_path, dict(create_keyfile_json(SECRET, PASSWORD, kdf=kdf, iterations=2)))

    wallet = wallets.load(path, PASSWORD.decode())

    assert wallet.private_key == SECRET
    assert wallet.address == Account.from_key(SECRET).address.lower()


def test_a_password_keeps_its_bytes_when_they_are_no_utf8(tmp_path: Path) -> None:
    raw = b"caf\xe9"
    path = saved(tmp_path, dict(create_keyfile_json(SECRET, raw, kdf="pbkdf2", iterations=2)))

    assert wallets.load(path, os.fsdecode(raw)).private_key == SECRET


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{new: devilish corrupted content}", "is not JSON"),
        ("[3]", "is not a JSON object"),
        (keystore() | {"version": 1}, "is of version 1"),
        ({"version": 3}, "has no crypto section"),
        (keystore(cipher="aes-256-cbc"), "has the cipher 'aes-256-cbc'"),
        (keystore(kdf="argon2"), "has the key derivation 'argon2'"),
        (keystore(kdfparams={}), "dklen 0: expected at least 32"),
        (keystore(kdfparams=scrypt_parameters(n=3)), "cannot be used"),
        (keystore(kdfparams=scrypt_parameters(n="many")), "cannot be used"),
        (keystore(kdfparams=scrypt_parameters(n=2**40)), "cannot be used"),
        (keystore(kdfparams=scrypt_parameters(dklen=16)), "dklen 16: expected at least 32"),
        (
            keystore(kdf="pbkdf2", kdfparams=scrypt_parameters(prf="hmac-md5", c=2)),
            "prf 'hmac-md5'",
        ),
        (keystore(cipherparams={"iv": "00"}), "cannot be used"),
        (keystore(mac="zz"), "does not open with this password"),
        (keystore(mac="00" * 32), "does not open with this password"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_a_malformed_wallet_is_one_line_with_file_and_reason(
    content: object, words: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, content)

    with pytest.raises(WalletError) as caught:
        wallets.load(path, PASSWORD.decode())

    message = str(caught.value)
    assert message.startswith(f"wallet {path}: ")
    assert words in message
    assert "\n" not in message
    assert PASSWORD.decode() not in message
    assert caught.value.exit_code == EXIT_REFUSED


def test_a_wrong_password_says_which_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="set IEXEC_WORKER_WALLET_PASSWORD"):
        wallets.load(saved(tmp_path, keystore()), "wrong")


def test_a_missing_wallet_says_which_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(
        WalletError, match="there is no such file; IEXEC_WORKER_WALLET_PATH must name"
    ):
        wallets.load(tmp_path / "absent.json", "x")


def test_a_wallet_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="it is a folder"):
        wallets.load(tmp_path, "x")


def test_a_keystore_with_a_key_out_of_range_is_refused(tmp_path: Path) -> None:
    content: Any = create_keyfile_json(SECRET, PASSWORD, kdf="pbkdf2", iterations=2)
    crypto = content["crypto"]
    salt = bytes.fromhex(crypto["kdfparams"]["salt"])
    derived = hashlib.pbkdf2_hmac("sha256", PASSWORD, salt, 2, 32)
    encrypted_zero = bytes(
        a ^ b for a, b in zip(bytes.fromhex(crypto["ciphertext"]), SECRET, strict=True)
    )
    crypto["ciphertext"] = encrypted_zero.hex()
    crypto["mac"] = keccak(derived[16:], encrypted_zero).hex()

    with pytest.raises(WalletError, match="no valid private key"):
        wallets.load(saved(tmp_path, content), PASSWORD.decode())


def test_the_key_shows_nowhere() -> None:
    wallet = Wallet(SECRET)

    assert repr(wallet) == f"Wallet({wallet.address})"
    assert SECRET.hex() not in f"{wallet} {wallet!r}"


@given(st.binary(min_size=32, max_size=32))
def test_signatures_are_those_of_eth_account(digest: bytes) -> None:
    wallet = Wallet(SECRET)
    message = Account.sign_message(encode_defunct(digest), SECRET)

    assert wallet.sign_message_hash(digest) == "0x" + bytes(message.signature).hex()
    assert (
        signatures.recover_message_hash(digest, wallet.sign_message_hash(digest)) == wallet.address
    )
    assert signatures.recover(digest, wallet.sign_digest(digest)) == wallet.address


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "0x" + "11" * 64,
        "0x" + "11" * 64 + "00",
        "0x" + "11" * 64 + "1d",
        "0x" + "ff" * 64 + "1b",
        "0x" + "00" * 64 + "1b",
    ],
)
def test_a_signature_that_no_key_made_has_no_signer(signature: str) -> None:
    assert signatures.recover(b"\1" * 32, signature) is None
