"""The app container of a standard task (docs/spec/06, section 7)."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iexworker.compute import arguments, devlog, names, output
from iexworker.compute.blame import Blame, Trouble
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.container import ContainerRunner, Run, RunStatus
from iexworker.compute.engine import ContainerSpec, ContainerState
from iexworker.compute.environment import IEXEC_IN, IEXEC_OUT, app_environment
from iexworker.compute.folders import TaskFolder
from iexworker.compute.limits import host_options
from iexworker.compute.names import container_name
from iexworker.compute.streams import Capture
from iexworker.shared.handoff import TaskOrder

if TYPE_CHECKING:
    from iexworker.settings.model import Settings

log = logging.getLogger(__name__)

STAGE = "app"
_LEAST_FREE_BYTES = 16 << 20

_CAUSES = {
    RunStatus.SUCCESS: None,
    RunStatus.FAILED: "APP_COMPUTE_FAILED",
    RunStatus.TIMEOUT: "APP_COMPUTE_TIMEOUT",
}


def spec(
    order: TaskOrder, attempt: int, folder: TaskFolder, settings: Settings, owner: names.Owner
) -> ContainerSpec:
    """Return the container of the task's app; all that it can see follows the profile."""
    task = order.description
    return ContainerSpec(
        name=container_name(owner.worker, task.task_id),
        image=task.app_image,
        labels=names.labels(owner, task.task_id, STAGE, attempt),
        command=arguments.split(task.params.args),
        environment=app_environment(task, order.profile),
        binds=(f"{folder.input}:{IEXEC_IN}", f"{folder.iexec_out}:{IEXEC_OUT}"),
        host_options=host_options(settings, order.profile),
    )


def cause(run: Run) -> str | None:
    """Return the wire's cause of a run, None when it succeeded (section 7.2)."""
    return _CAUSES[run.status]


@dataclass(frozen=True, slots=True)
class App:
    """Runs the app of one task, once."""

    runner: ContainerRunner
    folder: TaskFolder
    settings: Settings
    container: ContainerSpec

    def running(self) -> ContainerState | None:
        """Return the app's container when a dead process of ours left one to take up."""
        return self.runner.adoptable(self.container)

    def clear(self) -> None:
        """End and remove what an earlier attempt has left; raises `DockerError`."""
        self.runner.clear(self.container)

    def run(
        self, limit_s: float, cancellation: Cancellation, adopted: ContainerState | None
    ) -> Run:
        """Run the app to its end; its streams are kept, and in the result if it succeeded.

        Raises `Trouble` when our disk is full at the end, `DockerError` and `Cancelled`.
        """
        if adopted is None:
            self.folder.prepare_run()
            self.folder.input_used.touch()
        else:
            log.info("app still runs, taken up again", extra={"task": self.folder.root.name})
        try:
            run = self._run(limit_s, cancellation, adopted)
            self._check_disk()
        except (OSError, Trouble):
            # What our disk has cut short is run again from its start, never taken up.
            self.clear()
            raise
        facts = {"status": run.status.value, "exit_code": run.exit_code}
        log.debug("app ended", extra={"task": self.folder.root.name, **facts})
        if run.status is RunStatus.SUCCESS:
            output.keep_streams(self.folder)
        if self.settings.developer_logger:
            devlog.write(self.folder)
        return run

    def _run(
        self, limit_s: float, cancellation: Cancellation, adopted: ContainerState | None
    ) -> Run:
        with Capture(self.folder.stream("stdout"), self.folder.stream("stderr")) as capture:
            if adopted is not None:
                return self.runner.adopt(adopted, limit_s, capture, cancellation)
            return self.runner.run(self.container, limit_s, capture, cancellation)

    def _check_disk(self) -> None:
        """Refuse a result that may lack what our full disk did not take."""
        if shutil.disk_usage(self.folder.root).free < _LEAST_FREE_BYTES:
            raise Trouble(Blame.OURS, "the disk was full when the app ended")
