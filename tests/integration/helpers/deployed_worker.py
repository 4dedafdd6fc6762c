"""Workers that somebody else starts and starts again, with the files of deploy/."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.helpers.live_worker import LiveSandbox, LiveWorker

CHECKOUT = Path(__file__).parents[3]
DEPLOY = CHECKOUT / "deploy"


def compose_command() -> list[str] | None:
    """Return Compose's command line, as a plugin or as a program of its own; None without one."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") and _succeeds([*plugin, "version"]):
        return plugin
    return ["docker-compose"] if shutil.which("docker-compose") else None


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class DeployedWorker(LiveWorker):
    """A worker with a name of its own, whose parent is not ours."""

    def __init__(self, sandbox: LiveSandbox, name: str, **more: str) -> None:
        super().__init__(sandbox, "worker1", name=name, slots=1, **more)

    def variables(self) -> Mapping[str, str]:
        """Return what is the worker's own of its environment."""
        return {
            name: value
            for name, value in self.environment.items()
            if os.environ.get(name) != value and name != "PYTEST_CURRENT_TEST"
        }

    def write_variables(self, path: Path) -> None:
        """Write them as plain NAME=value lines, which shells, systemd and Compose all read."""
        lines = [f"{name}={value}\n" for name, value in self.variables().items()]
        path.write_text("".join(lines), encoding="utf-8")

    def parent(self) -> int:
        """Return the pid of the parent as it stands in the report, 0 while none answers."""
        report: dict[str, Any] = self.report() or {"pid": 0}
        pid: int = report["pid"]
        return pid
