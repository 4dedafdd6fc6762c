"""A child of the parent: how it is born, what it must never inherit, how it leaves."""

from __future__ import annotations

import ctypes
import importlib
import logging
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable
from multiprocessing.context import ForkProcess

from setproctitle import setproctitle

from iexworker import logs
from iexworker.errors import EXIT_INTERNAL, WorkerError
from iexworker.procs.context import HTTP, SCHEDULING, SLOT_PREFIX, Context
from iexworker.shared.board import State
from iexworker.shared.channels import Channel
from iexworker.supervisor.restart import RestartPolicy

Run = Callable[[Context], None]
"""A process: it returns when it was told to stop, or raises."""

RunOf = Callable[[str], Run]
"""Finds the process of a role; called in the child, so that only it pays for the import."""

_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_DEFAULT = (signal.SIGCHLD,)
_SHARED_BY_MANY = ("asyncio", "docker", "iexworker.core.client", "iexworker.shared.handoff")
_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)
_fork = multiprocessing.get_context("fork")

log = logging.getLogger(__name__)


def import_run(role: str) -> Run:
    """Return `iexworker.procs.<kind>.run`; the kind of `compute-0` is `compute`."""
    run: Run = importlib.import_module(f"iexworker.procs.{role.partition('-')[0]}").run
    return run


def preload(role: str) -> None:
    """Import, in the parent, what the process to be forked shares with others of its tree.

    Each would otherwise import it for itself, in time and in memory.
    """
    for shared in _SHARED_BY_MANY:
        importlib.import_module(shared)
    if role.startswith(SLOT_PREFIX):
        importlib.import_module("iexworker.procs.compute")


class Child:
    """One role of the tree and the process that plays it now, if any."""

    def __init__(self, role: str, slot: int | None, *, fail_fast: bool) -> None:
        self.role = role
        self.slot = slot
        self.control = Channel(f"control-{role}")
        self.reports = Channel(f"reports-{role}")
        self.policy = RestartPolicy(fail_fast=fail_fast)
        self.process: ForkProcess | None = None
        self.ready = False
        self.born_at = 0.0
        """Monotonic instant of the last fork."""
        self.due_at: float | None = 0.0
        """Monotonic instant of the next fork, None while the process lives or is not wanted."""
        self.restarts = 0
        self.stale = False
        """Born with other settings than those of now."""
        self.renewing = False
        """Killed by us, to be born again with other settings."""

    @property
    def pid(self) -> int | None:
        """The pid of the living process."""
        return None if self.process is None else self.process.pid

    def be_born(
        self, context: Context, run_of: RunOf, release: Callable[[], None], now: float
    ) -> None:
        """Fork; `release` closes in the child what belongs to the parent alone."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.process = _fork.Process(
                target=_live, name=self.role, args=(context, run_of, release, before)
            )
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.ready = False
        self.stale = False
        self.due_at = None
        self.born_at = now

    def exit_code(self) -> int | None:
        """Return the exit code (negative: the signal) of a process that has ended; reaps it."""
        return None if self.process is None else self.process.exitcode

    def bury(self) -> None:
        """Forget the process that has ended."""
        if self.process is not None:
            self.process.close()
        self.process = None
        self.ready = False

    def renew(self) -> None:
        """Replace the living process: whatever it does, its successor goes on with it."""
        if self.pid is not None and not self.renewing:
            self.renewing = True
            self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the living process; none lives, nothing is sent."""
        if self.pid is not None:
            os.kill(self.pid, number)


def _live(context: Context, run_of: RunOf, release: Callable[[], None], mask: set[int]) -> None:
    """Be the child: from the fork to its exit."""
    _settle(context.parent_pid, mask)
    release()
    if context.role != SCHEDULING:
        context.secrets.close()
    if context.role != HTTP and context.listener is not None:
        context.listener.close()
    settings = context.settings
    entry = context.board.entry(context.role)
    logs.setup(context.role, settings.log_level, as_json=settings.log_json, count=entry.count_event)
    entry.write(state=State.STARTING, task="", step="", text="")
    setproctitle(f"iexworker: {context.role}")
    random.seed()
    _leave(_exit_code_of(run_of, context))


def _settle(parent_pid: int, mask: set[int]) -> None:
    """Take up the signals of a child, and die with the parent."""
    signal.set_wakeup_fd(-1)
    for number in _IGNORED:
        # systemd and a terminal signal everyone: the parent alone decides what that means.
        signal.signal(number, signal.SIG_IGN)
    for number in _DEFAULT:
        signal.signal(number, signal.SIG_DFL)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(EXIT_INTERNAL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _exit_code_of(run_of: RunOf, context: Context) -> int:
    """Run the process; every end of it has an exit code, and words in the log."""
    try:
        run_of(context.role)(context)
    except WorkerError as error:
        log.error("process gives up", extra={"error": str(error), "exit": error.exit_code})
        return error.exit_code
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else EXIT_INTERNAL
    except BaseException:
        log.critical("process failed", exc_info=True)
        return EXIT_INTERNAL
    return 0


def _leave(exit_code: int) -> None:
    """End the process at once: exit handlers belong to the parent, threads may be stuck."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(exit_code)


def how_it_ended(exit_code: int) -> dict[str, object]:
    """Return the facts of a process's end: its exit code, or the signal that ended it."""
    if exit_code >= 0:
        return {"exit": exit_code}
    return {"signal": signal.Signals(-exit_code).name}
