"""gunicorn, tamed: one ASGI worker inside a process that has a parent of its own.

Import this only in the process that serves, after `procs.http` has cleaned the environment:
gunicorn reads variables while it is imported.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

import uvloop
from falcon.asgi import App, Request, Response
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers import gasgi
from setproctitle import getproctitle, setproctitle

_PR_SET_PDEATHSIG = 1  # prctl(2)
_GRACE_S = 2
_STUCK_S = 30
_PARENT_DECIDES = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
"""Signals that systemd or a terminal sends to everyone; we end by the parent's SIGQUIT alone."""


class _Log(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's messages as events of ours, no access log."""

    def setup(self, cfg: Any) -> None:  # noqa: ANN401 - gunicorn ships no types
        """Let the events go up to the root logger instead of to a handler of gunicorn's."""
        self.cfg = cfg
        self.loglevel = logging.WARNING
        self._access_log_enabled = False
        self.error_log.setLevel(self.loglevel)
        self.error_log.propagate = True


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn on a socket that is bound already; `run` returns by `SystemExit`."""

    def __init__(
        self,
        listener_fd: int,
        app: App[Request, Response],
        on_ready: Callable[[], None],
    ) -> None:
        self._listener_fd = listener_fd
        self._app = app
        self._on_ready = on_ready
        self._title = getproctitle()
        super().__init__()

    def load_config(self) -> None:
        """Set everything that this worker decides; the rest are gunicorn's defaults."""
        for name, value in {
            "bind": f"fd://{self._listener_fd}",
            "workers": 1,
            "worker_class": gasgi.ASGIWorker,
            "asgi_loop": uvloop.__name__,
            "asgi_lifespan": "off",
            "control_socket_disable": True,
            "worker_tmp_dir": "/dev/shm",  # noqa: S108 - not a file of ours: gunicorn's heartbeat
            "timeout": _STUCK_S,
            "graceful_timeout": _GRACE_S,
            "keepalive": 75,
            "forwarded_allow_ips": "",
            "logger_class": _Log,
            "when_ready": _ignore_signals,
            "pre_fork": self._before_fork,
            "post_fork": _die_with_parent,
            "post_worker_init": self._serving,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> App[Request, Response]:
        """Return the application, made before the fork: arbiter and worker share its pages."""
        return self._app

    def _before_fork(self, arbiter: object, worker: object) -> None:
        """Take back the process title, which gunicorn has changed; keep pages shared."""
        setproctitle(self._title)
        gc.collect()
        gc.freeze()

    def _serving(self, worker: Any) -> None:  # noqa: ANN401 - gunicorn ships no types
        """Undo the worker's own handlers; the socket listens: from here on it is answered."""
        setproctitle(self._title)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            worker.loop.remove_signal_handler(number)
        _ignore_signals()
        # gunicorn's own handler would be looked at within a second; no answer of ours takes long.
        worker.loop.add_signal_handler(signal.SIGQUIT, os._exit, 0)
        self._on_ready()


def _ignore_signals(arbiter: object = None) -> None:
    for number in _PARENT_DECIDES:
        signal.signal(number, signal.SIG_IGN)


def _die_with_parent(arbiter: object, worker: Any) -> None:  # noqa: ANN401 - no types
    """Let the worker end when gunicorn's arbiter is killed, so that its port is free again."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker.ppid:
        os._exit(0)
