"""The `http` process as its parent sees it: real forks and sockets, gunicorn kept in its place."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import psutil
import pytest

from iexworker.errors import SettingsError
from iexworker.procs import http
from iexworker.procs.context import HTTP, SUPERVISOR, Channels, Context, roles
from iexworker.secrets import Secrets
from iexworker.settings.model import load
from iexworker.shared.board import Board
from iexworker.shared.channels import Hello, Ready
from iexworker.shared.ring import Ring, Stage
from iexworker.supervisor.child import Child, import_run

PATIENCE_S = 20.0


class Parent:
    """Does for the `http` process what the supervisor does: fork, listen, reap."""

    def __init__(self, base: Path, **settings: str) -> None:
        environ = {"IEXEC_WORKER_BASE_DIR": str(base), "IEXEC_WORKER_PORT": "0", **settings}
        self.child = Child(HTTP, None, fail_fast=False)
        self.board = Board.create((SUPERVISOR, *roles(1)))
        self.ring = Ring.create(1, 100)
        self.context = Context(
            role=HTTP,
            slot=None,
            settings=load(environ).settings,
            board=self.board,
            ring=self.ring,
            channels=Channels.create(1),
            control=self.child.control,
            reports=self.child.reports,
            secrets=Secrets({}),
            boot_id="test",
            parent_pid=os.getpid(),
            fail_fast=False,
            listener=http.listen("127.0.0.1", 0, 0),
        )

    def start(self) -> None:
        self.child.be_born(self.context, import_run, lambda: None, time.monotonic())

    def wait_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                message = self.child.reports.get(timeout=deadline - time.monotonic())
                if isinstance(message, Ready):
                    return
                assert isinstance(message, Hello)
        raise AssertionError("not ready")

    def wait_gone(self) -> int:
        code = None
        deadline = time.monotonic() + PATIENCE_S
        assert self.child.process is not None
        select.select([self.child.process.sentinel], [], [], PATIENCE_S)
        while code is None and time.monotonic() < deadline:
            code = self.child.exit_code()
        assert code is not None, "still there"
        self.child.bury()
        return code

    def end(self) -> None:
        if self.child.process is not None and self.child.exit_code() is None:
            self.child.send_signal(signal.SIGKILL)
            self.wait_gone()
        assert self.context.listener is not None
        self.context.listener.close()

    @property
    def port(self) -> int:
        port = self.board.facts.read().http_port
        assert port is not None
        return port

    def workers(self) -> list[psutil.Process]:
        """Return gunicorn's own child."""
        return psutil.Process(self.child.pid).children()

    def ask(self, method: str, path: str, **headers: str) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer, answer.read()

    def raw(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    parent = Parent(tmp_path)
    yield parent
    parent.end()


@pytest.fixture
def serving(parent: Parent) -> Parent:
    parent.start()
    parent.wait_ready()
    return parent


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_free_port_is_bound_told_on_the_board_and_answers(serving: Parent) -> None:
    answer, body = serving.ask("GET", "/actuator/health")
    assert answer.status == 200
    assert json.loads(body)["status"] == "UP"
    assert serving.board.entry(HTTP).read().text == f"port {serving.port}"


def test_what_another_process_records_is_served(serving: Parent) -> None:
    serving.ring.writer(0).record(Stage.APP, f"0x{1:064x}", 4349)
    serving.board.facts.set(version="8.5.0")
    _, body = serving.ask("GET", "/metrics")
    assert json.loads(body)["appComputeDurations"]["maxDuration"] == 4349.0
    assert serving.ask("GET", "/version")[1] == b"8.5.0"
    assert b"http worker" in serving.ask("GET", "/actuator/prometheus")[1]


def test_head_and_options_and_errors_keep_the_connection_in_order(serving: Parent) -> None:
    connection = HTTPConnection("127.0.0.1", serving.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        for method, path, status in (
            ("HEAD", "/metrics", 200),
            ("OPTIONS", "/metrics", 200),
            ("POST", "/metrics", 405),
            ("GET", "/metrics/", 404),
            ("GET", "/metrics", 200),
        ):
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == status
            assert bool(body) == (method in ("GET", "POST"))


@pytest.mark.parametrize(
    "request_",
    [
        b"GET\r\n\r\n",
        b"\x00\xff\xfe\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_garbage_is_refused_and_the_next_client_served(serving: Parent, request_: bytes) -> None:
    answer = serving.raw(request_)
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert serving.ask("GET", "/version")[0].status == 200


def test_signals_that_everyone_gets_do_not_stop_it(serving: Parent) -> None:
    (worker,) = serving.workers()
    assert serving.child.pid is not None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(serving.child.pid, number)
        worker.send_signal(number)
    for number in (signal.SIGTTIN, signal.SIGTTOU):
        os.kill(serving.child.pid, number)
    assert serving.ask("GET", "/version")[0].status == 200
    assert serving.workers() == [worker]
    assert serving.child.exit_code() is None


def test_sigquit_ends_it_at_once_with_code_0(serving: Parent) -> None:
    (worker,) = serving.workers()
    started = time.monotonic()
    serving.child.send_signal(signal.SIGQUIT)
    assert serving.wait_gone() == 0
    assert time.monotonic() - started < 5
    assert gone(worker)


def test_a_killed_worker_is_replaced(serving: Parent) -> None:
    (worker,) = serving.workers()
    worker.kill()
    serving.wait_ready()
    assert serving.ask("GET", "/version")[0].status == 200
    assert [process.pid for process in serving.workers()] != [worker.pid]


def test_born_again_it_takes_up_its_port_from_the_worker_that_dies_with_the_killed_arbiter(
    serving: Parent,
) -> None:
    port = serving.port
    (worker,) = serving.workers()
    serving.child.send_signal(signal.SIGKILL)
    assert serving.wait_gone() == -signal.SIGKILL
    serving.start()
    serving.wait_ready()
    assert gone(worker)
    assert serving.port == port
    assert serving.ask("GET", "/version")[0].status == 200


def test_its_title_is_ours(serving: Parent) -> None:
    for process in (psutil.Process(serving.child.pid), *serving.workers()):
        assert process.cmdline()[0].rstrip("\0 ") == "iexworker: http"


def test_gunicorn_takes_nothing_from_the_environment(
    parent: Parent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        for name, value in {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "LISTEN_FDS": "1",
            "LISTEN_PID": "1",
            "GUNICORN_PID": "1",
            "GUNICORN_FD": "9",
            "GUNICORN_CMD_ARGS": "--workers 3 --bind 127.0.0.1:1",
            "PORT": "1",
            "WEB_CONCURRENCY": "3",
            "SENDFILE": "y",
            "FORWARDED_ALLOW_IPS": "*",
        }.items():
            monkeypatch.setenv(name, value)
        parent.start()
        parent.wait_ready()
        assert len(parent.workers()) == 1
        assert parent.ask("GET", "/version")[0].status == 200
        assert select.select([systemd], [], [], 0)[0] == []


def test_a_port_in_use_is_a_problem_of_the_settings_that_names_the_variable() -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"IEXEC_WORKER_PORT={taken}: the port is taken"):
            http.listen("0.0.0.0", taken, 0)


def test_an_address_that_is_not_ours_is_a_problem_of_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on address 192\.0\.2\.1"):
        http.listen("192.0.2.1", 0, 0)


def test_a_forbidden_port_is_a_problem_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(SettingsError, match="IEXEC_WORKER_PORT=80: not ours to listen on"):
        http.listen("0.0.0.0", 80, 0)


def test_a_port_that_becomes_free_is_taken() -> None:
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    pid = os.fork()
    if not pid:
        time.sleep(0.1)
        os._exit(0)  # with it goes the last copy of the socket
    other.close()
    with http.listen("127.0.0.1", port, PATIENCE_S) as listener:
        assert listener.getsockname()[1] == port
    os.waitpid(pid, 0)


def test_ipv6_and_ipv4_are_served_by_one_socket() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with http.listen("::", 0, 0) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()
        socket.create_connection(("::1", port), timeout=PATIENCE_S).close()
