"""TCP ports of the sandbox's components: chosen, probed, awaited."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

from iexworker.errors import SandboxError
from iexworker.sandbox.network.processes import Child

READY_TIMEOUT_S = 30.0
POLL_S = 0.02
_TRIES = 100
_LOWEST = 10_240
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free(host: str) -> int:
    """Return a port that nobody listens on, chosen at random.

    Not one of those that the system gives to outgoing connections: the next one might take it
    before its component listens.
    """
    highest = int(_EPHEMERAL.read_text().split()[0]) - 1
    if highest <= _LOWEST:  # a machine that gives nearly all ports to connections
        with socket.socket() as probe:
            probe.bind((host, 0))
            return int(probe.getsockname()[1])
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, highest)  # noqa: S311 - nothing secret
        if not taken(host, port):
            return port
    raise SandboxError(f"no free port on {host} between {_LOWEST} and {highest}")


def taken(host: str, port: int) -> bool:
    """Tell whether a port cannot be listened on."""
    return bool(hindrance(host, port))


def hindrance(host: str, port: int) -> str:
    """Say why a port cannot be listened on; empty when it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            known = {errno.EADDRINUSE: "is taken", errno.EACCES: "is for root alone"}
            return known.get(error.errno or 0, f"cannot be listened on ({error.strerror})")
        return ""


def problem_of_address(listen: str) -> str:
    """Say why workers cannot call a network at an address; empty when they can.

    It is advertised as it is given.
    """
    try:
        address = ipaddress.IPv4Address(listen)
    except ValueError:
        return f"{listen} is no IPv4 address, like 127.0.0.1"
    if address.is_unspecified:
        return f"{listen}: give the address that workers shall call"
    return ""


def is_here(host: str) -> bool:
    """Tell whether an address is one of this machine's."""
    return not hindrance(host, 0)


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
