"""A sandbox of chain, scheduler and proxy alone, and its command line as a user types it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from iexworker import cli
from iexworker.sandbox.chain import chain
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.network import processes
from iexworker.sandbox.network.processes import Child, Records
from tests.helpers.minimal_worker import MinimalWorker
from tests.helpers.sandbox_server import CATEGORIES, TIMERS, SandboxServer, make_network

STEPS_BY_HAND = replace(TIMERS, unnotified_check_s=600)
"""What a worker did is not found on the chain before it tells."""

STEPS_BEFORE_COMPUTED = (
    *("STARTING", "STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED"),
    *("DATA_DOWNLOADING", "DATA_DOWNLOADED", "COMPUTING"),
)


@dataclass(frozen=True)
class Said:
    """What a command printed, and the exit code that it ended with."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def typed(*arguments: str | Path) -> Said:
    """Run `iexworker` with these arguments in this process; what it does not catch is raised."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(one) for one in arguments])
        except SystemExit as end:  # argparse
            code = end.code if isinstance(end.code, int) else 1
    return Said(code, out.getvalue(), err.getvalue())


class SmallSandbox:
    """A network without registry and Docker; `sandbox` verbs find it whole."""

    def __init__(self, folder: Path, profile: str = "9") -> None:
        self.network = make_network(folder, profile, timers=STEPS_BY_HAND, block_time_s=0.1)
        self._node = chain.start(self.network, CATEGORIES)
        self.server = SandboxServer(self.network)
        self.chain = LocalChain.open(self.network.deployed_path)
        records = Records(folder / "children.json")
        registry = processes.start("registry", ["sleep", "600"], folder / "registry.log")
        for child in (self._node, registry, _child("server", self.server.process.pid)):
            records.add(child)
        self._registry = registry

    def close(self) -> None:
        self._registry.stop()
        self.server.stop()
        self._node.stop()

    def type(self, verb: str, *arguments: str) -> Said:
        """Run a verb of `iexworker sandbox` on this network."""
        return typed("sandbox", verb, "--dir", self.network.directory, *arguments)

    def buy(self, *arguments: str) -> str:
        """Buy one task of an image that nobody pulls; return its id."""
        said = self.type("deal", "--json", "--image", "app:1", *arguments)
        assert said.code == 0, said
        (task,) = json.loads(said.out)["taskIds"]
        return str(task)

    def trouble(self, task: str) -> list[str]:
        """Return what `sandbox tasks` says of a task, in its JSON and its lines alike."""
        every = json.loads(self.type("tasks", "--json").out)
        (told,) = (one["troubles"] for one in every if one["taskId"] == task)
        lines = self.type("tasks").lines
        place = next(number for number, line in enumerate(lines) if line.startswith(task)) + 1
        assert lines[place : place + len(told)] == [f"    {words}" for words in told]
        return list(told)

    @contextlib.contextmanager
    def worker(self, role: str = "worker1") -> Iterator[HandWorker]:
        """Have a worker that does what the test says."""
        worker = HandWorker(self.chain, role, self.network.scheduler_url)
        worker.login()
        worker.register(slots=8)
        worker.listen()
        try:
            yield worker
        finally:
            worker.leave()


def _child(name: str, pid: int) -> Child:
    """Describe a process that the test has started: pid and start time (proc(5), field 22)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return Child(name, pid, int(fields[19]), "")


class HandWorker(MinimalWorker):
    """The minimal worker, with the steps of a task in one call."""

    def take(self, task: str) -> dict[str, Any]:
        """Get exactly this task and bring it to COMPUTING; return the authorisation."""
        grant: dict[str, Any] = self.ask_until_granted()["workerpoolAuthorization"]
        assert grant["chainTaskId"] == task
        self.subscribe(task)
        self.tell(task, *STEPS_BEFORE_COMPUTED)
        return grant

    def agree(self, grant: dict[str, Any], digest: bytes) -> None:
        """Bring a task from COMPUTED to the request to upload."""
        task = str(grant["chainTaskId"])
        self.tell(task, "COMPUTED", "CONTRIBUTING")
        self._told(task, "CONTRIBUTED", self.contribute_digest(grant, digest))
        self.await_push("PLEASE_REVEAL", skip=("PLEASE_COMPLETE",))
        self.tell(task, "REVEALING")
        self._told(task, "REVEALED", self.reveal_digest(task, digest))
        self.await_push("PLEASE_UPLOAD")
        self.tell(task, "RESULT_UPLOADING")

    def _told(self, task: str, status: str, receipt: dict[str, object]) -> None:
        assert self.update(task, status, chainReceipt=receipt).status_code == 200
