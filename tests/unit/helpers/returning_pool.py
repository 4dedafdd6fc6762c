"""A pool to which workers return: a scheduler and a proxy behind their routes, one task.

Its chain keeps the contract's rules, so that a transaction that comes too late reverts.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from iexworker.poco import hashing
from iexworker.sandbox.endpoint import Request, Response
from iexworker.sandbox.network.network import Timers
from iexworker.sandbox.proxy.archives import result_digest
from iexworker.sandbox.proxy.ipfs import Store
from iexworker.sandbox.proxy.proxy import Authorization, Refused, ResultProxy
from iexworker.sandbox.scheduler.interfaces import ChainTaskStatus, ContributionStatus
from iexworker.sandbox.scheduler.models import ZERO_ADDRESS, Task
from iexworker.sandbox.scheduler.push import Broker
from iexworker.sandbox.scheduler.routes import scheduler_routes
from iexworker.wallet import Wallet
from tests.helpers.sandbox_pool import LINK, NOW_S, OWNER_KEY, Pool

SCAN_S = 30
"""The period of the detectors."""


class ScriptedWorker:
    """A worker that calls the scheduler by its routes, and the proxy."""

    def __init__(self, pool: ReturningPool, name: str, key: bytes) -> None:
        self._pool = pool
        self.name = name
        self._keys = Wallet(key)
        self.wallet = self._keys.address
        self.token = ""

    def login(self) -> str:
        """Log in and return the token."""
        asked = {"walletAddress": self.wallet}
        challenge = self.call("GET", "/workers/challenge", **asked).body.decode()
        digest = hashing.keccak(hashing.lenient_bytes(challenge))
        body = {"value": self._keys.sign_digest(digest)}
        self.token = self.call("POST", "/workers/login", body, **asked).body.decode()
        return self.token

    def call(self, method: str, path: str, body: object = None, **query: str) -> Response:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"}
        sent = b"" if body is None else json.dumps(body).encode()
        asked = {name: [value] for name, value in query.items()}
        return self._pool.routes.answer(Request(method, path, asked, headers, sent))

    def ping(self) -> int:
        return self.call("POST", "/workers/ping").status

    def computing(self) -> list[str]:
        found = json.loads(self.call("GET", "/workers/computing").body)
        assert isinstance(found, list)
        return found

    def tell(self, status: str) -> tuple[int, str]:
        """Send a status; return the answer's code and action."""
        path = f"/replicates/{self._pool.task_id}/updateStatus"
        answer = self.call("POST", path, {"status": status, "details": _details(status)})
        self._pool.scheduler.turn()
        return answer.status, json.loads(answer.body) if answer.body else ""

    def interrupted(self) -> list[str]:
        """Ask what was missed; return it in the words of a row."""
        block = str(self._pool.chain.block)
        found = json.loads(self.call("GET", "/replicates/interrupted", blockNumber=block).body)
        self._pool.scheduler.turn()
        return [self._words(one) for one in found]

    def _words(self, message: dict[str, object]) -> str:
        pool = self._pool
        assert (message["chainTaskId"], message["workersAddress"]) == (pool.task_id, [self.wallet])
        extra = message["taskNotificationExtra"]
        assert isinstance(extra, dict)
        authorization = pool.scheduler.authorization(pool.task, self.wallet)
        assert (extra["workerpoolAuthorization"], extra["smsUrl"]) == (authorization, None)
        words = [str(message["taskNotificationType"])]
        if extra["blockNumber"]:
            assert extra["blockNumber"] == pool.task.consensus_block
            words.append("block")
        return " ".join(words + [extra["taskAbortCause"]] * bool(extra["taskAbortCause"]))

    # --- what it does on chain and at the proxy ---

    def prepare(self, status: str) -> None:
        """Do what the status tells of, as far as it can still be done."""
        if status == "CONTRIBUTED":
            self.contribute()
        elif status == "REVEALED":
            self.reveal()
        elif status == "RESULT_UPLOADED":
            self.upload()

    def contribute(self) -> None:
        """Send the transaction, which reverts unless the contract's rules are kept."""
        pool, chain = self._pool, self._pool.chain
        found = chain.contribution(pool.task_id, self.wallet).status
        in_time = pool.clock.now_s() <= pool.task.deal.contribution_deadline_s
        active = chain.tasks[pool.task_id].status is ChainTaskStatus.ACTIVE
        if found is ContributionStatus.UNSET and active and in_time:
            chain.contribute(pool.task_id, self.wallet, pool.result_hash)
            if len(chain.contributions) == pool.winners:
                chain.agree(pool.task_id, pool.winners, pool.result_hash)

    def reveal(self) -> None:
        """Send the transaction, which reverts unless the contract's rules are kept."""
        pool, chain = self._pool, self._pool.chain
        task = chain.tasks[pool.task_id]
        found = chain.contribution(pool.task_id, self.wallet).status
        in_time = pool.clock.now_s() <= task.reveal_deadline_s
        revealing = task.status is ChainTaskStatus.REVEALING
        if found is ContributionStatus.CONTRIBUTED and revealing and in_time:
            chain.reveal(pool.task_id, self.wallet)

    def upload(self) -> int:
        """Bring the result to the proxy; return the status."""
        pool = self._pool
        digest = hashing.authorization_hash(self.wallet, pool.task_id, ZERO_ADDRESS)
        header = self._keys.sign_message_hash(hashing.lenient_bytes(digest))
        signature = pool.scheduler.authorization(pool.task, self.wallet)["signature"]
        assert isinstance(signature, dict)
        given = Authorization(pool.task_id, self.wallet, ZERO_ADDRESS, signature["value"])
        try:
            pool.proxy.upload(pool.proxy.token(header, given), pool.task_id, ARCHIVE)
        except Refused as refused:
            return refused.status
        pool.results.tasks.add(pool.task_id)
        return 200


class ReturningPool(Pool):
    """A pool whose workers call by the routes, with a result proxy; it has one task."""

    def __init__(self, profile: str, folder: Path, winners: int, finalize_delay_s: float) -> None:
        timers = Timers(finalize_delay_s=finalize_delay_s)
        super().__init__(profile, folder / "scheduler.sqlite", timers)
        self.chain.owner = Wallet(OWNER_KEY).address
        self.proxy = ResultProxy(self.profile, self.clock, self.chain, Store(folder / "store"))
        self.winners = winners
        self.present: set[str] = set()
        self.task_id = self.buy(trust=1 if self.winners == 1 else 4).task_id
        digest = result_digest(ARCHIVE, has_callback=False)
        self.result_hash = hashing.result_hash(self.task_id, digest)

    def boot(self) -> None:
        super().boot()
        self.routes = scheduler_routes(self.scheduler, Broker(), self.profile, "http://localhost")

    @property
    def task(self) -> Task:
        """Not the same object after a restart."""
        return self.book.tasks[self.task_id]

    def wait(self, duration_s: float) -> None:
        self.pass_time(duration_s, pinging=sorted(self.present))

    def wait_for_phase(self, phase_s: int) -> None:
        """Wait for an instant in the period of the detectors."""
        self.wait((phase_s - (self.clock.time_s - NOW_S)) % SCAN_S)


def _details(status: str) -> dict[str, object] | None:
    if status == "RESULT_UPLOADED":
        return {"resultLink": LINK, "chainCallbackData": ""}
    return {"exitCode": 0} if status == "COMPUTED" else None


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as files:
        files.writestr("result.txt", "hello\n")
        files.writestr("computed.json", '{"deterministic-output-path": "/iexec_out/result.txt"}')
    return buffer.getvalue()


ARCHIVE = _archive()
