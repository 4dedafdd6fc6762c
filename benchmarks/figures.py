"""What is measured, the bar of each figure, and what the Java worker was measured to do.

The Java figures are of iexec-worker 8.5.0 and 9.2.0 on a 2-core, 24 GiB machine with a real
scheduler, a block time of 1 s and a local registry; they say where the bars come from. Ours are
measured here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Bound(enum.Enum):
    """On which side of its bar a figure has to be."""

    AT_MOST = "<="
    AT_LEAST = ">="


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; `java_8` and `java_9` are None where nobody measured."""

    name: str
    title: str
    unit: str
    bound: Bound
    bar: float
    java_8: float | None = None
    java_9: float | None = None

    def met(self, value: float) -> bool:
        """Return whether a measured value reaches the bar."""
        return value <= self.bar if self.bound is Bound.AT_MOST else value >= self.bar


FIGURES = (
    Figure("registered", "exec to registered", "s", Bound.AT_MOST, 0.5, 6.5, 10),
    Figure("healthy", "exec to health 200", "s", Bound.AT_MOST, 0.5, 6, 9),
    Figure("chain", "exec to able to transact", "s", Bound.AT_MOST, 1.0, 6, 9),
    Figure("memory", "memory, idle, whole tree (PSS)", "MB", Bound.AT_MOST, 130, 471, 368),
    Figure("cpu", "CPU, idle, whole tree", "% core", Bound.AT_MOST, 0.3, None, 2.7),
    Figure("metrics", "/metrics, 16 connections", "req/s", Bound.AT_LEAST, 15000, None, 3900),
    Figure("metrics_p99", "/metrics, 99th percentile", "ms", Bound.AT_MOST, 5),
    Figure(
        "prometheus", "/actuator/prometheus, 16 conn.", "req/s", Bound.AT_LEAST, 12000, None, 590
    ),
    Figure("memory_loaded", "memory after that load (PSS)", "MB", Bound.AT_MOST, 140, None, 833),
    Figure("memory_growth", "its growth by the load", "MB", Bound.AT_MOST, 10),
    Figure("computing", "COMPUTING to COMPUTED, no-op app", "s", Bound.AT_MOST, 0.45, 1.36, 1.39),
    Figure("computed", "grant to COMPUTED", "s", Bound.AT_MOST, 0.8, 1.79, 1.63),
    Figure("completed", "grant to COMPLETED", "s", Bound.AT_MOST, 5.0, 6.8, 9.0),
    Figure("record", "a duration recorded in the ring", "us", Bound.AT_MOST, 1),
    Figure("statistics", "statistics of 1,000 samples", "us", Bound.AT_MOST, 50),
    Figure("cold_read", "cold read of all rings (4 slots)", "ms", Bound.AT_MOST, 30),
    Figure("cli_status", "`iexworker status`", "ms", Bound.AT_MOST, 100),
    Figure("cli_version", "`iexworker --version`", "ms", Bound.AT_MOST, 60),
)
