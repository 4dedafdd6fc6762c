"""The process `scheduling` as it is, in a thread, against a sandbox scheduler over real HTTP.

Its chain is the pool's (pool_chain.py), its slots are scripted, and the scheduler's clock runs
some times as fast as ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from iexworker import locks
from iexworker.compute.folders import TaskFolder
from iexworker.poco.models import TaskDescription
from iexworker.procs import scheduling
from iexworker.procs.context import SCHEDULING, WALLET_PASSWORD, Channels, Context, roles
from iexworker.sandbox.endpoint import Request, Response, Routes, Server, as_json
from iexworker.sandbox.scheduler.models import Task
from iexworker.sandbox.scheduler.push import Broker
from iexworker.sandbox.scheduler.routes import scheduler_routes
from iexworker.scheduling import probes
from iexworker.scheduling.connection import Connection
from iexworker.scheduling.containers import EngineContainers
from iexworker.scheduling.uploads import Uploads
from iexworker.secrets import Secrets
from iexworker.settings.model import load
from iexworker.shared.board import Board
from iexworker.shared.channels import Channel, Order, Stop
from iexworker.shared.ring import Ring
from iexworker.task.replicate import Replicate
from iexworker.wallet import Wallet
from tests.hazards.helpers.hazard_check import patience_s
from tests.hazards.helpers.pool_chain import PoolNode
from tests.hazards.helpers.scheduling_harness import CHAIN, TIMERS, hurried
from tests.hazards.helpers.scripted_slot import finished
from tests.helpers.fake_gateway import gateway_class
from tests.helpers.sandbox_pool import LINK, Pool

PASSWORD = "hazards"
POLL_S = 0.01
FASTER = 10
ASK_PERIOD_MS = 100
GRACE_S = 1.6
"""Not much more than what the end itself takes."""

Scenario = Callable[["SchedulingProcess"], None]


class SchedulerServer:
    """The scheduler on a port; what was asked of it, and its faults."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.calls: Counter[str] = Counter()
        self.loses_grants = False
        """A task is granted, and the answer cannot be read."""
        self.unavailable: set[str] = set()
        """Statuses whose update gets 503."""
        broker = Broker()
        pool.push = broker  # type: ignore[assignment]  # the real one
        pool.start()
        self._routes = scheduler_routes(pool.scheduler, broker, pool.profile, "http://unused")
        routes = [
            (method, pattern, self._answer) for method in ("GET", "POST") for pattern in ("/.*",)
        ]
        self._server = Server("127.0.0.1", 0, Routes(routes))
        self.url = f"http://127.0.0.1:{self._server.port}"
        pool.scheduler.configuration.update(
            configServerUrl=self.url,
            resultRepositoryURL=self.url,
            askForReplicatePeriod=ASK_PERIOD_MS,
        )
        self._broker = broker
        self._ended = threading.Event()
        self._engine = threading.Thread(target=self._turn)
        self._server.start()
        self._engine.start()

    def close(self) -> None:
        self._ended.set()
        self._engine.join()
        self._broker.close()
        self._server.stop()
        self.pool.book.close()

    def _turn(self) -> None:
        """Let time pass; every worker pings."""
        while not self._ended.wait(POLL_S):
            self.pool.pass_time(POLL_S * FASTER, pinging=list(self.pool.book.workers))

    def _answer(self, request: Request) -> Response:
        call = request.path.split("/")[-1]
        self.calls[call] += 1
        if request.path == "/config/chain":
            return as_json(_CONFIGURATION)
        if call == "updateStatus" and json.loads(request.body)["status"] in self.unavailable:
            return Response(503)
        loses_it = call == "available" and self.loses_grants  # before the grant can be seen
        answer = self._routes.answer(request)
        if loses_it and answer.status == 200:
            return Response(200, "application/json", b'{"workerpoolAuthor')
        return answer


_CONFIGURATION = {
    "chainId": CHAIN.chain_id,
    "sidechain": True,
    "chainNodeUrl": CHAIN.node_url,
    "iexecHubContractAddress": CHAIN.hub_address,
    "blockTime": "PT1S",
}


class Containers(EngineContainers):
    """An engine that answers; what a start does to it may take its time."""

    reconciling: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, address: str, wallet: str) -> None:
        pass

    def ping(self) -> None:
        pass

    def runtimes(self) -> tuple[str, ...]:
        return ()

    def kill_task(self, task_id: str) -> None:
        pass

    def owned(self) -> dict[str, str]:
        type(self).reconciling()
        return {}


class SchedulingProcess:
    """One worker's folder and wallet, its scheduler and chain; processes come and go."""

    def __init__(self, folder: Path, slots: int) -> None:
        key = secrets.token_bytes(32)
        self.wallet = Wallet(key).address
        keystore = Account.encrypt(key, PASSWORD, kdf="scrypt", iterations=2)
        (folder / "wallet.json").write_text(json.dumps(keystore))
        self.pool = Pool(timers=TIMERS)
        self.core = SchedulerServer(self.pool)
        self.node = PoolNode(self.pool, self.wallet)
        self.slots = slots
        self.held: set[str] = set()
        environ = {
            "IEXEC_CORE_URL": self.core.url,
            "IEXEC_WORKER_NAME": "worker",
            "IEXEC_WORKER_BASE_DIR": str(folder),
            "IEXEC_WORKER_WALLET_PATH": str(folder / "wallet.json"),
            "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": str(slots),
        }
        self.settings = load(environ, config_dirs=()).settings
        self.settings.root.mkdir()
        self.connection: list[Connection] = []
        self._process: threading.Thread | None = None

    # --- the process -----------------------------------------------------------------------------

    def start(self) -> SchedulingProcess:
        """Start the process."""
        self._channels = Channels.create(self.slots)
        self._control = Channel("control")
        self._reports = Channel("reports")
        self._failures: list[BaseException] = []
        context = Context(
            role=SCHEDULING,
            slot=None,
            settings=self.settings,
            board=Board.create(roles(self.slots)),
            ring=Ring.create(self.slots, 10),
            channels=self._channels,
            control=self._control,
            reports=self._reports,
            secrets=Secrets({WALLET_PASSWORD: PASSWORD}),
            boot_id="hazards",
            parent_pid=os.getppid(),
            fail_fast=False,
        )
        outside = scheduling.Outside(lambda: gateway_class(self.node), Containers)
        self._left = threading.Event()
        self._process = threading.Thread(target=self._run, args=(context, outside))
        self._worker = threading.Thread(target=self._work)
        self._process.start()
        self._worker.start()
        return self

    def stop(self) -> None:
        """Stop the process in good order, as the parent does."""
        if self._process is None:
            return
        self._control.put_nowait(Stop(GRACE_S))
        self._process.join()
        self._left.set()
        self._worker.join()
        for connection in self.connection:
            connection.stream.stop()  # the thread would end with its process
        self.connection.clear()
        self._process = None
        channels = self._channels
        for channel in (
            *(*channels.orders, *channels.outcomes, channels.tokens, channels.heartbeat_events),
            *(self._control, self._reports),
        ):
            channel.close()

    def close(self) -> None:
        self.stop()
        self.core.close()

    def _run(self, context: Context, outside: scheduling.Outside) -> None:
        try:
            scheduling.run(context, outside)
        except BaseException as error:  # noqa: BLE001 - whatever ends it, the test has to hear of it
            self._failures.append(error)

    def _work(self) -> None:
        """Be the slots."""
        while not self._left.wait(POLL_S):
            for index, channel in enumerate(self._channels.orders):
                while not channel.empty():
                    message = channel.get_nowait()
                    if isinstance(message, Order) and message.step not in self.held:
                        outcome = finished(self.files(message.task_id), message)
                        self._channels.outcomes[index].put_nowait(outcome)

    # --- what a scenario does ----------------------------------------------------------------

    def files(self, task_id: str) -> TaskFolder:
        """Return a task's folder."""
        return TaskFolder(self.settings.task_dir(task_id))

    def buy(self, number: int = 1) -> Task:
        """Buy a task."""
        return self.pool.buy(number)

    def statuses(self, task: Task) -> list[str]:
        """Return what the scheduler has recorded of our replicate."""
        replicate = task.replicates.get(self.wallet)
        return [] if replicate is None else [one.status.value for one in replicate.history]

    def comes_to(self, task: Task, name: str) -> None:
        """Wait until the scheduler has recorded this status."""
        self.until(lambda: name in self.statuses(task), lambda: f"{name}: {self.statuses(task)}")

    def completes(self, task: Task) -> None:
        """Wait until the task is COMPLETED."""
        self.comes_to(task, "COMPLETED")

    def until(self, look: Callable[[], bool], what: Callable[[], str]) -> None:
        """Wait for what the process does."""
        until_s = time.monotonic() + patience_s()
        while not look():
            assert not self._failures, f"the process has left: {self._failures}"
            assert time.monotonic() < until_s, f"waited in vain: {what()}"
            time.sleep(POLL_S)


def run_scenario(scenario: Scenario, *, slots: int = 1) -> None:
    """Run one scenario with a process of its own."""
    with _prepared(slots) as process:
        scenario(process)


@contextlib.contextmanager
def _prepared(slots: int) -> Iterator[SchedulingProcess]:
    with (
        tempfile.TemporaryDirectory() as folder,
        hurried(),
        pytest.MonkeyPatch.context() as patch,
    ):
        process = SchedulingProcess(Path(folder), slots)

        async def upload(
            _: Uploads, replicate: Replicate, description: TaskDescription, files: Path
        ) -> str:
            assert TaskFolder(files).archive.is_file(), "no archive"
            process.pool.results.tasks.add(replicate.task_id)
            return LINK

        class Noted(Connection):
            def __init__(self, *parts: Any, **options: Any) -> None:
                super().__init__(*parts, **options)
                process.connection.append(self)

        patch.setattr(Uploads, "upload", upload)
        patch.setattr(scheduling, "Connection", Noted)
        # A thread holds the wallet longer than it lives; a process does not.
        patch.setattr(locks, "confirm_address", lambda *_: None)
        patch.setattr(probes, "HEAD_EVERY_S", 0.1)
        patch.setattr(scheduling, "TURN_S", 0.05)
        patch.setattr(Containers, "reconciling", staticmethod(lambda: None))
        try:
            yield process
        finally:
            process.close()
