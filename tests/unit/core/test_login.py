from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from iexworker.core.client import SchedulerClient
from iexworker.core.login import Tokens, sign_challenge
from iexworker.errors import LoginRefused, SchedulerError, Unauthorized
from iexworker.wallet import Wallet
from tests.helpers.scripted_server import Reply, Request, ScriptedServer, running

VECTORS = Path(__file__).parents[2] / "vectors"
KEY = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
WALLET = Wallet(KEY)
CHALLENGE = f"GET /workers/challenge?walletAddress={WALLET.address}"
LOGIN = f"POST /workers/login?walletAddress={WALLET.address}"
TEXT = "q3Z7mPp0Zk9vT2aXw+Yh8sJdBfEoLcNiRuGx/1K4VQ0="


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running() as server:
        server.on(CHALLENGE, Reply(200, TEXT.encode()))
        server.on(LOGIN, Reply(200, b"first"), Reply(200, b"second"))
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[SchedulerClient]:
    client = SchedulerClient(server.url)
    yield client
    client.close()


@pytest.fixture
def tokens(client: SchedulerClient) -> Tokens:
    return Tokens(client, WALLET)


@pytest.mark.parametrize(
    "case",
    json.loads((VECTORS / "chain-login-challenge.json").read_text())["cases"],
    ids=lambda case: case["name"],
)
def test_the_signature_is_that_of_the_vectors(case: dict[str, dict[str, str]]) -> None:
    wallet = Wallet(bytes.fromhex(case["input"]["privateKey"][2:]))
    assert sign_challenge(wallet, case["input"]["challenge"]) == case["expected"]["signature"]


def test_login_signs_the_challenge_and_keeps_the_token(
    server: ScriptedServer, client: SchedulerClient, tokens: Tokens
) -> None:
    assert tokens.renew(None) == "first"
    assert tokens.current == client.token == "first"
    assert server.requests[1].json == {"value": sign_challenge(WALLET, TEXT)}
    assert "authorization" not in server.requests[1].headers


@pytest.mark.parametrize("challenge", ["", "f8" * 40])
def test_what_is_no_challenge_is_not_signed(
    server: ScriptedServer, tokens: Tokens, challenge: str
) -> None:
    server.on(CHALLENGE, Reply(200, challenge.encode()))
    with pytest.raises(SchedulerError, match="not signed"):
        tokens.renew(None)
    assert server.calls("POST") == []


@pytest.mark.parametrize("jwt", [b"", b"two words", b"line\nend", "é".encode(), b"x" * 9000])
def test_what_is_no_token_is_an_error(server: ScriptedServer, tokens: Tokens, jwt: bytes) -> None:
    server.on(LOGIN, Reply(200, jwt))
    with pytest.raises(SchedulerError, match="that are no token"):
        tokens.renew(None)
    assert tokens.current is None


@pytest.mark.parametrize("call", [CHALLENGE, LOGIN])
def test_a_401_is_a_refusal_in_the_words_of_the_scheduler(
    server: ScriptedServer, tokens: Tokens, call: str
) -> None:
    server.on(call, Reply(401, b"not on the list"))
    with pytest.raises(LoginRefused, match=f"{WALLET.address}.*not on the list") as caught:
        tokens.renew(None)
    assert caught.value.exit_code == 77


def test_a_failed_login_leaves_the_token_in_place(server: ScriptedServer, tokens: Tokens) -> None:
    tokens.renew(None)
    server.on(CHALLENGE, Reply(503), Reply(200, TEXT.encode()))
    with pytest.raises(SchedulerError):
        tokens.renew("first")
    assert tokens.current == "first"
    assert tokens.renew("first") == "second"


def test_who_comes_with_an_older_token_gets_the_one_that_another_fetched(
    server: ScriptedServer, tokens: Tokens
) -> None:
    tokens.renew(None)
    tokens.renew("first")
    assert tokens.renew("first") == "second"
    assert tokens.renew(None) == "second"
    assert len(server.calls("POST /workers/login")) == 2


@pytest.mark.parametrize("status", [200, 503])
def test_concurrent_callers_share_one_login_and_its_outcome(
    server: ScriptedServer, tokens: Tokens, status: int
) -> None:
    in_login, release = threading.Event(), threading.Event()

    def slow(_: Request) -> Reply:
        in_login.set()
        release.wait(10)
        return Reply(status, b"fresh")

    def renew() -> str:
        try:
            return tokens.renew("first")
        except SchedulerError as error:
            return str(error.status)

    tokens.renew(None)
    server.on(LOGIN, slow)
    with ThreadPoolExecutor(8) as pool:
        outcomes = [pool.submit(renew)]
        assert in_login.wait(10)
        outcomes += [pool.submit(renew) for _ in range(7)]
        assert tokens.current == "first"
        release.set()
        assert {outcome.result(10) for outcome in outcomes} == {"fresh" if status == 200 else "503"}
    if status == 200:
        assert len(server.calls("POST /workers/login")) == 2


@pytest.mark.parametrize("held", [None, "stale"])
def test_a_refused_call_is_repeated_with_a_new_token(
    server: ScriptedServer, client: SchedulerClient, tokens: Tokens, held: str | None
) -> None:
    def ping(request: Request) -> Reply:
        good = request.headers["authorization"] == "Bearer first"
        return Reply(200, b"0x1") if good else Reply(401)

    client.token = held
    server.on("POST /workers/ping", ping)
    assert tokens.with_token(client.ping) == "0x1"
    assert len(server.calls("POST /workers/login")) == 1
    assert len(server.calls("POST /workers/ping")) == (1 if held is None else 2)


def test_a_call_refused_twice_is_the_callers_to_know(
    server: ScriptedServer, client: SchedulerClient, tokens: Tokens
) -> None:
    tokens.renew(None)
    server.on("POST /workers/ping", Reply(401))
    with pytest.raises(Unauthorized):
        tokens.with_token(client.ping)
    assert len(server.calls("POST /workers/ping")) == 2
