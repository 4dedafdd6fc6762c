"""The ring alone, in this process: the cost of a record, of statistics, of a cold read."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Mapping

from iexworker.shared.ring import Ring, Stage
from iexworker.shared.statistics import Statistics

SLOTS = 4
WINDOW = 1000
_REPEATS = 7
_RECORDS = 100_000
_STATISTICS = 500


def measure() -> Mapping[str, float]:
    """Return the ring's three figures; each is the best of several runs, as `timeit` advises."""
    ring = Ring.create(SLOTS, WINDOW)
    writer = ring.writer(0)
    task_id = f"0x{7:064x}"
    record_s = _best(lambda: writer.record(Stage.APP, task_id, 4349), _RECORDS)
    samples = list(range(WINDOW))
    statistics_s = _best(lambda: Statistics.of(samples), _STATISTICS)
    _fill(ring)
    cold_s = _best(lambda: ring.reader().durations(), 1)
    return {"record": record_s * 1e6, "statistics": statistics_s * 1e6, "cold_read": cold_s * 1e3}


def _best(work: Callable[[], object], number: int) -> float:
    return min(timeit.repeat(work, number=number, repeat=_REPEATS)) / number


def _fill(ring: Ring) -> None:
    for slot in range(SLOTS):
        writer = ring.writer(slot)
        for stage in Stage:
            for number in range(WINDOW):
                writer.record(stage, f"0x{slot * WINDOW + number:064x}", number)
