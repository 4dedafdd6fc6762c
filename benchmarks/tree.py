"""The tree of processes: how soon it works, what it costs at rest and under load."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import load
from benchmarks.worker import Worker, running
from iexworker.sandbox.network.network import Network

_STARTS = 5
_SETTLE_S = 10.0
_IDLE_S = 30.0
_VERBS = 7


def starts(network: Network) -> Mapping[str, float]:
    """Return the medians from exec to registered, to health 200, to a chain that answers."""
    registered, healthy, chain = [], [], []
    for _ in range(_STARTS):
        with running(network) as worker:
            healthy.append(worker.wait_healthy() - worker.exec_s)
            registered.append(worker.wait_event("registered") - worker.exec_s)
            chain.append(worker.wait_event("chain node answers") - worker.exec_s)
    return {
        "registered": statistics.median(registered),
        "healthy": statistics.median(healthy),
        "chain": statistics.median(chain),
    }


def rest(worker: Worker) -> Mapping[str, float]:
    """Return memory and CPU of a worker that has nothing to do but ping and ask."""
    worker.wait_event("chain node answers")
    time.sleep(_SETTLE_S)
    memory_mb = worker.memory_mb()
    before_s, started = worker.cpu_s(), time.monotonic()
    time.sleep(_IDLE_S)
    used = (worker.cpu_s() - before_s) / (time.monotonic() - started)
    return {"memory": memory_mb, "cpu": used * 100}


def under_load(worker: Worker, idle_mb: float) -> Mapping[str, float]:
    """Return what the two pages that are polled most can bear, and what it costs in memory."""
    base = f"http://127.0.0.1:{worker.port}"
    metrics = load.measure(f"{base}/metrics")
    prometheus = load.measure(f"{base}/actuator/prometheus")
    loaded_mb = worker.memory_mb()
    return {
        "metrics": metrics.requests_per_s,
        "metrics_p99": metrics.p99_ms,
        "prometheus": prometheus.requests_per_s,
        "memory_loaded": loaded_mb,
        "memory_growth": loaded_mb - idle_mb,
    }


def command_line(worker: Worker) -> Mapping[str, float]:
    """Return how long the two verbs take that an operator's scripts call."""
    return {
        "cli_status": _verb_ms(worker, "status"),
        "cli_version": _verb_ms(worker, "--version"),
    }


def _verb_ms(worker: Worker, verb: str) -> float:
    program = str(Path(sys.executable).with_name("iexworker"))
    times = []
    for _ in range(_VERBS):
        started = time.perf_counter()
        # `status` exits with 1 while the worker is not ready: an answer all the same.
        subprocess.run([program, verb], env=worker.environment, capture_output=True, check=False)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3
