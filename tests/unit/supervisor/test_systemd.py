"""What systemd is told, on a socket of the test's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.supervisor.systemd import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(5)
        yield server


def _read(manager: socket.socket) -> list[str]:
    manager.setblocking(False)
    texts = []
    try:
        while True:
            texts.append(manager.recv(4096).decode())
    except BlockingIOError:
        return texts


def test_every_state_is_told_and_a_status_only_when_it_changes(manager: socket.socket) -> None:
    notifier = Notifier.take({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "3000000"})
    assert notifier.watchdog_s == 3.0
    for text in ("a", "a", "b"):
        notifier.status(text)
    notifier.ready()
    notifier.alive()
    notifier.stopping()
    notifier.close()
    notifier.ready()
    assert _read(manager) == ["STATUS=a", "STATUS=b", "READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_an_abstract_socket_is_spoken_to() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        name = f"iexworker-test-{os.urandom(8).hex()}"
        server.bind(f"\0{name}")
        notifier = Notifier.take({"NOTIFY_SOCKET": f"@{name}"})
        notifier.ready()
        assert _read(server) == ["READY=1"]
        notifier.close()


def test_the_variables_are_taken_from_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "/none", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "A": "b"}
    Notifier.take(environ).close()
    assert environ == {"A": "b"}


@pytest.mark.parametrize("address", ["", "vsock:2:1", "relative"])
def test_without_a_usable_address_nothing_is_sent(address: str) -> None:
    notifier = Notifier.take({"NOTIFY_SOCKET": address})
    assert not notifier.heard
    notifier.ready()
    notifier.alive()
    notifier.close()


@pytest.mark.parametrize(("usec", "pid"), [("x", ""), ("0", ""), ("", ""), ("1000000", "1")])
def test_a_watchdog_that_is_off_or_anothers_is_not_fed(usec: str, pid: str) -> None:
    notifier = Notifier.take({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid})
    assert notifier.watchdog_s is None


def test_a_manager_that_is_gone_or_busy_is_no_error(tmp_path: Path, manager: socket.socket) -> None:
    gone = Notifier.take({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert gone.heard
    gone.ready()
    gone.close()
    notifier = Notifier.take({"NOTIFY_SOCKET": manager.getsockname()})
    for number in range(2000):
        notifier.status(f"{number}")
    notifier.close()
