"""Figures of processes and machine are those of the system."""

from __future__ import annotations

import os
import resource

from iexworker.web import process_usage
from iexworker.web.process_usage import CpuUsage, ProcessFigures


def test_a_process_has_memory_time_and_descriptors() -> None:
    found = process_usage.processes({"us": os.getpid()})["us"]
    assert found.resident_bytes > 1_000_000
    assert found.cpu_s > 0
    assert found.open_files >= 3


def test_a_process_that_has_ended_is_left_out() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    assert process_usage.processes({"gone": pid}) == {}


def test_our_share_of_the_cpus_is_what_was_used_since_the_last_call() -> None:
    usage = CpuUsage()
    assert usage.own([ProcessFigures(5.0, 0, 0)]) == 0.0
    assert usage.own([ProcessFigures(1e9, 0, 0)]) == 1.0
    assert usage.own([ProcessFigures(0.0, 0, 0)]) == 0.0  # a process has ended
    assert 0.0 <= usage.everybody() <= 1.0


def test_limits_are_those_of_the_process() -> None:
    assert process_usage.cpu_count() == len(os.sched_getaffinity(0))
    assert process_usage.max_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
