"""The scheduling process: the only one that talks to scheduler, chain and result proxy for tasks.

Wires the parts; each part is a module of `task`, `core` or `chain`. The order of a start
(docs/spec/04, 11.1): wallet and journal; then, side by side, the scheduler (terms, login,
registration, channel) and the chain (node, recovery of the journal's tasks); then demand.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iexworker import locks, machine, outage
from iexworker import wallet as wallets
from iexworker.core.client import SchedulerClient
from iexworker.core.login import Tokens
from iexworker.core.messages import Notification, Registration
from iexworker.core.session import Session
from iexworker.errors import JournalError, JournalFull, SettingsError
from iexworker.procs.context import SCHEDULING, WALLET_PASSWORD, Context
from iexworker.scheduling.connection import Connection, SchedulerLink
from iexworker.scheduling.containers import EngineContainers
from iexworker.scheduling.probes import HostProbe
from iexworker.scheduling.service import Service, import_gateway
from iexworker.scheduling.slots import Slots
from iexworker.scheduling.task_loop import Parts
from iexworker.settings.model import Settings
from iexworker.shared.board import State
from iexworker.shared.channels import Channel, Outcome
from iexworker.task.journal import JOURNAL_NAME, Journal, open_journal
from iexworker.wallet import Wallet

if TYPE_CHECKING:
    from iexworker.scheduling.chain_gateway import ChainGateway

TURN_S = 1.0
LEAVE_S = 1.5
"""What the end itself takes, out of the grace: whoever overstays it is killed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outside:
    """Chain and Docker, which the replay of recordings scripts: there nothing else can."""

    import_gateway: Callable[[], type[ChainGateway]] = import_gateway
    containers_class: type[EngineContainers] = EngineContainers


_REAL = Outside()


def run(context: Context, outside: Outside = _REAL) -> None:
    """Serve until the parent says stop."""
    asyncio.run(_serve(context, outside))


async def _serve(context: Context, outside: Outside) -> None:
    wallet = _opened_wallet(context)
    journal = await _opened_journal(context)
    if journal is None:
        return
    scheduling = Scheduling(context, outside, wallet, journal)
    try:
        await scheduling.serve()
    except BaseExceptionGroup as group:
        # The first failure ends the process; the parent reads its exit code.
        raise group.exceptions[0] from None


@dataclass(frozen=True, slots=True)
class HeldWallet:
    """The wallet, and what holds it where its file declares no address."""

    wallet: Wallet
    held: socket.socket | None
    """Kept as long as the process lives."""


def _opened_wallet(context: Context) -> HeldWallet:
    context.board.entry(SCHEDULING).write(state=State.STARTING, text="opening the wallet")
    password = context.secrets.get(WALLET_PASSWORD)
    wallet = wallets.load(context.settings.wallet_path, password)
    held = locks.confirm_address(wallet.address, context.parent_pid)
    context.board.facts.set(wallet=wallet.address)
    log.info("wallet opened", extra={"wallet": wallet.address})
    return HeldWallet(wallet, held)


async def _opened_journal(context: Context) -> Journal | None:
    """Open the journal; where its disk is full, wait for room, which readiness tells.

    Returns None when told to stop meanwhile; raises `SettingsError` where waiting would not help.
    """
    entry, facts = context.board.entry(SCHEDULING), context.board.facts
    said = ""
    while context.stop_order() is None:
        entry.tick()
        try:
            return open_journal(context.settings.root / JOURNAL_NAME)
        except JournalError as error:
            if context.fail_fast or not isinstance(error, JournalFull):
                raise SettingsError([f"IEXEC_WORKER_BASE_DIR: {error}"]) from None
            words = f"{error}: make room, or look at the disk"
        if words != said:
            said = words
            log.error("journal cannot be written, waiting for room", extra={"error": words})
            facts.set(disk_ok=False, disk_text=words)
            entry.write(state=State.IDLE, text="waiting for room on the disk")
            # A service manager would take a long start for a failed one.
            context.ready()
        await asyncio.sleep(TURN_S)
    return None


class Scheduling:
    """All parts of the process, put together."""

    def __init__(
        self, context: Context, outside: Outside, held: HeldWallet, journal: Journal
    ) -> None:
        self._context = context
        settings, facts = context.settings, context.board.facts
        self._entry = context.board.entry(SCHEDULING)
        self._held_wallet = held
        wallet = held.wallet
        client = SchedulerClient(settings.core_url)
        tokens = Tokens(client, wallet)
        containers = outside.containers_class(settings.docker_host, wallet.address)
        self._host = HostProbe(
            facts,
            settings.root,
            containers,
            gpu=settings.gpu_enabled,
            gpus_to_apps=settings.gpus_to_apps,
            fail_fast=context.fail_fast,
        )
        self._slots = Slots(context.channels.orders, self._outcome)
        session = Session(
            client,
            tokens,
            registration(settings, wallet.address),
            profile=settings.profile,
            reported_version=settings.reported_version,
            pool_address=settings.pool_address,
        )
        self._connection = Connection(
            SchedulerLink(client, tokens, session, context.channels.tokens),
            journal,
            facts,
            wallet.address,
            self._notification,
            fail_fast=context.fail_fast,
        )
        self._service = Service(
            Parts(
                settings=settings,
                wallet=wallet,
                journal=journal,
                facts=facts,
                client=client,
                tokens=tokens,
                connection=self._connection,
                slots=self._slots,
                containers=containers,
                host=self._host,
            ),
            outside.import_gateway,
            fail_fast=context.fail_fast,
        )

    async def serve(self) -> None:
        """Serve until the stop is done."""
        self._listen()
        self._entry.write(state=State.IDLE, text="")
        self._context.ready()
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(loop)
                for loop in (self._connection.run(), self._service.run(), self._host.run())
            ]
            await self._turn_until_stopped()
            for task in loops:
                task.cancel()

    def _listen(self) -> None:
        channels = self._context.channels
        loop = asyncio.get_running_loop()
        for index, channel in enumerate(channels.outcomes):
            loop.add_reader(channel.fileno(), self._hear_slot, index, channel)
        events = channels.heartbeat_events
        loop.add_reader(events.fileno(), self._connection.hear_heartbeat, events)

    def _hear_slot(self, index: int, channel: Channel) -> None:
        while True:
            try:
                message = channel.get_nowait()
            except queue.Empty:
                return
            self._slots.heard(index, message)

    def _notification(self, message: Notification) -> None:
        self._service.notify(message)

    def _outcome(self, message: Outcome) -> None:
        self._service.outcome(message)

    async def _turn_until_stopped(self) -> None:
        """Turn the small wheels; return when the parent's grace is over or nothing is left."""
        until_s: float | None = None
        while until_s is None or (time.monotonic() < until_s and not self._service.idle()):
            self._entry.tick()
            self._slots.retry()
            self._connection.share_token()
            self._service.show()
            outage.remind()
            stop = self._context.stop_order()
            if stop is not None and until_s is None:
                until_s = time.monotonic() + stop.grace_s - LEAVE_S
                self._entry.write(state=State.STOPPING)
                self._service.drain()
            await asyncio.sleep(TURN_S)


def registration(settings: Settings, wallet: str) -> Registration:
    """Return what the worker says of itself (docs/spec/02, 5.2)."""
    return Registration(
        name=settings.name,
        wallet=wallet,
        os=machine.operating_system(),
        cpu=machine.architecture(),
        cpu_count=machine.reported_cpus(settings.cpu_override),
        memory_gib=machine.memory_gib(),
        gpu=settings.gpu_enabled,
        tee=False,
    )
