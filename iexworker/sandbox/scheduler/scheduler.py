"""The scheduler as its callers see it: each method is one call of docs/spec/03, section 5 or 8.

Nothing here knows HTTP; `routes` does. One thread of the server calls `turn` again and again: it
alone moves tasks and runs the timers.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coincurve import PrivateKey

from iexworker.poco import hashing
from iexworker.sandbox.scheduler import supply
from iexworker.sandbox.scheduler.bodies import Registration
from iexworker.sandbox.scheduler.context import World
from iexworker.sandbox.scheduler.detectors import Detectors
from iexworker.sandbox.scheduler.interfaces import ChainUnreachable
from iexworker.sandbox.scheduler.login import Login, session_id
from iexworker.sandbox.scheduler.models import (
    ZERO_ADDRESS,
    Details,
    Modifier,
    Profile,
    Refusal,
    ReplicateStatus,
    Task,
    TaskStatus,
    Worker,
)
from iexworker.sandbox.scheduler.node_watch import ChainHealth
from iexworker.sandbox.scheduler.push import notification, notification_extra
from iexworker.sandbox.scheduler.replicates import Outcome, Replicates
from iexworker.sandbox.scheduler.store import Book
from iexworker.sandbox.scheduler.supply import Missed, Supply
from iexworker.sandbox.scheduler.tasks import Tasks
from iexworker.sandbox.scheduler.taskview import logs_json, task_json

log = logging.getLogger(__name__)

CHAIN_PAUSE_S = 1.0
WATCH_PER_BLOCK = 0.25
"""Part of a block time after which the tasks that wait for the chain are looked at again."""
EARLY_MS = 500
"""How much sooner than the period a work request may come."""
_WATCHED = (TaskStatus.RECEIVED, TaskStatus.INITIALIZING, TaskStatus.FINALIZING)
"""States that end by what the chain does, without a word from a worker."""


class OutOfService(Exception):
    """The scheduler has lost its chain node: 503."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the public configuration tells of the network around."""

    workerpool: str
    scheduler: str
    config_url: str
    proxy_url: str


class Scheduler:
    """One iexec-core."""

    def __init__(
        self,
        world: World,
        book: Book,
        addresses: Addresses,
        key: bytes,
        *,
        required_version: str = "",
        allowed: frozenset[str] | None = None,
    ) -> None:
        """`key` is the private key of the workerpool's owner; `allowed` as `Login` takes it."""
        self._world = world
        self._book = book
        self._key = PrivateKey(key)
        self.login = Login(world.clock, world.profile.version, allowed)
        self.configuration = _configuration(world, addresses, required_version)
        self.session_id = session_id(self.configuration)
        self._last_alive_s: dict[str, float] = {}
        self._last_demand_ms: dict[str, int] = {}
        self._health = ChainHealth(world)
        self._replicates = Replicates(world, book)
        self.tasks = Tasks(world, book, self._replicates)
        self._supply = Supply(world, book, self._replicates)
        self._detectors = Detectors(world, book, self._replicates, self._last_alive_s)
        self._next_look_s = self._next_watch_s = 0.0

    # --- calls -----------------------------------------------------------------------------------

    def register(self, wallet: str, told: Registration) -> dict[str, object]:
        """Make or renew a worker's record, which keeps its lists of tasks (5.3)."""
        with self._book.lock:
            known = self._book.workers.get(wallet)
            worker = Worker(
                identifier=known.identifier if known else uuid.uuid4().hex[:24],
                wallet=wallet,
                name=told.name,
                os=told.os,
                cpu=told.cpu,
                cpu_count=told.cpu_count,
                memory_gib=told.memory_gib,
                tee=told.tee,
                gpu=told.gpu,
                tdx=told.tdx,
                participating=known.participating if known else [],
                computing=known.computing if known else [],
            )
            self._book.workers[wallet] = worker
            self._book.touch(worker)
            self._last_alive_s[wallet] = self._world.clock.now_s()
            facts = {"worker": wallet, "name_given": told.name, "slots": worker.slots}
            log.info("worker registered", extra=facts)
            self._book.flush()
            return self._worker_json(worker)

    def ping(self, wallet: str) -> str:
        """Note a sign of life; return the session id (5.4)."""
        self._last_alive_s[wallet] = self._world.clock.now_s()
        return self.session_id

    def computing(self, wallet: str) -> list[str]:
        """List what the worker is thought to compute (5.5)."""
        with self._book.lock:
            worker = self._book.workers.get(wallet)
            return list(worker.computing) if worker else []

    def available(self, wallet: str, block: int) -> dict[str, object] | None:
        """Give a task with its authorisation, or None (5.6)."""
        self._require_service()
        now_ms = self._world.now_ms()
        since_ms = now_ms - self._last_demand_ms.get(wallet, 0)
        if since_ms < self._world.ask_period_ms - EARLY_MS:
            return None
        self._last_demand_ms[wallet] = now_ms
        worker = self._book.workers.get(wallet)
        with self._kept():
            if block <= 0 or worker is None or not self._world.chain.has_gas(wallet):
                return None
            task = self._supply.assign(worker)
        if task is None:
            return None
        return {"workerpoolAuthorization": self.authorization(task, wallet), "smsUrl": None}

    def interrupted(self, wallet: str, block: int) -> list[dict[str, object]]:
        """Tell a worker that comes back what to do (5.8)."""
        worker = self._book.workers.get(wallet)
        with self._kept():
            found: Sequence[Missed] = self._supply.interrupted(worker, block) if worker else ()
        return [
            notification(
                one.task.task_id,
                [wallet],
                one.action,
                notification_extra(one.block, one.cause, self.authorization(one.task, wallet)),
            )
            for one in found
        ]

    def update(
        self, task_id: str, wallet: str, status: ReplicateStatus, details: Details
    ) -> Outcome:
        """Take a status update; may wait for the chain for minutes (8)."""
        self._require_service()
        with self._kept():
            return self._replicates.update(task_id, wallet, status, details, Modifier.WORKER)

    def note_refusal(self, task_id: str, wallet: str, what: str, reason: str) -> None:
        """Keep what scheduler or proxy did not take of a worker, for `sandbox tasks`."""
        refusal = Refusal(wallet.lower(), what, reason, self._world.now_ms())
        self._book.note_refusal(task_id, refusal)
        self._book.flush()

    def task(self, task_id: str, base_url: str) -> dict[str, object] | None:
        """Describe a task (`GET /tasks/<id>`)."""
        with self._book.lock:
            task = self._book.tasks.get(task_id)
            return None if task is None else task_json(task, base_url)

    def logs(self, task_id: str, wallet: str) -> dict[str, object] | None:
        """Give what the app wrote on one worker."""
        with self._book.lock:
            task = self._book.tasks.get(task_id)
            replicate = task.replicates.get(wallet) if task else None
            return None if replicate is None else logs_json(replicate)

    def authorization(self, task: Task, wallet: str) -> dict[str, object]:
        """Sign that `wallet` may contribute to the task (5.7)."""
        digest = hashing.authorization_hash(wallet, task.task_id, ZERO_ADDRESS)
        message = hashing.message_digest(hashing.lenient_bytes(digest))
        signature = self._key.sign_recoverable(message, hasher=None)
        value = "0x" + (signature[:64] + bytes([27 + signature[64]])).hex()
        deal = {"dealId": task.deal.deal_id, "taskIndex": task.index}
        return {
            "chainTaskId": task.task_id,
            **(deal if self._world.profile is Profile.V9 else {}),
            "workerWallet": wallet,
            "enclaveChallenge": ZERO_ADDRESS,
            "signature": {"value": value},
        }

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """Write what a call changes before it is answered; without a chain there is no service."""
        try:
            yield
        except ChainUnreachable as error:
            raise OutOfService from error
        finally:
            self._book.flush()

    def _require_service(self) -> None:
        if not self._health.in_service:
            raise OutOfService

    def _worker_json(self, worker: Worker) -> dict[str, object]:
        v9 = self._world.profile is Profile.V9
        flags = {"teeEnabled": worker.tee, "gpuEnabled": worker.gpu}
        if v9:
            flags = {
                "gpuEnabled": worker.gpu,
                "teeEnabled": worker.tee,
                "tdxEnabled": worker.tdx,
            }
        return {
            "id": worker.identifier,
            "name": worker.name,
            "walletAddress": worker.wallet,
            "os": worker.os,
            "cpu": worker.cpu,
            "cpuNb": worker.cpu_count,
            "maxNbTasks": worker.slots,
            "memorySize": worker.memory_gib,
            **flags,
            "participatingChainTaskIds": list(worker.participating),
            "computingChainTaskIds": list(worker.computing),
            "lastAliveDate": None,
            "lastReplicateDemandDate": None,
            **({"excludedTags": list(supply.excluded_tags(worker))} if v9 else {}),
        }

    # --- the engine's own thread -----------------------------------------------------------------

    def turn(self, wait_s: float = 0) -> None:
        """Do what is asked for within `wait_s`, and all that it is time for."""
        self._health.probe()
        try:
            self._settle(wait_s)
            self._look_at_chain()
            self._detectors.run_due()
            self._settle(0)
        except ChainUnreachable as error:
            log.warning("the chain does not answer", extra={"error": str(error)})
            self._world.clock.sleep(CHAIN_PAUSE_S)
        self._book.flush()

    def _settle(self, wait_s: float) -> None:
        """Do what was asked for until nothing is left; wait for the first."""
        asked = self._world.asked
        with contextlib.suppress(queue.Empty):
            what, task_id = asked.get(timeout=wait_s) if wait_s else asked.get_nowait()
            while True:
                self._do(what, task_id)
                what, task_id = asked.get_nowait()

    def _do(self, what: str, task_id: str) -> None:
        task = self._book.tasks[task_id]
        try:
            if what == "search":
                self._detectors.find_contributions(task)
            else:
                self._update(task)
        except ChainUnreachable:
            self._world.asked.put((what, task_id))
            raise

    def _update(self, task: Task) -> None:
        """Move one task; a fault of ours in it must not hold up the others."""
        try:
            self.tasks.update(task)
        except ChainUnreachable:
            raise
        except Exception:
            log.exception("a task cannot be moved", extra={"task": task.task_id})

    def _look_at_chain(self) -> None:
        now_s = self._world.clock.now_s()
        if now_s >= self._next_watch_s:
            self._next_watch_s = now_s + WATCH_PER_BLOCK * self._world.block_time_s
            with self._book.lock:
                watched = [one for one in self._book.tasks.values() if one.status in _WATCHED]
            for task in watched:
                self._update(task)
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + self._world.timers.poll_s
            self._find_deals()

    def _find_deals(self) -> None:
        head = self._world.chain.head()[0]
        if head == self._book.next_block - 1:
            return
        # A chain that is shorter than known began anew, or lost its last blocks.
        first = self._book.next_block if head >= self._book.next_block else 0
        for _, deal_id in self._world.chain.deals_since(first):
            self._take_on(deal_id)
        with self._book.lock:
            self._book.seen_until(head)

    def _take_on(self, deal_id: str) -> None:
        """Take on the tasks of one deal; one that cannot be read must not hold up the others."""
        try:
            deal = self._world.chain.deal(deal_id)
            reason = "" if deal else "the chain has no such deal"
        except ValueError as error:
            deal, reason = None, f"a text in it is no UTF-8 ({error})"
        if deal is None:
            log.warning("deal unreadable", extra={"deal": deal_id, "reason": reason})
            self._book.note_unreadable(deal_id, reason)
            return
        for index in range(deal.first, deal.first + deal.size):
            self.tasks.receive(deal, index, hashing.task_id(deal_id, index))


def _configuration(world: World, addresses: Addresses, required_version: str) -> dict[str, object]:
    """Return the public configuration (5.2); the session id hashes it in this order."""
    adapter = {"blockchainAdapterUrl": addresses.config_url}
    return {
        "workerPoolAddress": addresses.workerpool,
        "schedulerPublicAddress": addresses.scheduler,
        **(adapter if world.profile is Profile.V8 else {}),
        "configServerUrl": addresses.config_url,
        "resultRepositoryURL": addresses.proxy_url,
        "askForReplicatePeriod": world.ask_period_ms,
        "requiredWorkerVersion": required_version,
    }
