"""Run one container to its end, or take up one that a dead process of ours has started.

Create, attach, start; then the end of the attached stream and the `die` event. What the engine
cannot tell any more (a lost stream, a container taken up) is asked with `inspect` and read from
the engine's own log. The container stays until the caller removes it: that comes after the
result is safe.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from iexworker.compute import engine_check, names
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.container_watch import Watch
from iexworker.compute.die_events import DieEvents
from iexworker.compute.engine import (
    ContainerSpec,
    ContainerState,
    Engine,
    EngineRefused,
)
from iexworker.compute.streams import Capture
from iexworker.errors import DockerError

log = logging.getLogger(__name__)

NO_EXIT = -1
"""The exit code of a container that never started, or was ended at its time limit."""

_FIRST_SIGNAL_CODE = 128
_ENGINE_STOP_CODES = frozenset({137, 143, 255})
"""How a container ends when its engine or its host goes down, besides by its own doing."""

_BAD_REQUEST = 400
_SERVER_ERROR = 500
_OUR_MACHINE = re.compile(
    r"(no space left on device|disk quota exceeded|too many open files( in system)?)(: unknown)?$"
)
"""How the system's own words end a refusal; what the image's author chose stands before."""


class RunStatus(enum.Enum):
    """How a run ended (docs/spec/06, section 6.3)."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over; the container is still there, unless `container` is None."""

    status: RunStatus
    exit_code: int
    container: str | None = None
    reason: str = ""
    """Why it is no success."""


class _NotStarted(Exception):
    """The engine has refused to create or to start the container."""

    def __init__(self, refusal: EngineRefused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class ContainerRunner:
    """Runs containers, one at a time, for one process."""

    def __init__(self, engine: Engine, deaths: DieEvents) -> None:
        self._engine = engine
        self._deaths = deaths

    def adoptable(self, spec: ContainerSpec) -> ContainerState | None:
        """Return our container for the same attempt, if its run can be taken up.

        One that ended by a signal may have been ended with the engine or the host: its result is
        not the app's, and it is run again.
        """
        for found in self._engine.find(_identity(spec)):
            if found.labels.get(names.LABEL_ATTEMPT) != spec.labels[names.LABEL_ATTEMPT]:
                continue
            if found.running or (found.ended and found.exit_code < _FIRST_SIGNAL_CODE):
                return found
        return None

    def run(
        self, spec: ContainerSpec, limit_s: float, capture: Capture, cancellation: Cancellation
    ) -> Run:
        """Run the container for at most `limit_s` seconds; its output is in `capture` at return.

        The way must be clear. Raises `Cancelled` (the container is gone then), and `DockerError`
        when the engine fails.
        """
        self._deaths.listen()
        try:
            return self._run(spec, limit_s, capture, cancellation)
        except _NotStarted as error:
            self._suspect_app(spec, error.refusal)
            if error.refusal.status == _BAD_REQUEST:
                return _failed(error.refusal)
        # The engine may have got over it in the meantime.
        try:
            return self._run(spec, limit_s, capture, cancellation)
        except _NotStarted as error:
            if not _may_be_apps(error.refusal):
                raise error.refusal from None
            return _failed(error.refusal)

    def _run(
        self, spec: ContainerSpec, limit_s: float, capture: Capture, cancellation: Cancellation
    ) -> Run:
        try:
            container = self._engine.create(spec)
        except EngineRefused as error:
            raise _NotStarted(error) from None
        with self._removed_unless_resumable(container):
            return self._start(container, limit_s, capture, cancellation)

    def _suspect_app(self, spec: ContainerSpec, refusal: EngineRefused) -> None:
        """Raise `DockerError` when the engine refuses for a reason of its own, or of ours."""
        if not _may_be_apps(refusal):
            raise refusal from None
        try:
            engine_check.require_working(self._engine, spec)
        except DockerError as error:
            raise DockerError(f"{refusal}; nor does it start another container: {error}") from None

    def adopt(
        self,
        found: ContainerState,
        limit_s: float,
        capture: Capture,
        cancellation: Cancellation,
    ) -> Run:
        """Wait for the end of a container that `adoptable` gave; otherwise as `run`."""
        self._deaths.listen()
        with self._removed_unless_resumable(found.id):
            started_s = found.started_s or time.time()
            left_s = limit_s - (time.time() - started_s) if found.running else 0.0
            watch = Watch(self._engine, self._deaths, found.id, None, capture, cancellation)
            exit_code = watch.end(left_s) if found.running else found.exit_code
            return self._concluded(found.id, exit_code, watch)

    def _start(
        self, container: str, limit_s: float, capture: Capture, cancellation: Cancellation
    ) -> Run:
        cancellation.check()
        with self._engine.attached(container) as stream:
            watch = Watch(self._engine, self._deaths, container, stream, capture, cancellation)
            try:
                self._engine.start(container)
            except EngineRefused as error:
                raise _NotStarted(error) from None
            return self._concluded(container, watch.end(limit_s), watch)

    def _concluded(self, container: str, exit_code: int | None, watch: Watch) -> Run:
        if exit_code is None:
            log.debug("container at its time limit", extra={"container": container})
            self._engine.kill(container)
            watch.drain()
            return Run(RunStatus.TIMEOUT, NO_EXIT, container, reason="did not end within its time")
        if exit_code in _ENGINE_STOP_CODES:
            self._require_engine(watch)
        watch.drain()
        if exit_code:
            reason = f"ended with exit code {exit_code}"
            return Run(RunStatus.FAILED, exit_code, container, reason=reason)
        return Run(RunStatus.SUCCESS, exit_code, container)

    def _require_engine(self, watch: Watch) -> None:
        """Raise `DockerError` when the engine went down: the app was ended, it did not fail.

        An engine that stops closes its door before it ends its containers, but goes on to serve
        open connections: only a new one tells.
        """
        self._engine.close()
        self._engine.ping()
        if watch.engine_lost:
            raise DockerError("the Docker engine went down and took the container with it")

    def clear(self, spec: ContainerSpec) -> None:
        """Remove what stands in the way: our own leftovers, and a Java worker's by its name.

        To be done before the folders are prepared, which a leftover may still write to.
        """
        for found in self._engine.find(_identity(spec)):
            self._engine.remove(found.id)
        namesake = self._engine.state(spec.name)
        if namesake is None:
            return
        owner = namesake.labels.get(names.LABEL_WALLET)
        if owner not in (None, spec.labels.get(names.LABEL_WALLET)):
            raise DockerError(
                f"the container name {spec.name} is in use by the worker {owner}:"
                " give the workers of one host different names"
            )
        log.warning("leftover container removed", extra={"container": namesake.name})
        self._engine.remove(namesake.id)

    @contextlib.contextmanager
    def _removed_unless_resumable(self, container: str) -> Iterator[None]:
        try:
            yield
        except DockerError:
            raise  # the container may run on, to be taken up by the next attempt
        except BaseException:
            with contextlib.suppress(DockerError):
                self._engine.remove(container)
            raise


def _identity(spec: ContainerSpec) -> dict[str, str]:
    return {
        name: spec.labels[name]
        for name in (names.LABEL_WALLET, names.LABEL_TASK, names.LABEL_STAGE)
    }


def _failed(refusal: EngineRefused) -> Run:
    return Run(RunStatus.FAILED, NO_EXIT, reason=refusal.reason)


def _may_be_apps(refusal: EngineRefused) -> bool:
    """Whether a refusal may be for what the app's image or arguments ask for.

    The engine answers 400 to a command that it cannot run, and 500 to an unknown user and the like;
    404 and 409 are for a container, image or network that is not as we expect it.
    """
    judged = refusal.status == _BAD_REQUEST or refusal.status >= _SERVER_ERROR
    return judged and not _OUR_MACHINE.search(refusal.reason)
