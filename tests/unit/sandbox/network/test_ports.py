from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.errors import SandboxError
from iexworker.sandbox.network import ports, processes

HOST = "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_is_not_taken_and_does_not_answer() -> None:
    port = ports.free(HOST)

    assert not ports.taken(HOST, port)
    assert not ports.answers(HOST, port)


def test_a_free_port_is_none_that_an_outgoing_connection_may_take() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert all(ports.free(HOST) < lowest for _ in range(20))


def test_a_machine_without_such_ports_is_asked_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_EPHEMERAL", tmp_path / "range")

    assert len({ports.free(HOST) for _ in range(10)}) > 1


def test_where_every_port_is_taken_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "taken", lambda *_: True)

    with pytest.raises(SandboxError, match="no free port on "):
        ports.free(HOST)


def test_a_port_that_somebody_listens_on_is_taken_and_answers(listener: int) -> None:
    assert ports.taken(HOST, listener)
    assert ports.answers(HOST, listener)


def test_waiting_ends_when_the_component_is_ready(tmp_path: Path) -> None:
    child = processes.start("slow", ["sleep", "60"], tmp_path / "log")
    answers = iter([False, False, True])

    ports.wait_until(lambda: next(answers), child)

    child.stop()


def test_waiting_ends_with_the_log_when_the_component_dies(tmp_path: Path) -> None:
    child = processes.start("dead", ["sh", "-c", "echo no luck; exit 1"], tmp_path / "log")

    with pytest.raises(SandboxError, match=r"dead ended at once.*\n.*no luck"):
        ports.wait_until(lambda: False, child)

    child.stop()


def test_another_process_that_answers_does_not_make_a_dead_component_ready(tmp_path: Path) -> None:
    child = processes.start("dead", ["true"], tmp_path / "log")
    child.stop()

    with pytest.raises(SandboxError, match="dead ended"):
        ports.wait_until(lambda: True, child)


def test_a_component_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "READY_TIMEOUT_S", 0.05)
    child = processes.start("hanging", ["sleep", "60"], tmp_path / "log")

    with pytest.raises(SandboxError, match="hanging was not ready"):
        ports.wait_until(lambda: False, child)

    assert not child.alive


def test_a_port_that_cannot_be_had_says_why(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ports.hindrance(HOST, listener) == "is taken"
    assert "cannot be listened on" in ports.hindrance("192.0.2.1", 0)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert ports.hindrance(HOST, 80) == "is for root alone"


def test_an_address_is_this_machines_or_not() -> None:
    assert ports.is_here(HOST)
    assert not ports.is_here("192.0.2.1")
