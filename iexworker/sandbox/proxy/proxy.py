"""The result proxy: tokens, uploads and what is kept of them (docs/spec/09, 2)."""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import sqlite3
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from iexworker.poco import hashing
from iexworker.poco.signatures import recover_message_hash
from iexworker.sandbox.proxy.archives import BadArchive, result_digest
from iexworker.sandbox.proxy.ipfs import Store
from iexworker.sandbox.scheduler import workflow
from iexworker.sandbox.scheduler.interfaces import (
    ChainContribution,
    ChainTask,
    ChainTaskStatus,
    ChainUnreachable,
    Clock,
    ContributionStatus,
)
from iexworker.sandbox.scheduler.login import json_web_token
from iexworker.sandbox.scheduler.models import ZERO_ADDRESS, Deal, Profile

log = logging.getLogger(__name__)

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB)",
    "CREATE TABLE IF NOT EXISTS tokens (wallet TEXT PRIMARY KEY, token TEXT)",
    "CREATE TABLE IF NOT EXISTS results (task TEXT PRIMARY KEY, hash TEXT)",
)


class Refused(Exception):
    """The caller is refused: 401, or 400 when a result is recorded for the task already."""

    def __init__(self, reason: str, status: int = 401) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Authorization:
    """The scheduler's word that a wallet works on a task; None stands for a null in the JSON."""

    task_id: str
    wallet: str
    challenge: str
    signature: str


class ProxyChain(Protocol):
    """The chain as the proxy needs it; every method may raise `ChainUnreachable`."""

    def task(self, task_id: str) -> ChainTask | None:
        """Return a task, None when it is not initialised."""

    def deal(self, deal_id: str) -> Deal | None:
        """Return a deal."""

    def deal_owner(self, deal_id: str) -> str | None:
        """Return the owner of the deal's workerpool, in lower case."""

    def contribution(self, task_id: str, wallet: str) -> ChainContribution:
        """Return the contribution of a worker."""


class ResultProxy:
    """One result proxy; key, tokens and records are kept in a file, contents in the store."""

    def __init__(
        self,
        profile: Profile,
        clock: Clock,
        chain: ProxyChain,
        store: Store,
        path: Path | None = None,
    ) -> None:
        self._profile = profile
        self._clock = clock
        self._chain = chain
        self._store = store
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False)
        with self._database:
            for statement in _SCHEMA:
                self._database.execute(statement)
        self._key = self._secret("signing key")

    def token(self, header: str, authorization: Authorization) -> str:
        """Return the token of the authorised wallet (2.3); raises `Refused`."""
        try:
            self._check_authorization(header, authorization)
        except ChainUnreachable as error:
            raise Refused(f"the chain does not answer: {error}") from error
        with self._lock:
            known = self._one("SELECT token FROM tokens WHERE wallet = ?", authorization.wallet)
            if known is not None:
                return str(known)
            claims: dict[str, object] = {
                "aud": authorization.wallet,
                "iat": int(self._clock.now_s()),
                "sub": str(uuid.uuid4()),
            }
            token = json_web_token(claims, self._key)
            with self._database:
                row = (authorization.wallet, token)
                self._database.execute("INSERT INTO tokens VALUES (?, ?)", row)
            return token

    def _check_authorization(self, header: str, authorization: Authorization) -> None:
        """Make the checks in the order of 2.3."""
        given = authorization
        digest = hashing.lenient_bytes(
            hashing.authorization_hash(given.wallet, given.task_id, given.challenge)
        )
        if recover_message_hash(digest, header) != given.wallet.lower():
            raise Refused("the header is no signature of the wallet")
        if not given.task_id:
            raise Refused("the authorisation names no task")
        task = self._chain.task(given.task_id)
        if task is None:
            raise Refused("there is no such task on chain")
        if self._clock.now_s() >= task.final_deadline_s:
            raise Refused("the task is past its final deadline")
        deal = self._chain.deal(task.deal_id)
        if deal is None:
            raise Refused("the deal cannot be read")
        if workflow.is_tee(deal.tag, self._profile) != (given.challenge != ZERO_ADDRESS):
            raise Refused("the enclave challenge does not fit the deal's tag")
        if recover_message_hash(digest, given.signature) != self._chain.deal_owner(task.deal_id):
            raise Refused("the authorisation is not signed by the owner of the deal's workerpool")

    def wallet_of(self, token: str) -> str | None:
        """Return whose token it is, byte for byte; None for an unknown one."""
        with self._lock:
            rows = self._database.execute("SELECT wallet, token FROM tokens").fetchall()
        encoded = token.encode()
        return next(
            (one for one, known in rows if hmac.compare_digest(known.encode(), encoded)), None
        )

    def upload(self, token: str, task_id: str, archive: bytes) -> str:
        """Keep a result and return `/ipfs/<hash>` (2.4); raises `Refused`."""
        wallet = self.wallet_of(token)
        if wallet is None:
            raise Refused("the token is unknown")
        if self.has_result(task_id):
            raise Refused("a result is recorded already")
        try:
            self._check_result(wallet, task_id, archive)
        except ChainUnreachable as error:
            raise Refused(f"the chain does not answer: {error}") from error
        name = self._store.put(archive)
        with self._lock, self._database:
            row = (task_id, name)
            stored = self._database.execute("INSERT OR IGNORE INTO results VALUES (?, ?)", row)
            if not stored.rowcount:
                raise Refused("a hash is recorded already", 400)
        log.info("result kept", extra={"task": task_id, "worker": wallet, "hash": name})
        return f"/ipfs/{name}"

    def _check_result(self, wallet: str, task_id: str, archive: bytes) -> None:
        task = self._chain.task(task_id)
        deal = self._chain.deal(task.deal_id) if task else None
        if task is None or deal is None:
            raise Refused("task or deal cannot be read")
        if task.status is not ChainTaskStatus.REVEALING:
            raise Refused(f"the task is {task.status.name} on chain, not REVEALING")
        contribution = self._chain.contribution(task_id, wallet)
        if contribution.status is not ContributionStatus.PROVED:
            raise Refused(f"the contribution is {contribution.status.name}, not revealed")
        try:
            digest = result_digest(archive, has_callback=deal.has_callback)
        except BadArchive as error:
            raise Refused(str(error)) from error
        if hashing.result_hash(task_id, digest) != contribution.result_hash:
            raise Refused("the archive's digest is not what was contributed")

    def result_hash(self, task_id: str) -> str | None:
        """Return the recorded hash of a task's result (2.5)."""
        with self._lock:
            found = self._one("SELECT hash FROM results WHERE task = ?", task_id)
        return None if found is None else str(found)

    def has_result(self, task_id: str) -> bool:
        """Whether a hash is recorded and its content readable."""
        name = self.result_hash(task_id)
        return name is not None and self._store.path(name) is not None

    def content(self, name: str) -> bytes | None:
        """Return what the store holds under a hash."""
        return self._store.get(name)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def _secret(self, name: str) -> bytes:
        with self._database:
            row = (name, secrets.token_bytes(32))
            self._database.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", row)
        return bytes(self._one("SELECT value FROM secrets WHERE name = ?", name))

    def _one(self, query: str, parameter: str) -> Any:  # noqa: ANN401 - what the column holds
        row = self._database.execute(query, (parameter,)).fetchone()
        return None if row is None else row[0]


def authorization(body: object) -> Authorization:
    """Read a `WorkerpoolAuthorization`; ValueError for one without what the real one needs."""
    data = body if isinstance(body, Mapping) else {}
    sealed = data.get("signature")
    texts = (
        data.get("chainTaskId"),
        data.get("workerWallet"),
        data.get("enclaveChallenge"),
        sealed.get("value") if isinstance(sealed, Mapping) else None,
    )
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"a null in the authorisation: {json.dumps(body)[:200]}")
    return Authorization(*map(str, texts))
