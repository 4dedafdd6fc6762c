"""Starts on machines that lack something: descriptors, the port, room on the disk, a GPU."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
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
from eth_keyfile.keyfile import create_keyfile_json

from iexworker import control
from iexworker.compute import limits as app_limits
from iexworker.errors import EXIT_CONFIG, DockerError, WorkerError
from iexworker.procs.context import SUPERVISOR, roles
from iexworker.scheduling.containers import EngineContainers
from iexworker.scheduling.probes import GPUS_LOST_EVERY_S, HostProbe
from iexworker.shared.board import Board
from iexworker.shared.ring import Ring
from iexworker.web.health import Status, examine
from iexworker.web.worker_view import Source
from tests.helpers.scripted_server import Reply, ScriptedServer

PASSWORD = "hunter2"
PATIENCE_S = 30.0
ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
COMMAND = (sys.executable, "-m", "iexworker", "run")


class Worker:
    """`iexworker run` whose peers are not there; it waits for them."""

    def __init__(self, folder: Path, base: Path | None = None, **variables: str) -> None:
        self.root = (base or folder / "base") / "w"
        wallet = folder / "wallet.json"
        if not wallet.exists():
            keystore = create_keyfile_json(os.urandom(32), PASSWORD.encode(), iterations=2)
            wallet.write_text(json.dumps(keystore))
        self.log = folder / "log"
        self.environ: Mapping[str, str] = {
            "PATH": os.environ["PATH"],
            "IEXEC_CORE_URL": "http://127.0.0.1:1",
            "IEXEC_WORKER_BASE_DIR": str(self.root.parent),
            "IEXEC_WORKER_NAME": "w",
            "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": "1",
            "IEXEC_WORKER_WALLET_PATH": str(wallet),
            "IEXEC_WORKER_WALLET_PASSWORD": PASSWORD,
            "IEXEC_WORKER_PORT": "0",
            "IEXWORKER_SHUTDOWN_GRACE": "PT10S",
            "DOCKER_HOST": f"unix://{folder}/none.sock",
            **variables,
        }
        self.process: subprocess.Popen[bytes]

    def start(self, *command: str) -> Worker:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command or COMMAND,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return self

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)

    def report(self, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return what `iexworker status --json` says as soon as it is as wanted."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            with contextlib.suppress(WorkerError):
                report = control.ask(self.root, "status")
                if wanted(report):
                    return report
            assert self.process.poll() is None, self.said()
            time.sleep(0.05)
        raise AssertionError(self.said())

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


Make = Callable[..., Worker]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Worker] = []

    def make(base: Path | None = None, **variables: str) -> Worker:
        made.append(Worker(tmp_path, base, **variables))
        return made[-1]

    yield make
    for worker in made:
        if hasattr(worker, "process"):
            worker.stop()


def all_ready(report: dict[str, Any]) -> bool:
    return all(item["ready"] for item in report["processes"] if item["role"] != SUPERVISOR)


# Standard descriptors


def shell(command: str, missing: tuple[int, ...]) -> tuple[str, ...]:
    closed = " ".join(f"{number}>&-" for number in missing)
    return ("/bin/sh", "-c", f"exec {command} {closed}")


MISSING = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]


@pytest.mark.parametrize("missing", MISSING, ids=str)
def test_standard_descriptors_that_are_missing_are_dev_null_before_anything_is_opened(
    missing: tuple[int, ...], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    program = tmp_path / "program.py"
    program.write_text(
        "import json, os, sys\n"
        "from iexworker import cli\n"
        "def look(_):\n"
        "    links = [os.readlink(f'/proc/self/fd/{number}') for number in range(3)]\n"
        "    inherited = [os.get_inheritable(number) for number in range(3)]\n"
        "    streams = [item is not None for item in (sys.stdin, sys.stdout, sys.stderr)]\n"
        f"    open({str(seen)!r}, 'w').write(json.dumps([links, inherited, streams]))\n"
        "    return 0\n"
        "cli._config = look\n"
        "sys.exit(cli.main(['config']))\n"
    )
    done = subprocess.run(
        shell(f"{sys.executable} {program}", missing),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    links, inherited, streams = json.loads(seen.read_text())
    assert [links[number] for number in missing] == ["/dev/null"] * len(missing)
    assert inherited == streams == [True] * 3


def test_in_no_process_of_a_worker_started_without_descriptors_are_they_anything_else(
    make: Make,
) -> None:
    worker = make().start(*shell(" ".join(COMMAND), (0, 1, 2)))
    report = worker.report(all_ready)
    links = {
        f"{item['role']} {number}": str(Path(f"/proc/{item['pid']}/fd/{number}").readlink())
        for item in report["processes"]
        for number in range(3)
    }
    assert len(links) >= 15
    assert set(links.values()) == {"/dev/null"}, links
    worker.stop()
    assert worker.exit_code() == 0


# The port


def test_a_port_that_is_taken_is_found_before_anything_is_said_to_the_scheduler(
    make: Make,
) -> None:
    scheduler = ScriptedServer()
    try:
        with socket.create_server(("0.0.0.0", 0)) as taken:
            port = str(taken.getsockname()[1])
            worker = make(IEXEC_WORKER_PORT=port, IEXEC_CORE_URL=scheduler.url).start()
            assert worker.exit_code() == EXIT_CONFIG
        assert scheduler.requests == []
    finally:
        scheduler.close()
    assert f"IEXEC_WORKER_PORT={port}: the port is taken" in worker.said()
    assert "worker starts" not in worker.said(), "processes were forked"
    assert "Traceback" not in worker.said()


def test_a_listen_address_of_another_machine_is_found_before_any_process(make: Make) -> None:
    worker = make(IEXWORKER_LISTEN_ADDRESS="192.0.2.1").start()
    assert worker.exit_code() == EXIT_CONFIG
    assert "cannot listen on address 192.0.2.1" in worker.said()
    assert "worker starts" not in worker.said()


def test_the_port_stays_the_workers_while_its_http_process_is_born_again(make: Make) -> None:
    worker = make().start()
    report = worker.report(all_ready)
    port = report["facts"]["http_port"]
    pid = next(item["pid"] for item in report["processes"] if item["role"] == "http")
    serving = psutil.Process(pid).children()
    os.kill(pid, signal.SIGKILL)
    assert serving and not psutil.wait_procs(serving, PATIENCE_S)[1]
    # Who connects meanwhile is not refused: the parent holds the port.
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 200")
    worker.report(lambda now: now["facts"]["restarts"].get("http") == 1 and all_ready(now))
    assert worker.report(all_ready)["facts"]["http_port"] == port


# The disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=40", "iexworker-test", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(folder).free == 0
    return filler


def disk_is_named(report: dict[str, Any]) -> bool:
    return "make room" in report["problems"].get("disk", "")


def test_a_start_on_a_full_disk_waits_for_room_in_words_and_goes_on_by_itself(
    make: Make, small_disk: Path
) -> None:
    filler = fill(small_disk)
    worker = make(small_disk).start()
    report = worker.report(disk_is_named)
    assert not report["ready"]
    assert str(worker.root) in report["problems"]["disk"]
    filler.unlink()
    worker.report(all_ready)
    assert (worker.root / "journal.sqlite").exists()
    said = worker.said()
    assert "Traceback" not in said and "process died" not in said, said
    worker.stop()
    assert worker.exit_code() == 0


def test_a_start_on_a_disk_that_has_become_full_since_waits_too(
    make: Make, small_disk: Path
) -> None:
    worker = make(small_disk).start()
    worker.report(all_ready)
    worker.process.kill()
    worker.process.wait()
    fill(small_disk)
    again = make(small_disk).start()
    again.report(disk_is_named)
    assert "Traceback" not in again.said() and "exit=70" not in again.said()
    again.stop()
    assert again.exit_code() == 0


def test_a_disk_without_room_for_one_more_file_exits_78_in_words(
    make: Make, small_disk: Path
) -> None:
    with contextlib.suppress(OSError):
        for number in range(100):
            (small_disk / f"file{number}").touch()
    worker = make(small_disk).start()
    assert worker.exit_code() == EXIT_CONFIG
    assert f"IEXEC_WORKER_BASE_DIR: {worker.root}" in worker.said()
    assert "is full" in worker.said()
    assert "Traceback" not in worker.said()


def test_a_read_only_disk_exits_78_in_words(make: Make, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    worker = make(small_disk).start()
    assert worker.exit_code() == EXIT_CONFIG
    assert "is read-only" in worker.said()
    assert "Traceback" not in worker.said()


def test_a_journal_that_cannot_be_opened_exits_78_in_words(make: Make) -> None:
    worker = make()
    (worker.root / "journal.sqlite").mkdir(parents=True)
    worker.start()
    assert worker.exit_code() == EXIT_CONFIG
    assert "journal.sqlite" in worker.said()
    assert "Traceback" not in worker.said()


# The GPU


@dataclasses.dataclass
class GpuEngine:
    """An engine that answers, and says of GPUs what a test says."""

    trouble: str = ""
    asked: list[str] = dataclasses.field(default_factory=list)

    def ping(self) -> None:
        pass

    def runtimes(self) -> tuple[str, ...]:
        return ("runc",)

    def gpu_trouble(self, gpus: str) -> str:
        self.asked.append(gpus)
        if self.trouble == "away":
            raise DockerError("out of reach")
        return self.trouble


def test_gpus_for_apps_that_docker_cannot_give_keep_work_away_and_are_told_on_readiness(
    tmp_path: Path,
) -> None:
    board = Board.create((SUPERVISOR, *roles(1)))
    engine = GpuEngine('could not select device driver "" with capabilities: [[gpu]]')
    now_s = [0.0]
    probe = HostProbe(
        board.facts,
        tmp_path,
        engine,
        gpu=False,
        gpus_to_apps="all",
        fail_fast=False,
        clock=lambda: now_s[0],
    )
    asyncio.run(probe.look())
    words = board.facts.read().gpu_text
    assert "IEXWORKER_GPUS_TO_APPS" in words
    assert "could not select device driver" in words
    assert probe.obstacle == words, "work is asked for"
    source = Source(board, Ring.create(1, 1), directory=tmp_path)
    assert examine(source).components["gpu"].status is Status.OUT_OF_SERVICE
    engine.trouble = ""
    asyncio.run(probe.look())
    assert probe.obstacle == words, "it is tried again, but not at each look"
    now_s[0] += GPUS_LOST_EVERY_S
    asyncio.run(probe.look())
    assert board.facts.read().gpu_text == ""
    assert engine.asked == ["all", "all"]
    assert "gpu" not in probe.obstacle.lower()


def test_gpus_that_docker_gave_once_are_not_asked_for_at_each_look(tmp_path: Path) -> None:
    engine = GpuEngine()
    facts = Board.create((SUPERVISOR, *roles(1))).facts
    probe = HostProbe(facts, tmp_path, engine, gpu=False, gpus_to_apps="0,1", fail_fast=False)
    for _ in range(3):
        asyncio.run(probe.look())
    assert engine.asked == ["0,1"]


def test_a_worker_without_gpus_for_apps_never_asks_for_one(tmp_path: Path) -> None:
    engine = GpuEngine("no GPU")
    facts = Board.create((SUPERVISOR, *roles(1))).facts
    probe = HostProbe(facts, tmp_path, engine, gpu=False, gpus_to_apps="", fail_fast=False)
    asyncio.run(probe.look())
    assert engine.asked == []
    assert facts.read().gpu_text == ""


@pytest.mark.docker
def test_an_engine_without_gpus_says_so_when_it_is_tried_and_nothing_is_left() -> None:
    if shutil.which("nvidia-container-runtime-hook"):
        pytest.skip("this engine has GPUs to give")
    wallet = "0x" + os.urandom(20).hex()
    containers = EngineContainers(ENGINE, wallet)
    assert "could not select device driver" in containers.gpu_trouble("all")
    assert "could not select device driver" in containers.gpu_trouble("0,GPU-1b2c")
    assert containers.owned() == {}
    assert app_limits.gpu_request("all").count == -1


# A cap of 0 where the scheduler's chain has fees


@pytest.mark.parametrize("sidechain", [False, True])
def test_a_cap_of_zero_ends_a_first_start_with_78_where_there_are_fees(
    sidechain: bool, make: Make
) -> None:
    scheduler = ScriptedServer()
    scheduler.on("GET /workers/config", Reply.of({"configServerUrl": scheduler.url}))
    chain = {"chainId": 421614, "chainNodeUrl": "http://127.0.0.1:1", "blockTime": "PT1S"}
    hub = {"iexecHubContractAddress": "0x" + "aa" * 20, "sidechain": sidechain}
    scheduler.on("GET /config/chain", Reply.of(chain | hub))
    try:
        worker = make(
            IEXEC_CORE_URL=scheduler.url, IEXEC_GAS_PRICE_CAP="0", IEXWORKER_PROFILE="9"
        ).start()
        if sidechain:
            worker.report(lambda found: "127.0.0.1:1" in found["facts"]["chain_text"])
            return
        assert worker.exit_code() == EXIT_CONFIG
    finally:
        scheduler.close()
    assert "IEXEC_GAS_PRICE_CAP=0 is for chains where transactions are free" in worker.said()
    assert "Traceback" not in worker.said()
