"""A real worker, started by its real command, against a sandbox network."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from iexworker import control
from iexworker.errors import WorkerError
from iexworker.sandbox import image, stack
from iexworker.sandbox.chain import deals
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.network import worker_env
from iexworker.sandbox.network.network import Network, Timers

PATIENCE_S = 180.0
READY_S = 90.0
POLL_S = 0.1
QUICK = Timers(finalize_delay_s=0.5, final_check_s=2.0, unnotified_check_s=2.0, poll_s=0.2)
"""The scheduler's timers, scaled down where a test would wait for them."""
SHORT_CATEGORY = 5
"""The id of the category that `LiveSandbox` adds: its tasks may compute for `SHORT_S` seconds."""
SHORT_S = 12

T = TypeVar("T")


def eventually(look: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Return what `look` gives as soon as it is true."""
    until_s = time.monotonic() + patience_s
    while time.monotonic() < until_s:
        if seen := look():
            return seen
        time.sleep(POLL_S)
    raise AssertionError(f"not within {patience_s:.0f} s: {what}")


def alive(pid: int) -> bool:
    """Tell whether a process of this pid runs."""
    return Path(f"/proc/{pid}").exists()


class LiveSandbox:
    """A network with the demo app in its registry."""

    def __init__(
        self,
        folder: Path,
        profile: str,
        ask_period_ms: int = 1000,
        listen: str | None = None,
        timers: Timers = QUICK,
    ) -> None:
        options = stack.Options(
            profile=profile,
            listen=listen,
            ports=dict.fromkeys(stack.DEFAULT_PORTS, 0),
            ask_period_ms=ask_period_ms,
            timers=timers,
            categories=(("XXS", SHORT_S),),
        )
        self.network: Network = stack.up(folder, options)[0]
        self.chain = LocalChain.open(self.network.deployed_path)
        self.engine = image.engine()
        self.app = image.publish(self.engine, self.network.registry)

    def close(self) -> None:
        self.engine.close()
        stack.down(self.network.path, delete=True)

    def buy(self, arguments: str = "hello", **wanted: Any) -> tuple[str, ...]:
        """Buy tasks of the demo app; `wanted` are fields of a `Purchase`."""
        params = deals.default_params(arguments, self.network.proxy_url)
        purchase = deals.Purchase(**{"image": self.app, "params": params, **wanted})
        return deals.buy(self.chain, purchase).task_ids

    def status(self, task_id: str) -> str:
        return self.chain.task_status(task_id)

    def completed(self, *task_ids: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until these tasks are COMPLETED on the chain."""
        eventually(
            lambda: all(self.status(task) == "COMPLETED" for task in task_ids),
            f"{len(task_ids)} tasks COMPLETED",
            patience_s,
        )

    def containers(self, task_id: str = "") -> list[Any]:
        """Return our containers, of one task or of any of this network's image."""
        found = self.engine.containers.list(
            all=True, ignore_removed=True, filters={"label": "iexworker.task"}
        )
        return [
            item
            for item in found
            if task_id in item.labels["iexworker.task"]
            and item.attrs["Config"]["Image"].startswith(self.network.registry_address)
        ]


class LiveWorker:
    """`iexworker run` in a process of its own."""

    def __init__(
        self,
        sandbox: LiveSandbox,
        role: str = "worker1",
        *,
        name: str = "",
        slots: int = 1,
        **more: str,
    ) -> None:
        self.sandbox = sandbox
        self.role = role
        self.name = name or role
        self.log = sandbox.network.logs_path / f"{self.name}.log"
        self.environment: Mapping[str, str] = {
            **os.environ,
            **worker_env.variables(sandbox.network, role),
            "IEXEC_WORKER_NAME": self.name,
            "IEXEC_WORKER_PORT": "0",
            "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": str(slots),
            "IEXWORKER_SHUTDOWN_GRACE": "PT40S",
            # Tests follow each update and move of a record, which are lines for developers.
            "LOGGING_LEVEL_COM_IEXEC_WORKER": "DEBUG",
            **more,
        }
        self.process: subprocess.Popen[bytes]

    @property
    def root(self) -> Path:
        """Its journal, socket and task folders."""
        return self.sandbox.network.path / "workers" / self.name

    def start(self, *options: str) -> LiveWorker:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "iexworker", "run", *options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return self

    def ready(self) -> LiveWorker:
        with self.explained():
            eventually(lambda: (self.report() or {}).get("ready"), "ready", READY_S)
        return self

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Add the end of the log to whatever fails."""
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def not_ready(self, part: str, *words: str) -> None:
        """Wait until the worker says of this part why it is not ready, in these words."""

        def told() -> bool:
            report = self.report() or {"problems": {}}
            return all(word in report["problems"].get(part, "") for word in words)

        eventually(told, f"{part}: {words}; {self.tail()}", 30)

    def report(self) -> dict[str, Any] | None:
        """Return what `iexworker status --json` says, None while nothing answers."""
        # Asked by ourselves: a process for each look would keep the machine busy.
        try:
            return dict(control.ask(self.root, "status"))
        except WorkerError:
            return None

    def pid(self, role: str) -> int:
        """Return the pid of a process of the tree, 0 while it is down."""
        report = self.report() or {"processes": []}
        return next((item["pid"] for item in report["processes"] if item["role"] == role), 0)

    def tree(self) -> list[int]:
        """Return the pids of all its processes."""
        report = self.report()
        assert report is not None
        return [item["pid"] for item in report["processes"] if item["pid"]]

    def stop(self, patience_s: float = 90) -> int:
        """Stop in order; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience_s)

    def kill(self) -> None:
        """Kill the parent; its children end by themselves."""
        self.process.kill()
        self.process.wait()

    def lines(self, *words: str) -> list[str]:
        """Return the log lines that hold all of these words."""
        text = self.log.read_text(errors="replace")
        return [line for line in text.splitlines() if all(word in line for word in words)]

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def statuses(self, task_id: str) -> list[str]:
        """Return the updates of a task that the scheduler has answered, in their order."""
        lines = self.lines("update answered", f"task={task_id}")
        return [line.partition(" status=")[2].split()[0] for line in lines]

    def at_rest(self, swept_s: float = 0.0) -> None:
        """Wait until no task is left: no row, no folder, no container, no stake locked.

        Where the engine was away, containers may be swept up to `swept_s` later.
        """
        with self.explained():
            eventually(
                lambda: (self.report() or {"facts": {"tasks_open": 1}})["facts"]["tasks_open"] == 0,
                "no open task",
            )
        left = [item.name for item in self.root.iterdir() if item.is_dir()]
        assert left == [], f"folders left: {left}"
        if swept_s:
            eventually(lambda: not self.sandbox.containers(), "containers swept", swept_s)
        containers = [(item.name, item.status) for item in self.sandbox.containers()]
        assert containers == [], f"containers left: {containers}"
