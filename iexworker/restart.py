"""When a process that died is born again, and when the whole tree gives up (design section 2).

Pure: instants of a monotonic clock come in as arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

from iexworker.errors import (
    EXIT_ALREADY_RUNNING,
    EXIT_CONFIG,
    EXIT_INTERNAL,
    EXIT_REFUSED,
    EXIT_UNAVAILABLE,
)

BOOT_ERRORS = frozenset((EXIT_UNAVAILABLE, EXIT_ALREADY_RUNNING, EXIT_REFUSED, EXIT_CONFIG))
"""Exit codes of a first start that another try will not mend."""

MAX_DEATHS_BEFORE_READY = 5
STEADY_S = 60.0
"""How long a role must have been ready for its next crash to count as the first."""

_LONGEST_DELAY_S = 30.0


@dataclass(frozen=True, slots=True)
class Again:
    """Start the role again after `delay_s`."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop the tree and exit with `exit_code`."""

    exit_code: int


class RestartPolicy:
    """What one role's deaths lead to."""

    def __init__(self) -> None:
        self._ever_ready = False
        self._ready_since: float | None = None
        self._crashes = 0
        self._deaths_before_ready = 0

    def ready(self, now: float) -> None:
        """Note that the role does its work."""
        self._ever_ready = True
        self._ready_since = now
        self._deaths_before_ready = 0

    def died(self, exit_code: int, now: float) -> Again | GiveUp:
        """Return what follows; `exit_code` is negative for a signal.

        A boot error stops the tree only at the first start: later the same code comes from
        something that was well and may be again, and stopping would end running computations.
        """
        if self._ready_since is None:
            self._deaths_before_ready += 1
            if exit_code in BOOT_ERRORS and not self._ever_ready:
                return GiveUp(exit_code)
            if self._deaths_before_ready >= MAX_DEATHS_BEFORE_READY:
                return GiveUp(EXIT_INTERNAL)
        elif now - self._ready_since >= STEADY_S:
            self._crashes = 0
        self._ready_since = None
        self._crashes += 1
        return Again(backoff_s(self._crashes))


def backoff_s(crash: int) -> float:
    """Return the pause before the start that follows the n-th crash in a row: 0, 1, 2, 4 .. 30."""
    return 0.0 if crash <= 1 else min(2.0 ** min(crash - 2, 10), _LONGEST_DELAY_S)
