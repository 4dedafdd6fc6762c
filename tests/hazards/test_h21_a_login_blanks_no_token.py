"""H21: while one thread logs in, the others get an empty token, and a burst of 401 follows.

Ours keep the old token until the new one is there; whoever was refused shares the one login.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from iexworker.core.client import SchedulerClient
from iexworker.core.login import Tokens, log_in
from iexworker.errors import SchedulerError
from iexworker.wallet import Wallet
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way, patience_s
from tests.helpers.scripted_server import Reply, Request, running

WALLET = Wallet(b"\7" * 32)
CHALLENGE = f"GET /workers/challenge?walletAddress={WALLET.address}"
LOGIN = f"POST /workers/login?walletAddress={WALLET.address}"
PING = "POST /workers/ping"
CALLERS = 6


def scenario() -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def slow_login(_: Request) -> Reply:
        under_way.set()
        go_on.wait(patience_s())
        return Reply(200, b"second")

    def ping(request: Request) -> Reply:
        fresh = request.headers.get("authorization") == "Bearer second"
        return Reply(200, b"session") if fresh else Reply(401)

    with running() as server, ThreadPoolExecutor(CALLERS) as threads:
        server.on(CHALLENGE, Reply(200, b"q3Z7mPp0Zk9vT2aXw+Yh8sJdBfEoLcNiRuGx/1K4VQ0="))
        server.on(LOGIN, slow_login)
        server.on(PING, ping)
        client = SchedulerClient(server.url)
        client.token = "first"
        tokens = Tokens(client, WALLET)
        calls = [threads.submit(tokens.with_token, client.ping) for _ in range(CALLERS)]
        assert under_way.wait(patience_s())
        during = client.token
        go_on.set()
        failures = [call.exception() for call in calls]
        client.close()
        refused = [one for one in server.calls(PING) if not one.headers.get("authorization")]
    assert during == "first"
    assert failures == [None] * CALLERS
    assert not refused
    assert len(server.calls(LOGIN)) == 1


def upstream(patch: pytest.MonkeyPatch) -> None:
    busy = threading.Lock()

    def renew(self: Tokens, refused: str | None) -> str:
        if not busy.acquire(blocking=False):
            return ""  # somebody else logs in
        try:
            self._client.token = ""
            self._client.token = log_in(self._client, self._wallet)
        except SchedulerError:
            return ""
        finally:
            busy.release()
        return self._client.token

    patch.setattr(Tokens, "renew", renew)


def test_callers_that_are_refused_together_share_one_login() -> None:
    fails_only_upstreams_way(scenario, upstream)
