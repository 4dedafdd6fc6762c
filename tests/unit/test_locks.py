"""One worker, one wallet, one host: the locks and what the second worker is told."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker import keystore, locks
from iexworker.errors import AlreadyRunning, SettingsError
from iexworker.locks import Locks


@pytest.fixture
def address() -> str:
    return "0x" + os.urandom(20).hex()


@pytest.fixture
def wallet(tmp_path: Path, address: str) -> Path:
    path = tmp_path / "wallet.json"
    path.write_text(json.dumps({"address": address[2:].upper()}))
    return path


@pytest.fixture
def held(tmp_path: Path, wallet: Path) -> Iterator[Locks]:
    made = Locks()
    made.hold(tmp_path / "base" / "w", wallet, 0)
    yield made
    made.close()


def test_the_folder_is_made_and_its_lock_names_the_holder(tmp_path: Path, held: Locks) -> None:
    assert (tmp_path / "base" / "w" / "worker.lock").read_text() == f"{os.getpid()}\n"


def test_the_same_folder_is_refused_with_the_holders_pid(tmp_path: Path, held: Locks) -> None:
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()} uses this directory"):
        Locks().hold(tmp_path / "base" / "w", tmp_path / "none", 0)


def test_the_same_wallet_is_refused_with_the_holders_pid(
    tmp_path: Path, held: Locks, wallet: Path, address: str
) -> None:
    other = Locks()
    with pytest.raises(AlreadyRunning, match=f"{address}: the worker with pid {os.getpid()}"):
        other.hold(tmp_path / "base" / "other", wallet, 0)
    other.close()


def test_the_same_wallet_file_is_refused_where_its_address_is_not_declared(tmp_path: Path) -> None:
    wallet = tmp_path / "wallet.json"
    wallet.write_text("{}")
    first, second = Locks(), Locks()
    first.hold(tmp_path / "a", wallet, 0)
    with pytest.raises(AlreadyRunning, match="cannot be seen from here"):
        second.hold(tmp_path / "b", wallet, 0)
    first.close()
    second.close()


def test_closed_locks_are_free(tmp_path: Path, held: Locks, wallet: Path) -> None:
    held.close()
    again = Locks()
    again.hold(tmp_path / "base" / "w", wallet, 0)
    again.close()


def test_a_dying_holder_is_waited_for(tmp_path: Path, held: Locks, wallet: Path) -> None:
    timer = threading.Timer(0.2, held.close)
    timer.start()
    again = Locks()
    again.hold(tmp_path / "base" / "w", wallet, 10)
    again.close()
    timer.join()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path, wallet: Path) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        Locks().hold(tmp_path / "w", wallet, 0)
        os.write(writer, b"x")
        signal.pause()
    os.read(reader, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for fd in (reader, writer):
        os.close(fd)
    again = Locks()
    again.hold(tmp_path / "w", wallet, 0)
    again.close()


def test_an_unusable_folder_is_a_problem_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="IEXEC_WORKER_BASE_DIR"):
        Locks().hold(tmp_path / "file" / "w", tmp_path / "none", 0)


def test_a_missing_wallet_is_left_to_who_opens_it(tmp_path: Path) -> None:
    made = Locks()
    made.hold(tmp_path / "w", tmp_path / "none", 0)
    assert made.address_socket is None
    made.close()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"address": 1}', '{"address": "0x12"}'])
def test_a_file_without_an_address_declares_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "wallet").write_text(text)
    assert keystore.declared_address(tmp_path / "wallet") is None


def test_the_opened_wallets_address_is_the_parents_or_is_locked_now(
    held: Locks, address: str
) -> None:
    assert locks.confirm_address(address.upper().replace("X", "x"), os.getpid()) is None
    other = "0x" + os.urandom(20).hex()
    socket = locks.confirm_address(other, os.getpid())
    assert socket is not None
    with pytest.raises(AlreadyRunning, match=other):
        locks.confirm_address(other, os.getpid() + 1, patience_s=0)
    socket.close()
