"""The order to let go of a task, as the thread that works on it sees it.

One thread works on a step, the process's main thread listens to `scheduling`. What the step
waits for, it waits for together with this.
"""

from __future__ import annotations

import contextvars
import os
import select
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from iexworker.errors import WorkerError

T = TypeVar("T")


class Cancelled(WorkerError):
    """The step was told to let go: no outcome is wanted of it."""


class Cancellation:
    """A flag that stays up once raised, and a descriptor that turns readable with it."""

    def __init__(self) -> None:
        self._raised = threading.Event()
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def cancel(self) -> None:
        """Raise the flag; any thread may."""
        self._raised.set()
        os.eventfd_write(self._descriptor, 1)

    @property
    def cancelled(self) -> bool:
        """Whether the flag is up."""
        return self._raised.is_set()

    def check(self) -> None:
        """Raise `Cancelled` when the flag is up."""
        if self._raised.is_set():
            raise Cancelled("told to let go of the task")

    def pause(self, seconds: float) -> None:
        """Wait; raise `Cancelled` as soon as the flag is up."""
        self._raised.wait(max(0.0, seconds))
        self.check()

    def fileno(self) -> int:
        """Return the descriptor, for a poll of the step's own."""
        return self._descriptor

    def close(self) -> None:
        """Give the descriptor back; nobody may use the flag afterwards."""
        os.close(self._descriptor)


def in_background(work: Callable[[], T], cancellation: Cancellation, timeout_s: float) -> T:
    """Run what cannot be interrupted in a thread of its own, and wait for it.

    Raises `Cancelled` or `TimeoutError` as soon as either is due; the thread is then left to
    itself, so `work` must end some day and touch nothing that the caller uses. An exception of
    `work` is raised here.
    """
    task = _Background(work)
    try:
        task.start()
        task.wait(cancellation, timeout_s)
        return task.result()
    finally:
        task.release()


class _Background(threading.Thread, Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(name="background", daemon=True)
        self._work = work
        self._context = contextvars.copy_context()
        """Of the caller: what the work logs is about its task."""
        self._results: list[T] = []
        self._errors: list[Exception] = []
        self._done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._released = False

    def run(self) -> None:
        try:
            self._results.append(self._context.run(self._work))
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            self._errors.append(error)
        with self._lock:
            if not self._released:
                os.eventfd_write(self._done, 1)

    def wait(self, cancellation: Cancellation, timeout_s: float) -> None:
        poll = select.poll()
        poll.register(self._done, select.POLLIN)
        poll.register(cancellation.fileno(), select.POLLIN)
        poll.poll(max(0.0, timeout_s) * 1000)
        cancellation.check()
        if not (self._results or self._errors):
            raise TimeoutError(f"not done after {timeout_s:.0f} s")

    def result(self) -> T:
        if self._errors:
            raise self._errors[0]
        return self._results[0]

    def release(self) -> None:
        with self._lock:
            self._released = True
            os.close(self._done)
