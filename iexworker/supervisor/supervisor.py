"""The parent: it makes what the processes share, forks them, and keeps them alive.

One `selectors` loop, no thread, no network, no Docker, no protocol work; a child serves the port
that it binds. A child that is stopped, stuck or dead never holds it: every send and every read is
non-blocking.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import queue
import resource
import selectors
import signal
import time
from collections.abc import Callable, Collection, Mapping, MutableMapping
from dataclasses import replace

from setproctitle import setproctitle

from iexworker import logs, machine
from iexworker.control import ControlServer
from iexworker.errors import EXIT_INTERNAL, EXIT_OK
from iexworker.locks import PATIENCE_S, hang_up
from iexworker.procs.context import (
    HEARTBEAT,
    HTTP,
    SCHEDULING,
    SUPERVISOR,
    WALLET_PASSWORD,
    Channels,
    Context,
    compute_role,
    roles,
)
from iexworker.secrets import Secrets
from iexworker.settings.capacity import ask_for_descriptors
from iexworker.settings.model import Loaded, Settings
from iexworker.settings.reload import Change, read_again
from iexworker.shared.board import Board, State
from iexworker.shared.channels import Ready
from iexworker.shared.ring import Ring
from iexworker.supervisor import status, stop_words
from iexworker.supervisor.child import Child, RunOf, how_it_ended, import_run, preload
from iexworker.supervisor.holdings import Holdings
from iexworker.supervisor.orders import Orders
from iexworker.supervisor.pause import Pause
from iexworker.supervisor.report import report
from iexworker.supervisor.restart import GiveUp
from iexworker.supervisor.shutdown import Shutdown
from iexworker.supervisor.signals import SignalQueue
from iexworker.supervisor.systemd import Notifier
from iexworker.web.worker_view import Source

STUCK_AFTER_S = 60.0
"""How long a loop may stand still before the watchdog is no longer fed."""

SLOTS_AFTER_S = 0.5
"""How much later than the others the slots are born: no work comes before the login, which
needs the machine's few cores until then."""

_TURN_S = 1.0
_WATCHED = (HEARTBEAT, SCHEDULING)

log = logging.getLogger(__name__)


class Supervisor:
    """A tree of processes, from the locks to the exit code."""

    def __init__(
        self,
        settings: Settings,
        environ: MutableMapping[str, str],
        *,
        fail_fast: bool = False,
        reload: Callable[[], Loaded] | None = None,
        told: Collection[str] = (),
        hidden: Secrets | None = None,
        run_of: RunOf = import_run,
        preload: Callable[[str], None] = preload,
        patience_s: float = PATIENCE_S,
        stuck_after_s: float = STUCK_AFTER_S,
        slots_after_s: float = SLOTS_AFTER_S,
    ) -> None:
        self._started_s = time.time()
        self._settings = replace(settings, wallet_password="")
        self._secrets = Secrets({WALLET_PASSWORD: settings.wallet_password})
        self._notifier = Notifier.take(environ)
        self._fail_fast = fail_fast
        self._reload = reload or (lambda: Loaded(settings, {}, ()))
        self._told = told
        self._hidden = hidden
        self._run_of = run_of
        self._preload = preload
        self._patience_s = patience_s
        self._stuck_after_s = stuck_after_s
        self._slots_after_s = slots_after_s
        slots = machine.slots(settings.cpu_override, settings.gpu_enabled)
        self._names = roles(slots)
        self._slots = {compute_role(slot): slot for slot in range(slots)}
        self._held = Holdings()
        self._exit_code = EXIT_OK
        self._shutdown: Shutdown | None = None
        self._fed_at = 0.0
        self._board_version = -1

    def run(self) -> int:
        """Serve until told to stop; returns the exit code, raises what forbids the start."""
        self._held.take(self._settings, self._patience_s)
        # A core file would hold the wallet's key.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ask_for_descriptors(len(self._slots))
        self._open()
        try:
            return self._loop()
        finally:
            self._kill_all()
            self._close()

    def _open(self) -> None:
        """Make everything that children share, then what is the parent's alone."""
        self._boot_id = os.urandom(8).hex()
        self._board = Board.create((SUPERVISOR, *self._names))
        self._entry = self._board.entry(SUPERVISOR)
        self._ring = Ring.create(max(len(self._slots), 1), self._settings.window_size)
        self._channels = Channels.create(len(self._slots))
        self._children = {
            role: Child(role, self._slots.get(role), fail_fast=self._fail_fast)
            for role in self._names
        }
        self._set_up_log()
        self._board.facts.set(started_s=self._started_s)
        self._pausing = Pause(self._settings.root, self._board.facts)
        self._pausing.recall()
        self._entry.write(state=State.STARTING)
        setproctitle(f"iexworker: {SUPERVISOR}")
        self._selector = selectors.DefaultSelector()
        self._signals = SignalQueue()
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signals)
        orders = Orders(
            self._board.facts,
            self._pausing,
            self._status,
            lambda: self._stop_in_order({"by": "drain"}),
            self._read_settings_again,
            lambda: self._settings.shutdown_grace_s,
        )
        self._control = ControlServer(self._settings.root, self._selector, orders.verbs())
        for child in self._children.values():
            self._selector.register(
                child.reports, selectors.EVENT_READ, lambda _events, child=child: self._hear(child)
            )
        if (asked := self._held.locks.address_socket) is not None:
            self._selector.register(asked, selectors.EVENT_READ, lambda _events: hang_up(asked))

    def _set_up_log(self) -> None:
        logs.setup(
            SUPERVISOR,
            self._settings.log_level,
            as_json=self._settings.log_json,
            count=self._entry.count_event,
        )

    def _release(self) -> None:
        """Close, in a child, what belongs to the parent."""
        if self._hidden is not None:
            self._hidden.close()
        self._selector.close()
        self._signals.close()
        self._control.close(unlink=False)
        self._notifier.close()
        self._held.locks.close()

    def _close(self) -> None:
        self._signals.restore()
        self._selector.close()
        self._control.close(unlink=True)
        self._notifier.close()
        self._held.close()

    def _loop(self) -> int:
        log.info(
            "worker starts",
            extra={"pid": os.getpid(), "slots": len(self._slots), "boot": self._boot_id},
        )
        for role in self._slots:
            self._children[role].due_at = time.monotonic() + self._slots_after_s
        while True:
            now = time.monotonic()
            self._renew_stale()
            self._start_due(now)
            if self._shutdown is not None and self._shutdown.step(now):
                return self._leave()
            self._show(now)
            for key, events in self._selector.select(self._pause(now)):
                key.data(events)
            self._reap()

    def _pause(self, now: float) -> float:
        """Return how long nothing is due."""
        due = [child.due_at for child in self._children.values() if child.due_at is not None]
        if self._shutdown is not None:
            due = [self._shutdown.until]
        fed_every_s = self._notifier.watchdog_s
        turn = _TURN_S if fed_every_s is None else min(_TURN_S, fed_every_s / 3)
        return max(0.0, min([turn, *(instant - now for instant in due if instant > now)]))

    # Births and deaths

    def _start_due(self, now: float) -> None:
        if self._shutdown is not None:
            return
        for child in self._children.values():
            if child.due_at is not None and child.due_at <= now:
                self._preload(child.role)
                gc.freeze()  # what is shared stays so: no collection in a child touches it
                child.be_born(self._context(child), self._run_of, self._release, now)

    def _context(self, child: Child) -> Context:
        return Context(
            role=child.role,
            slot=child.slot,
            settings=self._settings,
            board=self._board,
            ring=self._ring,
            channels=self._channels,
            control=child.control,
            reports=child.reports,
            secrets=self._secrets,
            boot_id=self._boot_id,
            parent_pid=os.getpid(),
            # A process born later meets an outage, not a bad start.
            fail_fast=self._fail_fast and self._board.facts.read().ready_s is None,
            listener=self._held.listener,
        )

    def _hear(self, child: Child) -> None:
        """Take what a child reports."""
        with contextlib.suppress(queue.Empty):
            while True:
                if isinstance(child.reports.get_nowait(), Ready) and not child.ready:
                    child.ready = True
                    child.policy.ready(time.monotonic())
                    self._all_ready()

    def _all_ready(self) -> None:
        if self._shutdown is not None or not all(item.ready for item in self._children.values()):
            return
        self._entry.write(state=State.IDLE)
        if self._board.facts.read().ready_s is None:
            self._board.facts.set(ready_s=time.time())
            self._notifier.ready()
            log.info("worker ready", extra={"seconds": time.time() - self._started_s})

    def _reap(self) -> None:
        """Take the exit codes of children that have ended, and as PID 1 those of orphans."""
        for child in self._children.values():
            exit_code = child.exit_code()
            if exit_code is not None:
                self._hear(child)  # it may have been ready just before
                self._died(child, exit_code)
        known = {child.pid for child in self._children.values()}
        with contextlib.suppress(ChildProcessError):
            while (end := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if end.si_pid in known:  # its turn comes: SIGCHLD has woken the loop
                    break
                os.waitpid(end.si_pid, os.WNOHANG)

    def _died(self, child: Child, exit_code: int) -> None:
        pid = child.pid
        child.bury()
        facts: dict[str, object] = {"child": child.role, "pid": pid, **how_it_ended(exit_code)}
        self._board.entry(child.role).write(state=State.DOWN, task="", step="", text="", pid=0)
        if self._shutdown is not None:
            self._shutdown.died(child, exit_code)
            if child.role == HTTP:
                self._held.close_port()
            log.info("process left", extra=facts)
            return
        now = time.monotonic()
        if child.renewing:
            child.renewing = False
            child.due_at = now
            log.info("process replaced", extra=facts)
            return
        verdict = child.policy.died(exit_code, now)
        if isinstance(verdict, GiveUp):
            log.critical("worker gives up", extra=facts)
            self._stop(verdict.exit_code)
            return
        child.due_at = now + verdict.delay_s
        self._entry.write(state=State.BUSY)
        child.restarts += 1
        restarts = {item.role: item.restarts for item in self._children.values() if item.restarts}
        self._board.facts.set(restarts=restarts)
        log.error("process died", extra={**facts, "again_in_s": verdict.delay_s})

    # Signals and the stop

    def _on_signals(self, _events: int) -> None:
        for number in self._signals.read():
            if number in (signal.SIGTERM, signal.SIGINT):
                self._on_stop(number)
            elif number == signal.SIGHUP and self._shutdown is None:
                self._read_settings_again()

    def _read_settings_again(self) -> tuple[Change, list[str]]:
        """Take up what can be taken up; return it, and the slots that take it up later."""
        in_use = replace(self._settings, wallet_password=self._secrets.get(WALLET_PASSWORD))
        change = read_again(in_use, self._told, self._reload)
        self._settings = replace(change.settings, wallet_password="")
        if not change.taken:
            return change, []
        self._set_up_log()
        for child in self._children.values():
            child.stale = change.renews
        busy = [role for role in self._slots if change.renews and self._busy(role)]
        if busy:
            log.info("slots take the settings when their task is over", extra={"slots": busy})
        self._renew_stale()
        return change, busy

    def _renew_stale(self) -> None:
        """Replace the processes that have other settings, each when it has no task in hand."""
        for child in self._children.values():
            if child.stale and self._shutdown is None and not self._busy(child.role):
                child.renew()

    def _busy(self, role: str) -> bool:
        return self._board.entry(role).read().state is State.BUSY

    def _on_stop(self, number: signal.Signals) -> None:
        if self._shutdown is None:
            self._stop_in_order({"signal": number.name})
            return
        log.warning("stop asked for again: leaving at once", extra={"signal": number.name})
        self._exit_code = 128 + number
        self._kill_all()

    def _stop_in_order(self, asked: Mapping[str, object]) -> None:
        """Begin the orderly stop, and say whom it waits for."""
        stop_words.tell(asked, self._board.facts.read(), self._settings.shutdown_grace_s)
        self._stop(EXIT_OK)

    def _stop(self, exit_code: int) -> None:
        if self._shutdown is not None:
            return
        self._exit_code = exit_code
        self._notifier.stopping()
        until_s = time.time() + self._settings.shutdown_grace_s
        self._board.facts.set(stopping=True, stopping_until_s=until_s)
        self._entry.write(state=State.STOPPING)
        children = list(self._children.values())
        for child in children:
            child.due_at = None
        self._shutdown = Shutdown(children, self._settings.shutdown_grace_s, time.monotonic())

    def _leave(self) -> int:
        orderly = self._shutdown is not None and self._shutdown.orderly
        code = self._exit_code if orderly or self._exit_code != EXIT_OK else EXIT_INTERNAL
        log.info("worker stopped", extra={"exit": code, "orderly": orderly})
        return code

    def _kill_all(self) -> None:
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGKILL)

    # What others see

    def _show(self, now: float) -> None:
        """Tick, feed the watchdog, tell systemd what has changed."""
        self._entry.tick()
        self._control.expire(now)
        every_s = self._notifier.watchdog_s
        if every_s is not None and now - self._fed_at >= every_s / 4 and self._loops_turn(now):
            self._fed_at = now
            self._notifier.alive()
        if self._notifier.heard and self._board.version != self._board_version:
            self._board_version = self._board.version
            self._notifier.status(status.headline(self._status()))

    def _loops_turn(self, now: float) -> bool:
        """Whether no watched process is stuck; one that is dead is dealt with, not stuck."""
        for role in _WATCHED:
            child = self._children[role]
            turned_at = max(self._board.entry(role).read().tick_ns / 1e9, child.born_at)
            if child.process is not None and now - turned_at > self._stuck_after_s:
                return False
        return True

    def _status(self) -> status.Report:
        ready = {child.role for child in self._children.values() if child.ready}
        source = Source(self._board, self._ring, directory=self._settings.root)
        return report(source, ready, os.getpid())
