"""Signals as something to read: handlers only queue, the parent's loop acts (gunicorn's rule)."""

from __future__ import annotations

import signal
import socket
from types import FrameType

_TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class SignalQueue:
    """The signals that came, behind a descriptor that a selector can watch.

    The C handler writes the number itself (`set_wakeup_fd`), so none is lost between a look at
    a flag and the wait that follows. What does not fit is dropped: the socket is full of others.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._previous = {number: signal.signal(number, _queue) for number in _TAKEN}
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._reader.fileno()

    def read(self) -> list[signal.Signals]:
        """Return what came since the last time, in order."""
        try:
            return [signal.Signals(number) for number in self._reader.recv(4096)]
        except BlockingIOError:
            return []

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self.close()

    def close(self) -> None:
        """Close the sockets in this process."""
        self._reader.close()
        self._writer.close()


def _queue(_number: int, _frame: FrameType | None) -> None:
    """Take the place of the default action; the number is already on its way to the loop."""
