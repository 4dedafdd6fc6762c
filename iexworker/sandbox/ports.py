"""TCP ports of the sandbox's components: chosen, probed, awaited."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from iexworker.errors import SandboxError
from iexworker.sandbox.children import Child

READY_TIMEOUT_S = 30.0
POLL_S = 0.02


def free(host: str) -> int:
    """Ask the system for a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def taken(host: str, port: int) -> bool:
    """Tell whether a port cannot be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
        return False


def answers(host: str, port: int) -> bool:
    """Tell whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def wait_until(ready: Callable[[], bool], child: Child) -> None:
    """Wait until a component that was just started is ready; SandboxError when it dies or hangs."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not ready():
        if not child.alive:
            raise child.died()
        if time.monotonic() > deadline:
            child.stop()
            raise SandboxError(
                f"{child.name} was not ready after {READY_TIMEOUT_S:g} s; its log, {child.log}:\n"
                f"{child.log_tail()}"
            )
        time.sleep(POLL_S)
    if not child.alive:  # somebody else answered on its port
        raise child.died()
