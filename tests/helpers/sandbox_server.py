"""The sandbox's server as a process of the test's own, with fast timers."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from iexworker.sandbox.chain import snapshot
from iexworker.sandbox.network import ports
from iexworker.sandbox.network.network import Network, Timers

HOST = "127.0.0.1"
STOP_S = 15.0
"""What the end may take; an open event stream, which lasts, must not hold it up."""
TINY_S = 2
"""Reference time of the test's own category: 14 s to contribute, 4 s to reveal, 20 s in all."""

CATEGORIES = (*snapshot.CATEGORIES, ("TINY", TINY_S))
TIMERS = Timers(
    worker_lost_s=3,
    worker_lost_check_s=0.5,
    unnotified_check_s=1,
    contribution_check_s=0.5,
    reveal_check_s=0.5,
    final_check_s=0.5,
    finalize_delay_s=0.2,
    poll_s=0.2,
)


class SandboxServer:
    """The sandbox's server as `sandbox up` starts it; may be stopped, killed and started again."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._log = network.path / "server.log"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "iexworker.sandbox.server", "--dir"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, self._network.directory],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        for _ in range(600):
            assert self.process.poll() is None, self._log.read_text()[-3000:]
            if ports.answers(HOST, self._network.proxy_port):
                return
            threading.Event().wait(0.05)
        raise AssertionError("the server does not answer")

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        self.process.terminate()
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def make_network(folder: Path, profile: str, **more: object) -> Network:
    chosen = {name: ports.free(HOST) for name in ("chain", "scheduler", "config", "proxy")}
    values: dict[str, object] = {f"{name}_port": port for name, port in chosen.items()}
    values |= {"block_time_s": 0.25, "ask_period_ms": 600, "registry_port": 1} | more
    network = Network(directory=str(folder), profile=profile, listen=HOST, **values)  # type: ignore[arg-type]  # names are the fields'
    network.save()
    return network
