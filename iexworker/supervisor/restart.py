"""When a process that died is born again, and when the whole tree gives up.

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

    def __init__(self, *, fail_fast: bool = False) -> None:
        self._fail_fast = fail_fast
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
        """Return what follows; `exit_code` is negative for a signal."""
        if self._is_final(exit_code):
            return GiveUp(exit_code)
        if self._ready_since is None:
            self._deaths_before_ready += 1
            if self._deaths_before_ready >= MAX_DEATHS_BEFORE_READY:
                return GiveUp(EXIT_INTERNAL)
        elif now - self._ready_since >= STEADY_S:
            self._crashes = 0
        self._ready_since = None
        self._crashes += 1
        return Again(backoff_s(self._crashes))

    def _is_final(self, exit_code: int) -> bool:
        """Whether another try would be no use.

        A boot error is final at a first start only: later the same code comes from something
        that was well and may be again, and an end would cost running computations. A role that
        is ready has weighed that itself when it ends refused, or unreachable with `--fail-fast`,
        or for its settings in its first life.
        """
        if not self._ever_ready:
            return exit_code in BOOT_ERRORS
        if self._ready_since is None:
            return False
        first_life = self._crashes == 0
        unreachable = exit_code == EXIT_UNAVAILABLE and self._fail_fast
        boot_error = unreachable or exit_code == EXIT_CONFIG
        return exit_code == EXIT_REFUSED or (first_life and boot_error)


def backoff_s(crash: int) -> float:
    """Return the pause before the start that follows the n-th crash in a row: 0, 1, 2, 4 .. 30."""
    return 0.0 if crash <= 1 else min(2.0 ** min(crash - 2, 10), _LONGEST_DELAY_S)
