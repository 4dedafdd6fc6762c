"""The `http` process: gunicorn with the pages of `iexworker.web`; the parent ends it by SIGQUIT.

The port is the parent's: it is bound before anybody has logged in, and stays the worker's while
this process is born again.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING

from iexworker.errors import SettingsError
from iexworker.shared.board import State
from iexworker.web.worker_view import Source

if TYPE_CHECKING:
    from iexworker.procs.context import Context

_NOT_GUNICORNS = (
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "GUNICORN_PID",
    "GUNICORN_FD",
    "PORT",
    "WEB_CONCURRENCY",
    "SENDFILE",
    "FORWARDED_ALLOW_IPS",
)
"""Variables that gunicorn would take as meant for it."""

_BACKLOG = 1024
_AGAIN_S = 0.02


def run(context: Context) -> None:
    """Serve until the parent ends it."""
    listener = context.listener
    if listener is None:
        raise ValueError(f"{context.role} has no listener")
    settings = context.settings
    board = context.board
    entry = board.entry(context.role)
    entry.write(state=State.STARTING)
    port = listener.getsockname()[1]
    board.facts.set(http_port=port)
    entry.write(state=State.IDLE, text=f"port {port}")
    for name in _NOT_GUNICORNS:
        os.environ.pop(name, None)

    from iexworker.web.app import create_app
    from iexworker.web.server import Server

    source = Source(
        board=board,
        ring=context.ring,
        exposure=settings.exposure,
        directory=settings.root,
        reported_version=settings.reported_version,
    )
    Server(listener.detach(), create_app(source), context.ready).run()


def listen(address: str, port: int, patience_s: float) -> socket.socket:
    """Return the listening socket; a port in use is tried again for `patience_s`.

    Called by the parent, before it forks. Raises `SettingsError` when the port cannot be had.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server(
                (address, port),
                family=family,
                backlog=_BACKLOG,
                dualstack_ipv6=address == "::",
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise SettingsError([_words(address, port, error)]) from error
        time.sleep(_AGAIN_S)


def _words(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"IEXEC_WORKER_PORT={port}: the port is taken on {address}; stop the program that"
            " listens there (ss -ltnp names it), or choose another, e.g. 13101"
        )
    if error.errno == errno.EACCES:
        return (
            f"IEXEC_WORKER_PORT={port}: not ours to listen on ({error.strerror}); expected a"
            " port from 1024 up, e.g. 13100"
        )
    return (
        f"IEXEC_WORKER_PORT={port}: cannot listen on address {address}: {error.strerror};"
        " expected an address of this machine, e.g. 0.0.0.0"
    )
