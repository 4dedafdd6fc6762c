"""docs/spec/03, 3 and 5.4: challenges, signatures, tokens, session id."""

from __future__ import annotations

import base64
import json

import pytest
from coincurve import PrivateKey
from Crypto.Hash import keccak

from iexworker.sandbox.scheduler import login as module
from iexworker.sandbox.scheduler.login import Login, session_id
from tests.helpers.sandbox_pool import FakeClock

KEY = PrivateKey(bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"))
ADDRESS = "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23"
OTHER = "0x" + "ab" * 20


def decoded(text: str) -> bytes:
    """Read a text as 3.2 says, written a second time."""
    digits = [int(one, 16) if one in "0123456789abcdefABCDEF" else -1 for one in text]
    digits = digits[2:] if text.startswith("0x") else digits
    head = [digits.pop(0)] if len(digits) % 2 else []
    pairs = zip(digits[::2], digits[1::2], strict=True)
    return bytes(one % 256 for one in (*head, *((a << 4) + b for a, b in pairs)))


def signed(challenge: str) -> str:
    digest = keccak.new(data=decoded(challenge), digest_bits=256).digest()
    signature = KEY.sign_recoverable(digest, hasher=None)
    return "0x" + (signature[:64] + bytes([27 + signature[64]])).hex()


def logged_in(login: Login) -> str:
    challenge = login.challenge(ADDRESS)
    assert challenge is not None
    token = login.token(ADDRESS, signed(challenge))
    assert token is not None
    return token


@pytest.mark.parametrize(
    ("challenge", "r", "s", "v"),
    [
        (
            "q3Z7mPp0Zk9vT2aXw+Yh8sJdBfEoLcNiRuGx/1K4VQ0=",
            "649782d4803a7f74f095eb703b1f8090e459fb8499eeecc9491a098a8a379534",
            "34e42da8d30037816559e52af49f777124eec2ac006978931d53913b4c9fe430",
            "1c",
        ),
        (
            "0xZ7mPp0Zk9vT2aXw+Yh8sJdBfEoLcNiRuGx/1K4VQ0=",
            "720967371fe16712ee1d30fbd117f95bb2551f7e008dfd85023f73173af6d772",
            "453cd24dab791b8e38143940a70a2542138a708128246ff0e259b84467b10103",
            "1b",
        ),
    ],
)
def test_the_vectors_of_3_2_log_in(challenge: str, r: str, s: str, v: str) -> None:
    assert signed(challenge) == f"0x{r}{s}{v}"
    assert module._signed_by(challenge, f"0x{r}{s}{v}", ADDRESS)
    # v is not looked at, and upper case in the address neither.
    assert module._signed_by(challenge, f"0x{r}{s}00", ADDRESS.upper().replace("0X", "0x"))


def test_a_challenge_is_44_characters_of_base64_and_stays_for_five_minutes() -> None:
    clock = FakeClock()
    login = Login(clock, "9.2.1")
    first = login.challenge(ADDRESS)
    assert first is not None
    assert len(base64.b64decode(first, validate=True)) == 32
    clock.time_s += 299
    assert login.challenge(ADDRESS) == first
    assert login.challenge(OTHER) != first
    clock.time_s += 1
    assert login.challenge(ADDRESS) != first


def test_a_login_uses_the_challenge_up_and_a_failed_one_does_not() -> None:
    login = Login(FakeClock(), "9.2.1")
    challenge = login.challenge(ADDRESS)
    assert login.token(ADDRESS, "0x" + "00" * 65) is None
    assert login.token(ADDRESS, "0x1234") is None
    assert login.challenge(ADDRESS) == challenge
    logged_in(login)
    assert login.challenge(ADDRESS) != challenge


def test_a_token_has_the_claims_of_3_3() -> None:
    clock = FakeClock()
    token = logged_in(Login(clock, "9.2.1"))
    head, body, _ = (one + "=" * (-len(one) % 4) for one in token.split("."))
    assert json.loads(base64.urlsafe_b64decode(head)) == {"alg": "HS256"}
    now = int(clock.now_s())
    assert json.loads(base64.urlsafe_b64decode(body)) == {
        "aud": "iExec Scheduler v9.2.1",
        "iat": now,
        "exp": now + 3600,
        "sub": ADDRESS,
    }


def test_a_second_login_gives_the_same_token_even_when_it_has_expired() -> None:
    clock = FakeClock()
    login = Login(clock, "9.2.1")
    token = logged_in(login)
    assert login.wallet(token) == ADDRESS
    clock.time_s += 3600
    assert logged_in(login) == token
    # Only presenting it makes the scheduler notice.
    assert login.wallet(token) is None
    fresh = logged_in(login)
    assert fresh != token
    assert login.wallet(fresh) == ADDRESS


def test_a_token_of_another_process_is_unknown() -> None:
    clock = FakeClock()
    token = logged_in(Login(clock, "9.2.1"))
    login = Login(clock, "9.2.1")
    logged_in(login)
    assert login.wallet(token) is None
    assert login.wallet("") is None


def test_an_address_that_is_not_on_the_list_gets_nothing_its_case_counting() -> None:
    login = Login(FakeClock(), "9.2.1", frozenset((ADDRESS,)))
    assert login.challenge(ADDRESS) is not None
    assert login.challenge(ADDRESS.upper()) is None
    assert login.token(OTHER, "0x") is None


def test_the_session_id_hashes_the_text_of_the_configuration() -> None:
    """That of the recording of 9.2, `9.2-session`."""
    fields: dict[str, object] = {
        "workerPoolAddress": "0x00A603209f83B6ef14b2B7EA4EE707b1c23E514a",
        "schedulerPublicAddress": "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65",
        "configServerUrl": "http://localhost:8888",
        "resultRepositoryURL": "http://localhost:13201",
        "askForReplicatePeriod": 5000,
        "requiredWorkerVersion": "",
    }
    found = session_id(fields)
    assert found == "0x7d21578c9787a00e25b00bc384012f4ce8da4ef48aba871ffe4ff96d02fe0244"
    assert session_id(fields | {"requiredWorkerVersion": "9.2.0"}) != found
