"""Requests as fast as they are answered, by wrk (Debian's package of that name)."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
from dataclasses import dataclass

from benchmarks.worker import BenchError

CONNECTIONS = 16
_SECONDS = 5
_RUNS = 3
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Load:
    """Medians of a few runs of wrk."""

    requests_per_s: float
    p99_ms: float


def measure(url: str) -> Load:
    """Load `url`; raises `BenchError` where wrk is missing or an answer was not 200."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is not installed: apt-get install wrk")
    runs = [_run(url) for _ in range(_RUNS)]
    return Load(
        requests_per_s=statistics.median(run.requests_per_s for run in runs),
        p99_ms=statistics.median(run.p99_ms for run in runs),
    )


def _run(url: str) -> Load:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{_SECONDS}", "--latency", url]
    return parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def parse(output: str) -> Load:
    """Read what wrk prints."""
    if "Non-2xx" in output or "Socket errors" in output:
        raise BenchError(f"not every request was answered with 200:\n{output}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    if rate is None or p99 is None:
        raise BenchError(f"wrk printed something else:\n{output}")
    return Load(float(rate[1]), float(p99[1]) * _MS[p99[2]])
