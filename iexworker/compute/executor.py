"""Executes the orders of one slot: persists the outcome, then notifies scheduling."""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from typing import TYPE_CHECKING

from iexworker import logs
from iexworker.compute.cancellation import Cancellation, Cancelled
from iexworker.compute.container import ContainerRunner
from iexworker.compute.die_events import DieEvents
from iexworker.compute.engine import Engine
from iexworker.compute.folders import TaskFolder
from iexworker.compute.names import Owner
from iexworker.compute.steps import UNKNOWN, StepResult, Steps, Tools
from iexworker.errors import DockerError
from iexworker.shared import handoff
from iexworker.shared.channels import Message, Order, Outcome
from iexworker.shared.handoff import StepOutcome
from iexworker.shared.ring import Stage
from iexworker.shared.thresholds import PING_FRESH_S

if TYPE_CHECKING:
    from iexworker.settings.model import Settings
    from iexworker.shared.board import FactsBoard
    from iexworker.shared.channels import Channel
    from iexworker.shared.ring import Writer

log = logging.getLogger(__name__)

UNKNOWN_FACT = "unknown"
_RETRY_S = 5.0
_INSPECT_S = 3.0
_INSPECT_PAUSE_S = 0.05


class Executor:
    """Used by the thread of a step, one at a time.

    `outcomes` leads to `scheduling`, `durations` is the slot's part of the ring.
    """

    def __init__(
        self,
        settings: Settings,
        boot_id: str,
        facts: FactsBoard,
        outcomes: Channel,
        durations: Writer,
    ) -> None:
        self._settings = settings
        self._boot_id = boot_id
        self._facts = facts
        self._outcomes = outcomes
        self._durations = durations
        self._tools_made: Tools | None = None

    def close(self) -> None:
        """Drop the connections to the engine."""
        if self._tools_made is not None:
            self._tools_made.deaths.close()
            self._tools_made.engine.close()

    def serve(self, message: Order, cancellation: Cancellation) -> None:
        """Do what the order says, or answer again; raises `Cancelled`."""
        with logs.about(message.task_id):
            self._serve(message, cancellation)

    def _serve(self, message: Order, cancellation: Cancellation) -> None:
        folder = self._settings.task_dir(message.task_id)
        known = handoff.read_outcome(folder, message.step, message.attempt)
        if known is not None:
            self._tell(known)
            if message.step == "compute":
                self.sweep(message.task_id)
            return
        try:
            done = self._perform(message, cancellation)
        except Cancelled:
            raise
        except Exception as error:
            log.exception("order failed", extra={"task": message.task_id, "step": message.step})
            done = StepResult(_unable(message, repr(error)))
        self._record(done.outcome, cancellation)
        self._tell(done.outcome)
        duration_ms = None
        if done.container is not None:
            duration_ms = self._look_back(message.task_id, done.container)
        if message.step == "compute" and done.outcome.digest is not None:
            _log_computed(TaskFolder(folder), duration_ms)

    def _perform(self, message: Order, cancellation: Cancellation) -> StepResult:
        folder = self._settings.task_dir(message.task_id)
        order = handoff.read_order(folder)
        if order is None or message.step not in handoff.STEPS:
            return StepResult(_unable(message, f"no order for step {message.step!r} in {folder}"))
        return Steps(self._tools(), order, message.attempt, cancellation).perform(message.step)

    def _record(self, outcome: StepOutcome, cancellation: Cancellation) -> None:
        """Put the outcome on disk; a disk that is full is waited for: silence is a bug."""
        folder = self._settings.task_dir(outcome.task_id)
        while True:
            try:
                handoff.write_outcome(folder, outcome)
                return
            except FileNotFoundError:
                # Purged meanwhile: nobody wants the outcome, and the folder must not come back.
                log.warning("task folder gone", extra={"task": outcome.task_id})
                return
            except OSError as error:
                log.error(
                    "outcome not written", extra={"task": outcome.task_id, "error": str(error)}
                )
                cancellation.pause(_RETRY_S)

    def _tell(self, outcome: StepOutcome) -> None:
        self.send(Outcome(outcome.task_id, outcome.step, outcome.attempt, outcome.ok))

    def send(self, message: Message) -> None:
        """Wake `scheduling`; one that does not listen will say hello and order again."""
        try:
            self._outcomes.put_nowait(message)
        except queue.Full:
            log.warning("scheduling does not listen", extra={"kind": type(message).__name__})

    def _look_back(self, task_id: str, container: str) -> int | None:
        """Record how long the container ran by the engine's clock, return it, and remove it."""
        engine = self._tools().engine
        duration_ms = None
        try:
            duration_ms = _duration_ms(engine, container)
            if duration_ms is not None:
                self._durations.record(Stage.APP, task_id, duration_ms)
            engine.remove(container)
        except DockerError as error:
            log.warning("container not removed", extra={"task": task_id, "error": str(error)})
        return duration_ms

    def sweep(self, task_id: str) -> None:
        """Remove every container of the task."""
        with contextlib.suppress(DockerError):
            tools = self._tools()
            tools.engine.remove_labelled(tools.owner.wallet, task_id)

    def _owner(self) -> Owner:
        """Return whose work this is; `scheduling` says so before it orders anything."""
        wallet = self._facts.read().wallet
        if not wallet:
            raise RuntimeError("the board does not name our wallet")
        return Owner(wallet, self._settings.name, self._boot_id)

    def _tools(self) -> Tools:
        if self._tools_made is None:
            address = self._settings.docker_host
            engine = Engine(address)
            owner = self._owner()
            deaths = DieEvents(address, owner.wallet)
            self._tools_made = Tools(
                settings=self._settings,
                owner=owner,
                engine=engine,
                deaths=deaths,
                runner=ContainerRunner(engine, deaths),
                scheduler_answers=self._scheduler_answers,
            )
        return self._tools_made

    def _scheduler_answers(self) -> bool:
        last_s = self._facts.read().last_ping_s
        return last_s is not None and time.time() - last_s <= PING_FRESH_S


def _unable(order: Order, message: str) -> StepOutcome:
    return StepOutcome(
        order.task_id, order.step, order.attempt, ok=False, cause=UNKNOWN, message=message
    )


def _log_computed(folder: TaskFolder, duration_ms: int | None) -> None:
    """Tell of a result: how long its app ran, as `/metrics` has it, and the archive's size."""
    try:
        size: int | str = folder.archive.stat().st_size
    except OSError:
        size = UNKNOWN_FACT
    log.info(
        "task computed",
        extra={
            "task": folder.root.name,
            "duration_ms": UNKNOWN_FACT if duration_ms is None else duration_ms,
            "size_bytes": size,
        },
    )


def _duration_ms(engine: Engine, container: str) -> int | None:
    """Ask the engine, which learns of an end after its network is torn down."""
    deadline_s = time.monotonic() + _INSPECT_S
    while True:
        state = engine.state(container)
        if state is None:
            return None
        if state.ended or time.monotonic() > deadline_s:
            return state.duration_ms if state.ended else None
        time.sleep(_INSPECT_PAUSE_S)
