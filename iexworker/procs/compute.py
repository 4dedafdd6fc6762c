"""A compute slot: one task at a time, from the orders of `scheduling` to outcomes on disk.

The main thread listens, so that a cancel or a stop is obeyed at once whatever the step waits
for; the step itself runs in a thread of its own. An order names task, step and attempt and may
come twice: what is on disk is answered again, a container that still runs is taken up.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from iexworker.compute.cancellation import Cancellation, Cancelled
from iexworker.compute.container import Runner
from iexworker.compute.deaths import Deaths
from iexworker.compute.engine import Engine
from iexworker.compute.labels import Owner
from iexworker.compute.steps import UNKNOWN, Done, Steps, Tools
from iexworker.errors import EXIT_INTERNAL, DockerError
from iexworker.shared.board import State
from iexworker.shared.channels import Cancel, Channel, Hello, Message, Order, Outcome, Stop
from iexworker.shared.ring import Stage
from iexworker.task import orders
from iexworker.task.orders import StepOutcome

if TYPE_CHECKING:
    from iexworker.procs.context import Context

log = logging.getLogger(__name__)

PING_FRESH_S = 30.0
"""A ping answered within this time says that our network is not the trouble."""

_TICK_S = 10.0
_LET_GO_S = 45.0
"""How long a cancelled step may take to let go: longer than any wait on the network."""

_LEAVE_S = 5.0
_RETRY_S = 5.0
_INSPECT_S = 3.0
_INSPECT_PAUSE_S = 0.05


def run(context: Context) -> None:
    """Serve orders until the parent says stop; the role is `compute-<slot>`."""
    Slot(context).serve()


class Slot:
    """The main thread of a compute process."""

    def __init__(self, context: Context) -> None:
        if context.slot is None:
            raise ValueError(f"{context.role} has no slot")
        self._context = context
        self._orders = context.channels.orders[context.slot]
        self._workbench = Workbench(context, context.slot)
        self._entry = context.board.entry(context.role)
        self._waiting: deque[Order | Cancel] = deque()
        self._job: Job | None = None
        self._leave_s: float | None = None

    def serve(self) -> None:
        """Greet, then obey until told to leave."""
        self._entry.write(state=State.IDLE, task="", step="")
        self._workbench.send(self._context.hello())
        self._context.ready()
        while not self._leaving():
            self._entry.tick()
            self._wait()
        self._entry.write(state=State.STOPPING)
        if self._job is None:
            self._workbench.close()

    def _leaving(self) -> bool:
        """Whether to leave now: told to, and the step is over or out of grace."""
        if self._leave_s is None:
            return False
        if self._job is not None and time.monotonic() >= self._leave_s:
            self._job.cancel()
            self._job.join(_LEAVE_S)
            return True
        return self._job is None

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._orders, select.POLLIN)
        poll.register(self._context.control, select.POLLIN)
        if self._job is not None:
            poll.register(self._job.done, select.POLLIN)
        poll.poll(self._patience_s() * 1000)
        self._reap()
        for message in _all_of(self._context.control):
            self._obey(message)
        for message in _all_of(self._orders):
            self._obey(message)
        self._begin_next()

    def _patience_s(self) -> float:
        if self._leave_s is None:
            return _TICK_S
        return min(_TICK_S, max(0.0, self._leave_s - time.monotonic()))

    def _obey(self, message: Message) -> None:
        if isinstance(message, Stop):
            self._leave_s = time.monotonic() + message.grace_s
            self._waiting.clear()
        elif isinstance(message, Cancel):
            self._cancel(message)
        elif isinstance(message, Order):
            if message not in self._waiting:
                self._waiting.append(message)
        elif not isinstance(message, Hello):
            log.error("unexpected message", extra={"kind": type(message).__name__})

    def _cancel(self, message: Cancel) -> None:
        """Let go of a task: what runs for it is ended, what waits is dropped, nothing is said."""
        kept = [item for item in self._waiting if item.task_id != message.task_id]
        self._waiting = deque(kept)
        if self._job is not None and self._job.task_id == message.task_id:
            log.info("task cancelled", extra={"task": message.task_id})
            self._job.cancel()
        else:
            self._waiting.append(message)

    def _begin_next(self) -> None:
        if self._job is not None or not self._waiting or self._leave_s is not None:
            return
        message = self._waiting.popleft()
        step = message.step if isinstance(message, Order) else ""
        if step:
            self._entry.write(state=State.BUSY, task=message.task_id, step=step)
        self._job = Job(self._workbench, message)
        self._job.start()

    def _reap(self) -> None:
        """Take note of a step that is over; a process whose step cannot let go is of no use."""
        job = self._job
        if job is None:
            return
        if job.is_over():
            job.close()
            self._job = None
            self._entry.write(state=State.IDLE, task="", step="")
        elif job.cancelled_for_s() > _LET_GO_S:
            log.critical("step does not let go, the process ends", extra={"task": job.task_id})
            os._exit(EXIT_INTERNAL)


class Job:
    """One order, or one cancel of what no thread works on, in a thread of its own."""

    def __init__(self, workbench: Workbench, message: Order | Cancel) -> None:
        self.task_id = message.task_id
        self.done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._workbench = workbench
        self._message = message
        self._cancellation = Cancellation()
        self._cancelled_s: float | None = None
        self._over = False
        self._thread = threading.Thread(target=self._work, name="step", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Tell the thread to let go, silently."""
        if self._cancelled_s is None:
            self._cancelled_s = time.monotonic()
        self._cancellation.cancel()

    def cancelled_for_s(self) -> float:
        """Return for how long the thread has been told to let go."""
        return 0.0 if self._cancelled_s is None else time.monotonic() - self._cancelled_s

    def is_over(self) -> bool:
        """Whether the work is done, or given up."""
        return self._over

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout_s)

    def close(self) -> None:
        """Give the descriptors back, once the thread has ended."""
        self._thread.join()
        os.close(self.done)
        self._cancellation.close()

    def _work(self) -> None:
        try:
            if isinstance(self._message, Order):
                self._workbench.serve(self._message, self._cancellation)
            else:
                self._workbench.sweep(self.task_id)
        except Cancelled:
            self._workbench.sweep(self.task_id)
        except Exception:
            # The order stands: `scheduling` sends it again to whoever says hello.
            log.exception("order not answered", extra={"task": self.task_id})
        finally:
            self._over = True
            os.eventfd_write(self.done, 1)


class Workbench:
    """What the step's thread works with; one thread at a time."""

    def __init__(self, context: Context, slot: int) -> None:
        self._context = context
        self._settings = context.settings
        self._outcomes = context.channels.outcomes[slot]
        self._durations = context.ring.writer(slot)
        self._tools_made: Tools | None = None

    def close(self) -> None:
        """Drop the connections to the engine."""
        if self._tools_made is not None:
            self._tools_made.deaths.close()
            self._tools_made.engine.close()

    def serve(self, message: Order, cancellation: Cancellation) -> None:
        """Do what the order says, or answer again; raises `Cancelled`."""
        folder = self._settings.task_dir(message.task_id)
        known = orders.read_outcome(folder, message.step, message.attempt)
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
            done = Done(_unable(message, repr(error)))
        self._record(done.outcome, cancellation)
        self._tell(done.outcome)
        if done.container is not None:
            self._look_back(message.task_id, done.container)

    def _perform(self, message: Order, cancellation: Cancellation) -> Done:
        folder = self._settings.task_dir(message.task_id)
        order = orders.read_order(folder)
        if order is None or message.step not in orders.STEPS:
            return Done(_unable(message, f"no order for step {message.step!r} in {folder}"))
        return Steps(self._tools(), order, message.attempt, cancellation).perform(message.step)

    def _record(self, outcome: StepOutcome, cancellation: Cancellation) -> None:
        """Put the outcome on disk; a disk that is full is waited for: silence is a bug."""
        folder = self._settings.task_dir(outcome.task_id)
        while True:
            try:
                orders.write_outcome(folder, outcome)
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

    def _look_back(self, task_id: str, container: str) -> None:
        """Record how long the container ran by the engine's clock, then remove it."""
        engine = self._tools().engine
        try:
            duration_ms = _duration_ms(engine, container)
            if duration_ms is not None:
                self._durations.record(Stage.APP, task_id, duration_ms)
            engine.remove(container)
        except DockerError as error:
            log.warning("container not removed", extra={"task": task_id, "error": str(error)})

    def sweep(self, task_id: str) -> None:
        """Remove every container of the task."""
        with contextlib.suppress(DockerError):
            tools = self._tools()
            tools.engine.remove_labelled(tools.owner.wallet, task_id)

    def _owner(self) -> Owner:
        """Return whose work this is; `scheduling` says so before it orders anything."""
        wallet = self._context.board.facts.read().wallet
        if not wallet:
            raise RuntimeError("the board does not name our wallet")
        return Owner(wallet, self._settings.name, self._context.boot_id)

    def _tools(self) -> Tools:
        if self._tools_made is None:
            address = self._settings.docker_host
            engine = Engine(address)
            owner = self._owner()
            deaths = Deaths(address, owner.wallet)
            self._tools_made = Tools(
                settings=self._settings,
                owner=owner,
                engine=engine,
                deaths=deaths,
                runner=Runner(engine, deaths),
                scheduler_answers=self._scheduler_answers,
            )
        return self._tools_made

    def _scheduler_answers(self) -> bool:
        last_s = self._context.board.facts.read().last_ping_s
        return last_s is not None and time.time() - last_s <= PING_FRESH_S


def _unable(order: Order, message: str) -> StepOutcome:
    return StepOutcome(
        order.task_id, order.step, order.attempt, ok=False, cause=UNKNOWN, message=message
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


def _all_of(channel: Channel) -> list[Message]:
    messages: list[Message] = []
    while True:
        try:
            messages.append(channel.get_nowait())
        except queue.Empty:
            return messages
