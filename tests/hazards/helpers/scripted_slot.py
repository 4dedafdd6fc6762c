"""What a slot and its containers do, without an engine: the files and messages of a success."""

from __future__ import annotations

from iexworker.compute.folders import TaskFolder, make_folder
from iexworker.errors import DockerError
from iexworker.shared import handoff
from iexworker.shared.channels import Order, Outcome

DIGEST = "0x" + "d1" * 32
"""Of every result."""


def finished(folder: TaskFolder, order: Order) -> Outcome:
    """Do a step with success: its files are there when this returns."""
    digest = None
    data = folder.input / "data"
    if order.step != "app" and not data.exists():
        folder.prepare_input()
        data.write_bytes(b"input")
    if order.step == "compute":
        digest = DIGEST
        make_folder(folder.output)
        folder.archive.write_bytes(b"zip")
    outcome = handoff.StepOutcome(
        order.task_id, order.step, order.attempt, ok=True, digest=digest, exit_code=0
    )
    handoff.write_outcome(folder.root, outcome)
    return Outcome(order.task_id, order.step, order.attempt, ok=True)


class FakeDocker:
    """The containers, by task."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.trouble = ""
        """Why the engine cannot be reached."""

    def kill_task(self, task_id: str) -> None:
        if self.trouble:
            raise DockerError(self.trouble)
        self.running.discard(task_id)

    def owned(self) -> dict[str, str]:
        if self.trouble:
            raise DockerError(self.trouble)
        return {task: task for task in self.running}

    def remove(self, container: str) -> None:
        self.kill_task(container)
