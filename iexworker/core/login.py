"""Login at the scheduler, and the token that all callers share (docs/spec/03, section 3).

The scheduler forgets its tokens when it restarts and renews an expired one only after that was
presented, so a token is used until it is refused, then renewed once for all who hold it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from iexworker.core.client import SchedulerClient
from iexworker.errors import LoginRefused, SchedulerError, Unauthorized
from iexworker.poco.hashing import keccak, lenient_bytes
from iexworker.wallet import Wallet

LONGEST_CHALLENGE = 44
"""Characters: the Base64 of 32 bytes. The signature has no prefix, and more bytes than these give
could be a transaction of this wallet, made by whoever answers for the scheduler."""

_JWT = re.compile(r"[!-~]{1,8192}")

T = TypeVar("T")
log = logging.getLogger(__name__)


def sign_challenge(wallet: Wallet, challenge: str) -> str:
    """Return the signature of a challenge, whose text is read as hex however it looks (3.2)."""
    return wallet.sign_digest(keccak(lenient_bytes(challenge)))


def log_in(client: SchedulerClient, wallet: Wallet) -> str:
    """Return a JWT; raises `LoginRefused` when the scheduler says no, else `SchedulerError`."""
    try:
        challenge = client.challenge(wallet.address)
        if not 0 < len(challenge) <= LONGEST_CHALLENGE:
            came = f"a challenge of {len(challenge)} characters, not signed"
            todo = f"expected {LONGEST_CHALLENGE}: is that the address of a scheduler?"
            raise SchedulerError(client.peer.told("login", came, todo))
        jwt = client.login(wallet.address, sign_challenge(wallet, challenge))
    except Unauthorized as error:
        raise LoginRefused(
            f"the scheduler refuses the login of {wallet.address} ({error}); "
            "ask the workerpool's manager to put this address on its list"
        ) from None
    if not _JWT.fullmatch(jwt):
        came = f"{len(jwt)} characters that are no token"
        raise SchedulerError(client.peer.told("login", came, "is that the address of a scheduler?"))
    return jwt


class Tokens:
    """The token that the calls of one client carry, renewed by one login at a time."""

    def __init__(self, client: SchedulerClient, wallet: Wallet) -> None:
        self._client = client
        self._wallet = wallet
        self._lock = threading.Lock()
        self._login: Future[str] | None = None

    @property
    def current(self) -> str | None:
        """The token in use; it stays in place while a new one is fetched."""
        return self._client.token

    def renew(self, refused: str | None) -> str:
        """Return a token other than the refused one, after a login unless somebody was quicker.

        Callers that come while a login is under way wait for it and share its outcome. `refused`
        is None when none is held. Raises `LoginRefused` or `SchedulerError`.
        """
        with self._lock:
            if self.current is not None and self.current != refused:
                return self.current
            first = self._login is None
            login = self._login = self._login or Future()
        if first:
            self._run(login)
        return login.result()

    def with_token(self, call: Callable[[], T]) -> T:
        """Make a call of the client, and again after a login if the token was refused."""
        held = self.current
        try:
            return call()
        except Unauthorized:
            self.renew(held)
            return call()

    def _run(self, login: Future[str]) -> None:
        try:
            jwt = log_in(self._client, self._wallet)
        except BaseException as error:  # noqa: BLE001 - those who wait must hear of any
            with self._lock:
                self._login = None
            login.set_exception(error)
            return
        with self._lock:
            self._client.token = jwt
            self._login = None
        log.info("logged in", extra={"wallet": self._wallet.address})
        login.set_result(jwt)
