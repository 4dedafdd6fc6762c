"""The orderly stop: who leaves first, and until when.

`scheduling` has most of the grace to finish what can be finished, while the heartbeat keeps the
scheduler calm and the slots compute; then heartbeat and http; the slots last, which end their
containers. Whoever overstays is killed, and the stop is no longer orderly.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
from collections.abc import Sequence

from iexworker.procs.context import HEARTBEAT, HTTP, SCHEDULING
from iexworker.shared.channels import Stop
from iexworker.supervisor.child import Child

_LONGEST_RESERVE_S = 10.0
_RESERVED_PART = 0.4
"""Of the grace, at most `_LONGEST_RESERVE_S`, kept for those that leave after `scheduling`."""

_LONGEST_TIDYING_S = 5.0
"""Between the end that a process is told and the moment it is killed, at most half its time."""

_TELL_AGAIN_S = 0.5
"""gunicorn is told again: it loses a signal that comes while it sets itself up."""

log = logging.getLogger(__name__)


class Shutdown:
    """The stop under way; `step` is called by the parent's loop."""

    def __init__(self, children: Sequence[Child], grace_s: float, now: float) -> None:
        self.orderly = True
        """Whether everybody left by himself, in time."""
        self.until = now
        """Monotonic instant at which those whose turn it is are killed."""
        reserve = min(_LONGEST_RESERVE_S, grace_s * _RESERVED_PART)
        end = now + grace_s
        first = [child for child in children if child.role == SCHEDULING]
        second = [child for child in children if child.role in (HEARTBEAT, HTTP)]
        last = [child for child in children if child.slot is not None]
        self._waiting = [(first, end - reserve), (second, end - reserve * 0.8), (last, end)]
        self._leaving: list[Child] = []
        self._killed = False
        self._told_at = 0.0

    def step(self, now: float) -> bool:
        """Do what is due; True when everybody is gone."""
        while not any(child.process for child in self._leaving):
            if not self._waiting:
                return True
            self._leaving, self.until = self._waiting.pop(0)
            self._killed = False
            for child in self._leaving:
                _tell(child, self.until - now)
            self._told_at = now
        if now >= self.until and not self._killed:
            self._kill()
        elif now - self._told_at >= _TELL_AGAIN_S and not self._killed:
            self._tell_http_again(now)
        return False

    def died(self, child: Child, exit_code: int) -> None:
        """Note how a child left."""
        told = child in self._leaving and not self._killed
        by_order = child.role == HTTP and exit_code == -signal.SIGQUIT
        if exit_code != 0 and not (told and by_order):
            self.orderly = False

    def _tell_http_again(self, now: float) -> None:
        """Repeat the signal that may be lost."""
        self._told_at = now
        for child in self._leaving:
            if child.role == HTTP and child.process:
                _tell(child, self.until - now)

    def _kill(self) -> None:
        self._killed = True
        for child in self._leaving:
            if child.process:
                log.error("process overstayed the grace, killed", extra={"child": child.role})
                child.send_signal(signal.SIGKILL)


def _tell(child: Child, left_s: float) -> None:
    """Order a child to leave; gunicorn listens to a signal, and may not be up to it yet."""
    if child.role == HTTP:
        child.send_signal(signal.SIGQUIT)
        return
    with contextlib.suppress(queue.Full):  # it reads no orders: it will be killed in time
        grace_s = max(left_s, 0.0)
        child.control.put_nowait(Stop(grace_s - min(_LONGEST_TIDYING_S, grace_s / 2)))
