"""What the worker's processes and its machine use (docs/spec/08, 6.4), through psutil."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """One process: CPU seconds since its birth, resident bytes, open descriptors."""

    cpu_s: float
    resident_bytes: int
    open_files: int


def processes(pids: Mapping[str, int]) -> dict[str, ProcessFigures]:
    """Return the figures of each role's process; one that has ended is left out."""
    found = {}
    for role, pid in pids.items():
        with contextlib.suppress(psutil.Error):
            found[role] = _process(psutil.Process(pid))
    return found


def _process(process: psutil.Process) -> ProcessFigures:
    with process.oneshot():
        times = process.cpu_times()
        return ProcessFigures(
            cpu_s=times.user + times.system,
            resident_bytes=process.memory_info().rss,
            open_files=process.num_fds(),
        )


class CpuUsage:
    """The share of the machine's CPUs that the worker, and that everybody, used lately."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._cpu_s: float | None = None
        psutil.cpu_percent()  # the first call only starts its clock

    def own(self, figures: Iterable[ProcessFigures]) -> float:
        """Return our share (0 to 1) since the last call; 0 at the first."""
        now, cpu_s = time.monotonic(), sum(item.cpu_s for item in figures)
        used = 0.0 if self._cpu_s is None else max(cpu_s - self._cpu_s, 0.0)
        share = used / max(now - self._at, 1e-9) / cpu_count()
        self._at, self._cpu_s = now, cpu_s
        return min(share, 1.0)

    def everybody(self) -> float:
        """Return the share of all processes (0 to 1) since the last call."""
        return psutil.cpu_percent() / 100


def cpu_count() -> int:
    """Return how many CPUs this process may run on."""
    return len(os.sched_getaffinity(0))


def max_files() -> int:
    """Return how many descriptors a process may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
