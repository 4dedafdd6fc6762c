"""The parent with real processes: births, deaths, orders, signals, locks, systemd."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from iexworker.control import ask
from iexworker.errors import WorkerError
from tests.helpers import fake_tree

TREE = Path(fake_tree.__file__)
ROLES = ["scheduling", "http", "heartbeat", "compute-0", "compute-1"]
PATIENCE_S = 20.0


class Tree:
    """A parent started by a test."""

    def __init__(self, base: Path, behaviours: Mapping[str, str], **variables: str) -> None:
        self.root = base / "w"
        self.notified = _notify_socket(base / "notify")
        environ = {
            "PATH": os.environ["PATH"],
            "IEXEC_WORKER_BASE_DIR": str(base),
            "IEXEC_WORKER_NAME": "w",
            "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": "2",
            "IEXEC_WORKER_WALLET_PATH": str(base / "wallet.json"),
            "IEXEC_WORKER_WALLET_PASSWORD": "hunter2",
            "IEXEC_WORKER_PORT": "0",
            "IEXWORKER_SHUTDOWN_GRACE": "4s",
            "NOTIFY_SOCKET": str(base / "notify"),
            **{name: value for name, value in os.environ.items() if name.startswith("COV")},
            **variables,
        }
        self.output = base / "output"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*self._prefix(), sys.executable, str(TREE), json.dumps(dict(behaviours))],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _prefix(self) -> list[str]:
        return []

    def wait_notified(self, *texts: str) -> None:
        """Wait until the parent has sent systemd a datagram that starts so, for each text."""
        missing = list(texts)
        self.notified.settimeout(PATIENCE_S)
        while missing:
            said = self.notified.recv(4096).decode()
            missing = [text for text in missing if not said.startswith(text)]

    def status(self) -> dict[str, Any]:
        return ask(self.root, "status")

    def wait_status(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask until the report is as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(WorkerError):  # the one before may be dying
                report = self.status()
                if wanted(report):
                    return report
            time.sleep(0.02)
        raise AssertionError(self.log())

    def log(self) -> str:
        return self.output.read_text()

    def wait_log(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.log():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def wait_exit(self) -> int:
        return self.process.wait(PATIENCE_S)

    def notes(self) -> list[str]:
        return (self.root / "notes").read_text().split("\n")[:-1]


class TreeInNamespace(Tree):
    """A parent that is PID 1 of a namespace of its own."""

    def _prefix(self) -> list[str]:
        return ["unshare", "--pid", "--fork", "--kill-child"]


Start = Callable[..., Tree]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts a tree; whatever is left at the end is killed."""
    trees: list[Tree] = []

    def begin(
        behaviours: Mapping[str, str] | None = None,
        kind: type[Tree] = Tree,
        base: Path = tmp_path,
        **variables: str,
    ) -> Tree:
        tree = kind(base, behaviours or {}, **variables)
        trees.append(tree)
        return tree

    yield begin
    for tree in trees:
        tree.notified.close()
        tree.process.kill()
        tree.process.wait()


def _notify_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(path))
    return server


def _all_ready(report: dict[str, Any]) -> bool:
    return all(_process(report, role)["ready"] for role in ROLES)


def _process(report: dict[str, Any], role: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in report["processes"] if item["role"] == role)
    return found


def _pids(report: dict[str, Any]) -> dict[str, int]:
    return {role: _process(report, role)["pid"] for role in ROLES}


def _wait_gone(pids: list[int]) -> None:
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=PATIENCE_S
    )
    assert not [item for item in alive if item.status() != psutil.STATUS_ZOMBIE]


def test_the_tree_comes_up_and_an_orderly_stop_exits_0(start: Start) -> None:
    tree = start()
    tree.wait_notified("READY=1")
    report = tree.wait_status(_all_ready)
    assert report["pid"] == tree.process.pid
    assert report["facts"]["ready_s"] >= report["facts"]["started_s"]
    tree.process.terminate()
    tree.wait_notified("STOPPING=1")
    assert tree.wait_exit() == 0
    assert not (tree.root / "control.sock").exists()
    _wait_gone(list(_pids(report).values()))


def test_scheduling_is_born_first_and_slots_leave_last(start: Start) -> None:
    tree = start()
    tree.wait_notified("READY=1")
    pids = _pids(tree.wait_status(_all_ready))
    assert list(pids.values()) == sorted(pids.values())
    tree.process.terminate()
    assert tree.wait_exit() == 0
    notes = tree.notes()
    assert notes[0] == "scheduling left"
    assert sorted(notes[-2:]) == ["compute-0 left", "compute-1 left"]


@pytest.mark.parametrize("role", ROLES)
def test_a_killed_child_is_born_again_and_the_others_live_on(start: Start, role: str) -> None:
    tree = start()
    tree.wait_notified("READY=1")
    before = _pids(tree.wait_status(_all_ready))
    os.kill(before[role], signal.SIGKILL)
    report = tree.wait_status(lambda now: _process(now, role)["restarts"] == 1 and _all_ready(now))
    after = _pids(report)
    assert after[role] != before[role]
    assert {**after, role: 0} == {**before, role: 0}
    tree.process.terminate()
    assert tree.wait_exit() == 0


def test_crashes_of_a_ready_role_are_answered_with_growing_pauses(start: Start) -> None:
    tree = start({"compute-1": "crash"})
    tree.wait_status(lambda now: _process(now, "compute-1")["restarts"] >= 3)
    log = tree.log()
    assert "process died" in log
    for pause in ("again_in_s=0", "again_in_s=1", "again_in_s=2"):
        assert pause in log
    assert tree.process.poll() is None


def test_five_deaths_before_ready_stop_the_tree_with_70(start: Start) -> None:
    tree = start({"compute-0": "broken"})
    assert tree.wait_exit() == 70
    log = tree.log()
    assert log.count("RuntimeError: boom") == 5
    assert "worker gives up" in log


def test_a_boot_error_stops_the_tree_with_its_own_code(start: Start) -> None:
    tree = start({"scheduling": "refused"})
    assert tree.wait_exit() == 77
    assert "Traceback" not in tree.log()
    assert "the scheduler says no" in tree.log()


def test_a_ready_role_that_is_refused_stops_the_tree_with_77(start: Start) -> None:
    tree = start({"scheduling": "refused_when_ready"})
    tree.wait_notified("READY=1")
    assert tree.wait_exit() == 77


def test_a_boot_error_after_a_first_success_is_tried_again(start: Start) -> None:
    tree = start({"scheduling": "broken_once_ready"})
    tree.wait_notified("READY=1")
    pid = _pids(tree.status())["scheduling"]
    os.kill(pid, signal.SIGKILL)
    tree.wait_status(lambda now: _process(now, "scheduling")["restarts"] >= 2)
    assert tree.process.poll() is None


def test_no_child_outlives_a_killed_parent(start: Start) -> None:
    tree = start()
    pids = _pids(tree.wait_status(_all_ready))
    tree.process.kill()
    tree.wait_exit()
    _wait_gone(list(pids.values()))


def test_a_new_parent_takes_over_at_once_from_a_killed_one(start: Start) -> None:
    first = start()
    first.wait_status(_all_ready)
    first.process.kill()
    second = start(TREE_PATIENCE_S="5")
    report = second.wait_status(_all_ready)
    assert report["pid"] == second.process.pid


def test_signals_to_every_process_are_the_parents_to_obey(start: Start) -> None:
    tree = start()
    pids = _pids(tree.wait_status(_all_ready))
    for role in ROLES:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pids[role], number)
    tree.process.send_signal(signal.SIGHUP)
    tree.wait_log("settings read again")
    assert _pids(tree.status()) == pids
    tree.process.send_signal(signal.SIGINT)
    assert tree.wait_exit() == 0


def test_a_second_stop_signal_leaves_at_once(start: Start) -> None:
    tree = start({"scheduling": "stuck"}, IEXWORKER_SHUTDOWN_GRACE="10m")
    pids = _pids(tree.wait_status(_all_ready))
    tree.process.terminate()
    tree.wait_notified("STOPPING=1")
    tree.process.terminate()
    assert tree.wait_exit() == 128 + signal.SIGTERM
    _wait_gone(list(pids.values()))


def test_who_overstays_the_grace_is_killed_and_the_stop_not_called_orderly(start: Start) -> None:
    tree = start({"compute-1": "stuck"}, IEXWORKER_SHUTDOWN_GRACE="1s")
    tree.wait_status(_all_ready)
    tree.process.terminate()
    assert tree.wait_exit() == 70
    assert "process overstayed the grace, killed child=compute-1" in tree.log()


def test_a_stopped_child_holds_neither_the_parent_nor_the_stop(start: Start) -> None:
    tree = start(IEXWORKER_SHUTDOWN_GRACE="1s")
    pids = _pids(tree.wait_status(_all_ready))
    os.kill(pids["heartbeat"], signal.SIGSTOP)
    assert tree.status()["pid"] == tree.process.pid
    tree.process.terminate()
    assert tree.wait_exit() == 70
    _wait_gone(list(pids.values()))


def test_the_stop_order_carries_the_rest_of_the_grace(start: Start) -> None:
    tree = start({"compute-0": "echo"}, IEXWORKER_SHUTDOWN_GRACE="10s")
    tree.wait_status(_all_ready)
    tree.process.terminate()
    assert tree.wait_exit() == 0
    # Slots have the whole grace where all others left at once; half of it for tidying.
    assert 4 < float((tree.root / "grace").read_text()) <= 5


def test_systemd_hears_of_the_state_and_a_stuck_loop_starves_the_watchdog(start: Start) -> None:
    tree = start(WATCHDOG_USEC="400000")
    tree.wait_notified("READY=1", "WATCHDOG=1", "STATUS=not ready: ")
    os.kill(_pids(tree.status())["scheduling"], signal.SIGSTOP)
    tree.notified.settimeout(1.2)
    deadline = time.monotonic() + PATIENCE_S
    with pytest.raises(TimeoutError):
        while time.monotonic() < deadline:
            tree.notified.recv(4096)


def test_a_second_worker_on_the_same_folder_exits_75_with_the_pid(start: Start) -> None:
    first = start()
    first.wait_status(_all_ready)
    second = start()
    assert second.wait_exit() == 75
    assert f"the worker with pid {first.process.pid} uses this directory" in second.log()
    assert first.status()["pid"] == first.process.pid


def test_a_second_worker_with_the_same_wallet_exits_75_with_the_pid(
    start: Start, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    address = os.urandom(20).hex()
    for folder in (tmp_path, other):
        (folder / "wallet.json").write_text(
            json.dumps(fake_tree.KEYSTORE | {"address": address.upper()})
        )
    first = start()
    first.wait_status(_all_ready)
    for _ in range(3):
        second = start(base=other)
        assert second.wait_exit() == 75
        assert f"wallet 0x{address}: the worker with pid {first.process.pid}" in second.log()


def test_a_wallet_file_locked_from_elsewhere_is_refused(start: Start, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "wallet.json").write_text(json.dumps(fake_tree.KEYSTORE))
    first = start()
    first.wait_status(_all_ready)
    (tmp_path / "other" / "wallet.json").hardlink_to(tmp_path / "wallet.json")
    second = start(base=tmp_path / "other")
    assert second.wait_exit() == 75
    assert "cannot be seen from here" in second.log()


def test_secrets_locks_and_systemd_stay_out_of_the_children(start: Start, tmp_path: Path) -> None:
    tree = start(dict.fromkeys(["scheduling", "heartbeat", "compute", "http"], "curious"))
    tree.wait_status(_all_ready)
    for role in ROLES:
        seen = json.loads((tree.root / f"seen-{role}").read_text())
        assert seen["environ"] == []
        assert seen["initial"] is False
        assert seen["settings"] == ""
        assert seen["secret"] == ("hunter2" if role == "scheduling" else "none")
        assert not [path for path in seen["files"] if path.endswith(("lock", "wallet.json"))]
        assert seen["title"] == f"iexworker: {role}"
        assert seen["ignores"] == [True, True]
        memory = [path for path in seen["files"] if path.startswith("/memfd:secrets")]
        assert bool(memory) == (role == "scheduling")
    assert "hunter2" not in Path(f"/proc/{tree.process.pid}/environ").read_text(errors="replace")


def test_as_pid_1_the_parent_reaps_orphans_and_obeys_signals(start: Start) -> None:
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs unshare and root")
    tree = start({"compute-0": "parent_of_orphans"}, kind=TreeInNamespace)
    report = tree.wait_status(_all_ready)
    assert report["pid"] == 1
    (parent,) = psutil.Process(tree.process.pid).children()
    deadline = time.monotonic() + PATIENCE_S
    while len(parent.children()) != len(ROLES):
        assert time.monotonic() < deadline, "an orphan was never reaped"
        time.sleep(0.02)
    parent.terminate()
    assert tree.wait_exit() == 0
