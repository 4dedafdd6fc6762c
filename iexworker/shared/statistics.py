"""Duration statistics, as `/metrics` and Prometheus show them (docs/spec/08, section 5)."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statistics:
    """Count, extremes and arithmetic mean in milliseconds; NaN where there is no sample."""

    count: int = 0
    minimum: float = math.nan
    maximum: float = math.nan
    average: float = math.nan

    @classmethod
    def of(cls, durations_ms: Collection[int]) -> Statistics:
        """Return the statistics of a window of durations."""
        count = len(durations_ms)
        if not count:
            return cls()
        return cls(
            count,
            float(min(durations_ms)),
            float(max(durations_ms)),
            sum(durations_ms) / count,
        )


@dataclass(frozen=True, slots=True)
class Durations:
    """The four groups of `/metrics`."""

    pre: Statistics
    app: Statistics
    post: Statistics
    complete: Statistics
    """Sums of the three stages for each task whose post-compute is known (5.3)."""
