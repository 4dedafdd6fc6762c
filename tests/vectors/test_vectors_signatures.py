from __future__ import annotations

import json

import pytest
from eth_account.messages import encode_typed_data

from iexworker.errors import WalletError
from iexworker.poco.hashing import concatenate_and_hash, hex_text, keccak, lenient_bytes
from iexworker.poco.signatures import recover_message_hash
from iexworker.wallet import Wallet, open_keystore
from tests.vectors.helpers.loader import Case, cases


def wallet_of(private_key: str) -> Wallet:
    return Wallet(lenient_bytes(private_key))


@pytest.mark.parametrize("case", cases("chain-prefixed-signature"))
def test_a_message_hash_is_signed_with_the_ethereum_prefix(case: Case) -> None:
    message_hash = lenient_bytes(case.input["messageHash"])
    signature = case.input.get("signature")
    if signature is None:
        signature = wallet_of(case.input["privateKey"]).sign_message_hash(message_hash)
        assert signature == case.expected["signature"]

    assert recover_message_hash(message_hash, signature) == case.expected["signer"]


@pytest.mark.parametrize("case", cases("chain-login-challenge"))
def test_the_login_signs_the_challenge_read_as_lenient_hex(case: Case) -> None:
    challenge = lenient_bytes(case.input["challenge"])
    digest = keccak(challenge)

    assert hex_text(challenge) == case.expected["bytes"]
    assert hex_text(digest) == case.expected["digest"]
    signature = wallet_of(case.input["privateKey"]).sign_digest(digest)
    assert signature == case.expected["signature"]


@pytest.mark.parametrize("case", cases("chain-sms-secret-challenge"))
def test_the_challenge_of_a_secret_hashes_its_texts_first(case: Case) -> None:
    texts = ("IEXEC_SMS_DOMAIN", case.input["secretKey"], case.input["token"])
    domain, key, token = (hex_text(keccak(text.encode())) for text in texts)
    challenge = concatenate_and_hash(domain, case.input["workerWallet"], key, token)

    assert challenge == case.expected["challenge"]
    signature = wallet_of(case.input["privateKey"]).sign_message_hash(lenient_bytes(challenge))
    assert signature == case.expected["signature"]


@pytest.mark.parametrize("case", cases("chain-eip712-challenge"))
def test_a_typed_challenge_is_signed_without_a_prefix(case: Case) -> None:
    message = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                ],
                "Challenge": [{"name": "challenge", "type": "string"}],
            },
            "primaryType": case.input["primaryType"],
            "domain": case.input["domain"],
            "message": case.input["message"],
        }
    )
    digest = keccak(b"\x19\x01", message.header, message.body)
    wallet = wallet_of(case.input["privateKey"])

    assert hex_text(message.header) == case.expected["domainSeparator"]
    assert hex_text(message.body) == case.expected["messageHash"]
    assert hex_text(digest) == case.expected["hash"]
    token = f"{hex_text(digest)}_{wallet.sign_digest(digest)}_{wallet.address}"
    assert token == case.expected["token"]


@pytest.mark.parametrize("case", cases("chain-keystore"))
def test_a_keystore_opens_with_its_password_only(case: Case) -> None:
    content = case.input.get("text") or json.dumps(case.input["keystore"])
    if "error" in case.expected:
        with pytest.raises(WalletError):
            open_keystore(content.encode(), case.input["password"])
        return

    wallet = open_keystore(content.encode(), case.input["password"])

    assert wallet.address == case.expected["address"]
    if "privateKey" in case.expected:
        assert hex_text(wallet.private_key) == case.expected["privateKey"]
