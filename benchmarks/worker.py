"""A real worker on a sandbox network, watched from outside: its log, its port, its processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from iexworker.sandbox.network import ports, worker_env
from iexworker.sandbox.network.network import Network

SLOTS = 4
_WALLET = worker_env.WORKERS[-1]
"""Not the first, which the demo and the tests use: a wallet serves one worker on a machine."""

_PATIENCE_S = 60.0
_POLL_S = 0.002
_STOP_S = 30.0


class BenchError(Exception):
    """A measurement is not to be had; the message says why."""


class Worker:
    """One run of `iexworker run` with four slots, from its exec to its end."""

    def __init__(self, network: Network) -> None:
        self.port = ports.free("127.0.0.1")
        self._log = network.logs_path / "bench-worker.log"
        self.environment = {
            **os.environ,
            **worker_env.variables(network, _WALLET),
            "IEXEC_WORKER_PORT": str(self.port),
            "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": str(SLOTS),
            "IEXWORKER_LOG_JSON": "true",
            "LOGGING_LEVEL_COM_IEXEC_WORKER": "DEBUG",
            "IEXWORKER_SHUTDOWN_GRACE": "PT5S",
        }
        with self._log.open("wb") as output:
            self.exec_s = time.time()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "iexworker", "run"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def events(self, message: str, **facts: object) -> list[dict[str, Any]]:
        """Return the events of the log with this message and these facts, oldest first."""
        with self._log.open(encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines if line.startswith("{")]
        return [
            event
            for event in events
            if event["message"] == message
            and all(event.get(name) == value for name, value in facts.items())
        ]

    def wait_event(self, message: str, patience_s: float = _PATIENCE_S, **facts: object) -> float:
        """Return the Unix instant of the first such event, as the worker itself noted it."""
        deadline = time.monotonic() + patience_s
        while not (found := self.events(message, **facts)):
            self._check(deadline, f"the event {message!r} {facts or ''}")
            time.sleep(0.02)
        return datetime.fromisoformat(found[0]["time"]).timestamp()

    def wait_healthy(self) -> float:
        """Return the Unix instant at which `/actuator/health` first answered 200."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                with contextlib.closing(connection):
                    connection.request("GET", "/actuator/health")
                    if connection.getresponse().status == http.client.OK:
                        return time.time()
            self._check(deadline, "an answer on /actuator/health")
            time.sleep(_POLL_S)

    def processes(self) -> list[psutil.Process]:
        """Return the parent and all below it, gunicorn's worker included."""
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def memory_mb(self) -> float:
        """Return the tree's proportional set size in megabytes (10^6 bytes)."""
        return sum(_pss_bytes(process.pid) for process in self.processes()) / 1e6

    def cpu_s(self) -> float:
        """Return the CPU seconds that the tree has used so far."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(item.user + item.system for item in times)

    def stop(self) -> None:
        """End the worker in order; kill it where it does not."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _check(self, deadline: float, awaited: str) -> None:
        if self._process.poll() is None and time.monotonic() < deadline:
            return
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
        raise BenchError(f"the worker did not give {awaited}; its log ends so:\n{tail}")


@contextlib.contextmanager
def running(network: Network) -> Iterator[Worker]:
    """Run a worker until the block ends."""
    worker = Worker(network)
    try:
        yield worker
    finally:
        worker.stop()


def _pss_bytes(pid: int) -> int:
    """Return what a process holds, shared pages divided among those who share them."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"no Pss in the smaps_rollup of process {pid}")
