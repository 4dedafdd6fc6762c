"""The three steps that a slot does for a task, each to its outcome.

An outcome is what `scheduling` reports: statuses and causes by the profile that the task was
granted under (docs/spec/06, sections 4, 5, 12 and 13), and by whose fault it is. No exception
leaves a step but `Cancelled`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iexworker.compute import app, images, output
from iexworker.compute.blame import PATIENCE_S, Blame, Patience, Trouble
from iexworker.compute.cancellation import Cancellation, Cancelled
from iexworker.compute.container import ContainerRunner, Run
from iexworker.compute.die_events import DieEvents
from iexworker.compute.download import Download
from iexworker.compute.engine import Engine
from iexworker.compute.folders import TaskFolder
from iexworker.compute.inputs import Inputs, InputsFailed
from iexworker.compute.names import Owner
from iexworker.compute.pull import pull
from iexworker.compute.streams import read_tail
from iexworker.errors import DockerError
from iexworker.poco.models import Profile, TaskDescription
from iexworker.shared.handoff import StepOutcome, TaskOrder

if TYPE_CHECKING:
    from iexworker.settings.model import Settings

log = logging.getLogger(__name__)

UNKNOWN = "UNKNOWN"
"""The cause of what is our own fault: the scheduler answers it with an abort."""

APP_DOWNLOAD_FAILED = "APP_IMAGE_DOWNLOAD_FAILED"
APP_NOT_FOUND = "APP_NOT_FOUND_LOCALLY"


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step that is over, and the container that it left to be looked at and removed."""

    outcome: StepOutcome
    container: str | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What a slot works with; made after the fork."""

    settings: Settings
    owner: Owner
    engine: Engine
    deaths: DieEvents
    runner: ContainerRunner
    scheduler_answers: Callable[[], bool]
    network_patience_s: float = PATIENCE_S


class Steps:
    """One attempt at a step of one task."""

    def __init__(
        self, tools: Tools, order: TaskOrder, attempt: int, cancellation: Cancellation
    ) -> None:
        self._tools = tools
        self._settings = tools.settings
        self._order = order
        self._attempt = attempt
        self._cancellation = cancellation
        self._folder = TaskFolder(tools.settings.task_dir(order.description.task_id))

    @property
    def _task(self) -> TaskDescription:
        return self._order.description

    def perform(self, step: str) -> StepResult:
        """Do `app`, `data` or `compute`; raises `Cancelled`, and nothing else."""
        work = {"app": self._app, "data": self._data, "compute": self._compute}
        try:
            return work[step]()
        except Cancelled:
            raise
        except (Trouble, DockerError) as error:
            message = str(error)
        except Exception as error:
            log.exception(
                "unexpected error in a step", extra={"task": self._task.task_id, "step": step}
            )
            message = f"{type(error).__name__}: {error}"
        self._clear_containers()
        return StepResult(self._failed(step, UNKNOWN, message))

    def _app(self) -> StepResult:
        try:
            self._patience().persist(self._pull_once, f"pull {self._task.app_image}")
        except Trouble as trouble:
            if trouble.blame is not Blame.REQUESTER:
                raise
            return self._download_failed("app", APP_DOWNLOAD_FAILED, str(trouble))
        return StepResult(StepOutcome(self._task.task_id, "app", self._attempt, ok=True))

    def _pull_once(self) -> None:
        """Pull the image; in profile 9 one that is here already will do (section 4.4)."""
        cached_will_do = self._order.profile is Profile.V9
        try:
            self._pull()
        except (Trouble, DockerError) as error:
            if not (cached_will_do and self._image_present()):
                raise
            log.warning(
                "image not pulled, the local one is used",
                extra={"task": self._task.task_id, "error": str(error)},
            )
            return
        if cached_will_do and not self._image_present():
            raise Trouble(Blame.OURS, f"{self._task.app_image} was pulled and is not here")

    def _pull(self) -> None:
        task = self._task
        if task.app_type != "DOCKER":
            raise Trouble(Blame.REQUESTER, f"app type {task.app_type!r}: expected DOCKER")
        try:
            reference = images.ImageReference.parse(task.app_image)
        except images.BadReference as error:
            raise Trouble(Blame.REQUESTER, str(error)) from None
        timeout_s = images.pull_timeout_s(
            task.max_execution_time_s,
            self._settings.min_pull_timeout_s,
            self._settings.max_pull_timeout_s,
        )
        left_s = max(1.0, task.contribution_deadline_s - time.time())
        started_s = time.monotonic()
        pull(
            self._tools.engine,
            reference,
            self._settings.registries,
            min(timeout_s, left_s),
            self._cancellation,
        )
        seconds = time.monotonic() - started_s
        log.debug(
            "image pulled",
            extra={"task": task.task_id, "image": task.app_image, "seconds": round(seconds, 2)},
        )

    def _image_present(self) -> bool:
        return images.is_present(self._tools.engine, self._task.app_image)

    def _data(self) -> StepResult:
        if self._task.tee_framework is None:
            try:
                self._fetch_inputs()
            except InputsFailed as error:
                return self._download_failed("data", error.cause, str(error))
        # The data of a TEE task is fetched by its enclave (section 3).
        return StepResult(StepOutcome(self._task.task_id, "data", self._attempt, ok=True))

    def _fetch_inputs(self) -> None:
        patience = self._patience()
        download = Download(
            patience.deadline_s, self._cancellation, self._settings.private_urls_allowed
        )
        inputs = Inputs(self._folder, download, patience, self._settings.ipfs_gateways)
        inputs.fetch(self._task, self._order.profile)

    def _download_failed(self, step: str, cause: str, message: str) -> StepResult:
        """Fail a download by the requester's fault, with a result to be contributed (13)."""
        status = f"{step.upper()}_DOWNLOAD_FAILED"
        try:
            result = output.error_result(
                self._folder, self._task, self._order.profile, status, cause
            )
        except output.PostComputeFailed as error:
            return StepResult(self._failed(step, error.cause, f"{message}; {error}"))
        return StepResult(self._failed(step, cause, message, result))

    def _compute(self) -> StepResult:
        return self._patience().persist(self._compute_once, "compute")

    def _compute_once(self) -> StepResult:
        tools = self._tools
        container = app.spec(self._order, self._attempt, self._folder, tools.settings, tools.owner)
        run = app.App(tools.runner, self._folder, tools.settings, container)
        adopted = run.running()
        if adopted is None:
            missing = self._bring_image_back()
            if missing:
                return StepResult(self._failed("compute", APP_NOT_FOUND, missing))
            run.clear()
            self._restore_inputs()
        ended = run.run(self._task.max_execution_time_s, self._cancellation, adopted)
        return StepResult(self._computed(ended), ended.container)

    def _bring_image_back(self) -> str:
        """Pull again what was removed since the step `app`; return why that cannot be."""
        if self._image_present():
            return ""
        log.warning(
            "image is not here any more, pulling it again",
            extra={"task": self._task.task_id, "image": self._task.app_image},
        )
        try:
            self._pull()
        except Trouble as trouble:
            if trouble.blame is not Blame.REQUESTER:
                raise
            return f"{self._task.app_image} is not here any more: {trouble}"
        return "" if self._image_present() else f"{self._task.app_image} was pulled and is not here"

    def _restore_inputs(self) -> None:
        """Fetch the inputs again where they are lost, or a run of the app may have changed them."""
        if self._folder.input.is_dir() and not self._folder.input_used.exists():
            return
        try:
            self._fetch_inputs()
        except InputsFailed as error:
            raise Trouble(Blame.OURS, f"inputs cannot be had again: {error}") from None

    def _computed(self, run: Run) -> StepOutcome:
        """Return what profile 8 or 9 reports of a run and its post-compute (section 12).

        An app that succeeds and leaves no usable result fails in both: no scheduler takes the
        CONTRIBUTE_FAILED that would follow in profile 9, and the cause would be lost.
        """
        tolerant = self._order.profile is Profile.V9
        cause, message = app.cause(run), run.reason
        result: output.Result | None = None
        if cause is None or tolerant:
            try:
                result = output.post_compute(self._folder, self._task)
            except output.PostComputeFailed as error:
                if cause is None:
                    exit_code = run.exit_code if tolerant else None
                    return self._outcome(
                        run, cause=error.cause, message=str(error), exit_code=exit_code
                    )
                message = f"{message} {error.cause}: {error}".strip()
        if cause is not None:
            message = f"{cause} {message}".strip()
        if tolerant:
            return self._outcome(run, message=message, exit_code=run.exit_code, result=result)
        exit_code = None if cause is None else run.exit_code
        return self._outcome(run, cause=cause, message=message, exit_code=exit_code, result=result)

    def _outcome(
        self,
        run: Run,
        *,
        cause: str | None = None,
        message: str = "",
        exit_code: int | None = None,
        result: output.Result | None = None,
    ) -> StepOutcome:
        """Return the outcome of a compute; a failed post-compute of profile 8 shows no output."""
        silent = cause is not None and exit_code is None
        return StepOutcome(
            self._task.task_id,
            "compute",
            self._attempt,
            ok=cause is None,
            cause=cause,
            message=message,
            exit_code=exit_code,
            with_logs=True,
            stdout_tail="" if silent else read_tail(self._folder.stream("stdout")),
            stderr_tail="" if silent else read_tail(self._folder.stream("stderr")),
            digest=None if result is None else result.digest,
            callback_data=None if result is None else result.callback_data,
        )

    def _failed(
        self, step: str, cause: str, message: str, result: output.Result | None = None
    ) -> StepOutcome:
        return StepOutcome(
            self._task.task_id,
            step,
            self._attempt,
            ok=False,
            cause=cause,
            message=message,
            digest=None if result is None else result.digest,
        )

    def _patience(self) -> Patience:
        """Return how long to try what is our own fault."""
        return Patience(
            deadline_s=self._task.contribution_deadline_s,
            longest_s=self._task.max_execution_time_s,
            pause=self._cancellation.pause,
            scheduler_answers=self._tools.scheduler_answers,
            task=self._task.task_id,
            network_s=self._tools.network_patience_s,
        )

    def _clear_containers(self) -> None:
        with contextlib.suppress(DockerError):
            self._tools.engine.remove_labelled(self._tools.owner.wallet, self._task.task_id)
