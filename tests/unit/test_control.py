"""The control socket: answers from a loop that no client can hold up."""

from __future__ import annotations

import json
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iexworker import control
from iexworker.control import ControlServer, NotRunning, ask
from iexworker.errors import WorkerError


class Loop:
    """A parent's loop in a thread, so that the blocking client can be tested beside it."""

    def __init__(self, root: Path, answer: Callable[[], dict[str, object]]) -> None:
        self.selector = selectors.DefaultSelector()
        self.server = ControlServer(root, self.selector, {"status": answer})
        self._wake, self._woken = socket.socketpair()
        self.selector.register(self._woken, selectors.EVENT_READ, self._stop)
        self._running = True
        self._thread = threading.Thread(target=self._turn)
        self._thread.start()

    def _stop(self, _events: int) -> None:
        self._running = False

    def _turn(self) -> None:
        while self._running:
            for key, events in self.selector.select():
                key.data(events)

    def close(self) -> None:
        self._wake.send(b"x")
        self._thread.join()
        self.server.close(unlink=True)
        self.selector.close()
        self._wake.close()
        self._woken.close()


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    made = Loop(tmp_path, lambda: {"big": "x" * 1_000_000})
    yield made
    made.close()


def _connect(root: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(5)
    client.connect(str(root / "control.sock"))
    return client


def _all_of(client: socket.socket) -> bytes:
    with client.makefile("rb") as stream:
        return stream.read()


def test_an_answer_larger_than_the_buffers_arrives_whole(tmp_path: Path, loop: Loop) -> None:
    assert len(ask(tmp_path, "status")["big"]) == 1_000_000


def test_only_the_workers_user_may_ask(tmp_path: Path, loop: Loop) -> None:
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600


def test_an_unknown_verb_is_refused_with_those_known(tmp_path: Path, loop: Loop) -> None:
    with pytest.raises(WorkerError, match="unknown verb 'dance'; known: status"):
        ask(tmp_path, "dance")


@pytest.mark.parametrize("line", [b"junk\n", b"[]\n", b'{"verb": []}\n', b"{}\n"])
def test_a_malformed_request_gets_an_error(tmp_path: Path, loop: Loop, line: bytes) -> None:
    with _connect(tmp_path) as client:
        client.sendall(line)
        assert "error" in json.loads(_all_of(client))


def test_a_request_in_pieces_is_put_together(tmp_path: Path, loop: Loop) -> None:
    with _connect(tmp_path) as client:
        client.sendall(b'{"verb": ')
        ask(tmp_path, "status")
        client.sendall(b'"status"}\n')
        assert len(_all_of(client)) > 1_000_000


def test_a_request_without_end_is_cut_off(tmp_path: Path, loop: Loop) -> None:
    with _connect(tmp_path) as client:
        client.sendall(b"x" * 4096)
        assert _all_of(client) == b""


def test_clients_that_say_nothing_or_do_not_read_hold_nobody_up(tmp_path: Path, loop: Loop) -> None:
    lazy = [_connect(tmp_path) for _ in range(8)]
    for client in lazy[:4]:
        client.sendall(b'{"verb": "status"}\n')
    assert ask(tmp_path, "status")
    for client in lazy:
        client.close()
    assert ask(tmp_path, "status")


def test_more_clients_than_wanted_are_hung_up_on(tmp_path: Path, loop: Loop) -> None:
    lazy = [_connect(tmp_path) for _ in range(17)]
    assert _all_of(lazy[-1]) == b""
    for client in lazy:
        client.close()


def test_a_silent_client_is_dropped_after_a_while(tmp_path: Path) -> None:
    with selectors.DefaultSelector() as selector:
        server = ControlServer(tmp_path, selector, {})
        with _connect(tmp_path) as client:
            ((key, events),) = selector.select(5)
            key.data(events)
            server.expire(time.monotonic())
            assert len(selector.get_map()) == 2
            server.expire(time.monotonic() + 60)
            assert _all_of(client) == b""
        server.close(unlink=True)


def test_the_socket_of_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with selectors.DefaultSelector() as selector:
        ControlServer(tmp_path, selector, {}).close(unlink=False)
    with pytest.raises(NotRunning, match="killed"):
        ask(tmp_path, "status")
    with selectors.DefaultSelector() as selector:
        ControlServer(tmp_path, selector, {}).close(unlink=True)


@pytest.mark.parametrize("root", ["", "missing"])
def test_where_no_worker_has_run_the_client_says_so(tmp_path: Path, root: str) -> None:
    with pytest.raises(NotRunning, match="no worker has run"):
        ask(tmp_path / root, "status")


def test_a_worker_that_does_not_answer_is_told_in_words(tmp_path: Path) -> None:
    with selectors.DefaultSelector() as selector:
        server = ControlServer(tmp_path, selector, {})
        with pytest.raises(WorkerError, match="does not answer"):
            ask(tmp_path, "status", timeout_s=0.05)
        server.close(unlink=True)


def test_a_deep_root_is_no_trouble(tmp_path: Path) -> None:
    root = tmp_path / ("a" * 100) / ("b" * 100)
    root.mkdir(parents=True)
    deep = Loop(root, lambda: {"ok": True})
    assert ask(root, "status") == {"ok": True}
    deep.close()
    assert not (root / control.SOCKET_NAME).exists()
