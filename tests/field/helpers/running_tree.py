"""A real parent with processes that only pretend to work, and the verbs an operator types."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from iexworker.control import ask
from iexworker.errors import WorkerError
from tests.field.helpers.command import environment, run
from tests.helpers import fake_tree

PATIENCE_S = 20.0


class RunningTree:
    """A worker of the test: started, asked, stopped; a new one may follow in the same folder."""

    def __init__(
        self, base: Path, behaviours: Mapping[str, str], *arguments: str, **variables: str
    ) -> None:
        self.environ = environment(base, **{"IEXWORKER_SHUTDOWN_GRACE": "5s", **variables})
        self.root = base / "base" / "w"
        self._output = base / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, fake_tree.__file__, json.dumps(dict(behaviours)), *arguments],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.until(lambda report: all(item["ready"] for item in report["processes"][1:]))

    def say(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Type a verb."""
        return run(self.environ, *arguments)

    def report(self) -> dict[str, Any]:
        return ask(self.root, "status")

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first report that is as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(WorkerError):  # not up yet
                report = self.report()
                if wanted(report):
                    return report
            time.sleep(0.02)
        raise AssertionError(self.log())

    def log(self) -> str:
        return self._output.read_text()

    def lines(self, *words: str) -> list[str]:
        """Return the lines of the log that have all these words."""
        return [line for line in self.log().splitlines() if all(word in line for word in words)]

    def until_logged(self, *words: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while not self.lines(*words):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return self.lines(*words)[0]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop in order; returns the exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait(PATIENCE_S)


Start = Callable[..., RunningTree]


@contextlib.contextmanager
def running_trees(base: Path) -> Iterator[Start]:
    """Give a function that starts such a worker; none outlives the test."""
    trees: list[RunningTree] = []

    def start(
        *arguments: str, scheduling: str = "steady", compute: str = "steady", **variables: str
    ) -> RunningTree:
        behaviours = {"scheduling": scheduling, "compute": compute}
        trees.append(RunningTree(base, behaviours, *arguments, **variables))
        return trees[-1]

    try:
        yield start
    finally:
        for tree in trees:
            tree.end()
