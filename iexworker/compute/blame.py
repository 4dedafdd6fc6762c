"""Whose fault a failed download is, and how long we try before we say so.

A contributed error that peers do not share costs the stake: only what is the requester's fault
may become a result.
"""

from __future__ import annotations

import enum
import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from iexworker import outage
from iexworker.errors import DockerError, WorkerError
from iexworker.retry import pauses

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_S = 120.0
"""How long a network trouble must last, while the scheduler hears us, to be the other side's."""

_MACHINE = frozenset(
    {
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EROFS,
    }
)
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 20.0


class Blame(enum.IntEnum):
    """Whose fault it is; the greater one prevails when several attempts differ."""

    REQUESTER = 1
    """Every worker would fail so: it may be contributed."""
    NETWORK = 2
    """The other side's or ours; time, and whether the scheduler hears us, will tell."""
    OURS = 3
    """Never contributed: tried again, then reported with a cause that leads to an abort."""


class Trouble(WorkerError):
    """Something could not be had; `blame` says whose fault that is."""

    def __init__(self, blame: Blame, message: str) -> None:
        super().__init__(message)
        self.blame = blame


@dataclass(frozen=True, slots=True)
class Patience:
    """How a step tries again: until when, and what it must see meanwhile."""

    deadline_s: float
    """Unix instant after which nothing is tried: the task's contribution deadline."""
    longest_s: float
    """How long after its first trouble a step is tried: one maxExecutionTime."""
    pause: Callable[[float], None]
    """Wait so many seconds, or raise when the step is cancelled."""
    scheduler_answers: Callable[[], bool]
    """Whether the scheduler has answered a recent ping of ours."""
    task: str = ""
    """Whose step it is, for the log."""
    network_s: float = PATIENCE_S
    now: Callable[[], float] = time.time
    elapsed: Callable[[], float] = time.monotonic
    """What spans are measured by: a clock that is set must not put the blame on anybody."""

    def persist(self, work: Callable[[], T], what: str) -> T:
        """Do `work` until it is done or the requester is to blame; `what` names it in the log.

        Raises `Trouble`: the requester's (NETWORK troubles become that after `network_s`), or
        ours when the deadline has come. A Docker engine that is out of reach is ours, and so is
        a disk that takes nothing.
        """
        with outage.trial() as trial:
            return self._until_done(work, what, trial)

    def _until_done(self, work: Callable[[], T], what: str, trial: outage.Trial) -> T:
        since: float | None = None
        until: float | None = None
        for pause_s in pauses(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, shortened=0.0):
            try:
                return work()
            except (Trouble, DockerError, OSError) as error:
                trouble, peer = _as_trouble(error), _peer(error, what)
            since = self._network_since(trouble, since)
            until = self.elapsed() + self.longest_s if until is None else until
            self._judge(trouble, since)
            if self.now() + pause_s >= self.deadline_s or self.elapsed() + pause_s >= until:
                raise Trouble(Blame.OURS, str(trouble))
            if peer:
                trial.failed(peer, trouble, what=what, task=self.task)
            else:
                facts = {
                    "task": self.task,
                    "what": what,
                    "error": str(trouble),
                    "pause_s": pause_s,
                }
                log.warning("trying again", extra=facts)
            self.pause(pause_s)
        raise AssertionError("pauses never end")

    def _network_since(self, trouble: Trouble, since: float | None) -> float | None:
        """Return when the current run of troubles began for which the other side may be blamed."""
        if trouble.blame is not Blame.NETWORK or not self.scheduler_answers():
            return None
        return self.elapsed() if since is None else since

    def _judge(self, trouble: Trouble, since: float | None) -> None:
        if trouble.blame is Blame.REQUESTER:
            raise trouble
        if since is not None and self.elapsed() - since >= self.network_s:
            raise Trouble(Blame.REQUESTER, str(trouble))


def of_machine(error: OSError, what: str) -> Trouble | None:
    """Return the trouble of a machine that cannot take a file; None for any other error.

    A result that lacks what a full disk did not take is another one than our peers'.
    """
    return Trouble(Blame.OURS, f"{what}: {error}") if error.errno in _MACHINE else None


def _peer(error: Exception, what: str) -> str:
    """Return whose outage an error may be, empty where it is this machine's own."""
    if isinstance(error, DockerError):
        return outage.DOCKER
    if not isinstance(error, Trouble):
        return ""
    if what.startswith("pull "):
        return outage.REGISTRY
    return outage.INPUT_HOST if "://" in what else ""


def _as_trouble(error: Trouble | DockerError | OSError) -> Trouble:
    return error if isinstance(error, Trouble) else Trouble(Blame.OURS, str(error))
