"""The process of scheduler, configuration server and result proxy.

Three ports, a thread a connection, and one thread that moves the tasks. SIGTERM and SIGINT end it
at once; SIGKILL leaves nothing behind but its files, from which the next start goes on.
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from iexworker import logs
from iexworker.chain.lean_web3 import restore_limit
from iexworker.errors import EXIT_UNAVAILABLE, WorkerError
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.chain.chain_view import Ledger
from iexworker.sandbox.endpoint import Server
from iexworker.sandbox.network.network import Network, load
from iexworker.sandbox.proxy.ipfs import Store
from iexworker.sandbox.proxy.proxy import ResultProxy
from iexworker.sandbox.proxy.routes import config_routes, proxy_routes
from iexworker.sandbox.scheduler.context import WallClock, World
from iexworker.sandbox.scheduler.models import Profile
from iexworker.sandbox.scheduler.push import Broker
from iexworker.sandbox.scheduler.routes import scheduler_routes
from iexworker.sandbox.scheduler.scheduler import Addresses, Scheduler
from iexworker.sandbox.scheduler.store import Book

log = logging.getLogger(__name__)

TURN_S = 0.1
"""How long the engine waits for something to do before it looks at clock and chain."""
STUMBLE_PAUSE_S = 1.0
ENGINE_PATIENCE_S = 2.0
"""How long the end waits for the engine, which may be in a call to the chain."""


class SandboxServer:
    """Everything that one network needs beside chain and registry."""

    def __init__(self, network: Network) -> None:
        """Bind the ports and read the state; nothing answers before `start`."""
        profile = Profile(network.profile)
        self._book = Book(network.book_path)
        chain = LocalChain.open(network.deployed_path)
        ledger, clock = Ledger(chain), WallClock()
        store = Store(network.store_path)
        proxy = ResultProxy(profile, clock, ledger, store, network.path / "proxy.sqlite")
        self._broker = Broker()
        world = World(
            profile=profile,
            clock=clock,
            chain=ledger,
            results=proxy,
            push=self._broker,
            timers=network.timers,
            block_time_s=network.block_time_s,
            ask_period_ms=network.ask_period_ms,
        )
        self._scheduler = _scheduler(network, chain, world, self._book)
        routes = scheduler_routes(self._scheduler, self._broker, profile, network.scheduler_url)
        results = proxy_routes(proxy, profile, self._scheduler.note_refusal)
        config = config_routes(chain.deployed["chainConfig"])
        self._servers = (
            Server(network.listen, network.scheduler_port, routes),
            Server(network.listen, network.config_port, config),
            Server(network.listen, network.proxy_port, results),
        )
        self._ended = threading.Event()
        self._engine = threading.Thread(target=self._run_engine, name="engine", daemon=True)

    def start(self) -> None:
        """Answer, and move tasks."""
        self._engine.start()
        for server in self._servers:
            server.start()

    def stop(self) -> None:
        """Stop answering and write the state."""
        self._ended.set()
        for server in self._servers:
            server.stop()
        self._broker.close()
        self._engine.join(ENGINE_PATIENCE_S)
        # Left open: a call that is still being answered writes what it changes by itself.
        self._book.flush()

    def _run_engine(self) -> None:
        while not self._ended.is_set():
            try:
                self._scheduler.turn(TURN_S)
            except Exception:
                log.exception("the engine stumbled")
                self._ended.wait(STUMBLE_PAUSE_S)


def _scheduler(network: Network, chain: LocalChain, world: World, book: Book) -> Scheduler:
    """Make the scheduler of the workerpool's owner."""
    account = chain.accounts["scheduler"]
    addresses = Addresses(
        workerpool=chain.deployed["workerpool"],
        scheduler=account.address.lower(),
        config_url=network.config_url,
        proxy_url=network.proxy_url,
    )
    version = network.required_worker_version
    return Scheduler(world, book, addresses, bytes(account.key), required_version=version)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="iexworker.sandbox.server", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="the network's folder")
    restore_limit()
    directory = parser.parse_args(arguments).dir
    logs.setup("sandbox")
    # Blocked in every thread and taken here alone, so that a signal ends us between two steps.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        network = load(directory)
        server = SandboxServer(network)
    except (WorkerError, OSError) as error:
        log.error("the server cannot start", extra={"error": str(error)})
        return EXIT_UNAVAILABLE
    server.start()
    log.info("ready", extra={"scheduler": network.scheduler_url, "profile": network.profile})
    signal.sigwait(ending)
    server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
