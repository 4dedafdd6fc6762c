"""A compute slot: one task at a time, from the orders of `scheduling` to outcomes on disk.

The main thread listens, so that a cancel or a stop is obeyed at once whatever the step waits
for; the step itself runs in a thread of its own. An order names task, step and attempt and may
come twice: what is on disk is answered again, a container that still runs is taken up.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from iexworker import outage
from iexworker.compute.cancellation import Cancellation, Cancelled
from iexworker.compute.executor import Executor
from iexworker.errors import EXIT_INTERNAL
from iexworker.shared.board import State
from iexworker.shared.channels import Cancel, Channel, Hello, Message, Order, Stop

if TYPE_CHECKING:
    from iexworker.procs.context import Context

log = logging.getLogger(__name__)

_TICK_S = 10.0
_LET_GO_S = 45.0
"""How long a cancelled step may take to let go: longer than any wait on the network."""

_LEAVE_S = 5.0


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
        self._executor = Executor(
            context.settings,
            context.boot_id,
            context.board.facts,
            context.channels.outcomes[context.slot],
            context.ring.writer(context.slot),
        )
        self._entry = context.board.entry(context.role)
        self._waiting: deque[Order | Cancel] = deque()
        self._job: Job | None = None
        self._leave_s: float | None = None

    def serve(self) -> None:
        """Greet, then obey until told to leave."""
        self._entry.write(state=State.IDLE, task="", step="")
        self._executor.send(self._context.hello())
        self._context.ready()
        while not self._leaving():
            self._entry.tick()
            outage.remind()
            self._wait()
        self._entry.write(state=State.STOPPING)
        if self._job is None:
            self._executor.close()

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
            log.debug("task cancelled", extra={"task": message.task_id})
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
        self._job = Job(self._executor, message)
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

    def __init__(self, executor: Executor, message: Order | Cancel) -> None:
        self.task_id = message.task_id
        self.done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._executor = executor
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
                self._executor.serve(self._message, self._cancellation)
            else:
                self._executor.sweep(self.task_id)
        except Cancelled:
            self._executor.sweep(self.task_id)
        except Exception:
            # The order stands: `scheduling` sends it again to whoever says hello.
            log.exception("order not answered", extra={"task": self.task_id})
        finally:
            self._over = True
            os.eventfd_write(self.done, 1)


def _all_of(channel: Channel) -> list[Message]:
    messages: list[Message] = []
    while True:
        try:
            messages.append(channel.get_nowait())
        except queue.Empty:
            return messages
