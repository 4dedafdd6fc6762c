"""Many tasks on two slots while something is killed or fails every ten seconds."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import kills
from tests.chaos.faults import Fault, Scene, all_faults
from tests.chaos.faulty_sandbox import ROLE, SWEPT_S, FaultySandbox
from tests.helpers.live_worker import LiveWorker, alive, eventually

EVERY_S = 10.0
SLOTS = 2
SLEEPS_S = (0, 1, 2, 4)
PATIENCE_S = 120.0
PATIENCE_PER_TASK_S = 12.0
GROWTH = 1.15
GROWTH_MIB = 4.0
KILLED = ("scheduling", "compute-0", "compute-1", "heartbeat", "http", kills.TREE)
# What these take back of the chain, or make too dear, is the scheduler's, too.
_NOT_HERE = ("reorganised", "base fee", "no stake", "clock")
_PSS = re.compile(r"^Pss: +(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a soak."""

    completed: int
    lost: int
    double: int
    trouble: tuple[str, ...]
    """What else was wrong, in words."""
    memory_mib: dict[str, tuple[float, float]]
    """By role: median in the first and in the last third."""

    @property
    def held(self) -> bool:
        """Whether all is well."""
        return not (self.lost or self.double or self.trouble)


@dataclass(slots=True)
class Soak:
    """One worker, its tasks, and what is done to it."""

    sandbox: FaultySandbox
    chance: random.Random
    worker: LiveWorker
    memory: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    trouble: list[str] = field(default_factory=list)

    def play(self, count: int) -> Verdict:
        """Run `count` tasks to their end."""
        self.worker.start().ready()
        tasks = self._buy(count)
        over = threading.Event()
        done = threading.Thread(target=self._watch, args=(tasks, over), daemon=True)
        done.start()
        while not over.wait(EVERY_S):
            self._measure()
            self._disturb()
        done.join()
        return self._judge(tasks)

    def _buy(self, count: int) -> list[str]:
        volumes = Counter(self.chance.choice(SLEEPS_S) for _ in range(count))
        return [
            task
            for sleep_s, volume in volumes.items()
            for task in self.sandbox.buy(f"sleep={sleep_s}", volume=volume)
        ]

    def _watch(self, tasks: list[str], over: threading.Event) -> None:
        """Wait until every task is COMPLETED, or for as long as they may take."""
        left = set(tasks)
        until_s = time.monotonic() + PATIENCE_S + PATIENCE_PER_TASK_S * len(tasks)
        while left and time.monotonic() < until_s:
            left = {task for task in left if self.sandbox.status(task) != "COMPLETED"}
            time.sleep(1)
        over.set()

    def _measure(self) -> None:
        report = self.worker.report() or {"processes": []}
        for item in report["processes"]:
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{item['pid']}/smaps_rollup").read_text()
                found = _PSS.search(text)
                if found is not None:
                    self.memory[item["role"]].append(int(found[1]) / 1024)

    def _disturb(self) -> None:
        if self.chance.random() < 0.5:
            self._kill(self.chance.choice(KILLED))
        else:
            self._fail(self.chance.choice(menu()))

    def _kill(self, role: str) -> None:
        print(f"  kill -9 {role}", flush=True)
        if role == kills.TREE:
            before = [pid for pid in self._pids().values() if pid]
            self.worker.kill()
            eventually(lambda: not any(map(alive, before)), "no orphan", 15)
            self.worker.start()
        elif pid := self._pids().get(role):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _fail(self, fault: Fault) -> None:
        print(f"  {fault.name}, {fault.lasts_s:g} s", flush=True)
        pids = self._pids()
        if len(pids) < len(KILLED):
            return  # just being born
        with fault.happens(Scene(self.sandbox, self.worker, pids)):
            time.sleep(fault.lasts_s)

    def _pids(self) -> dict[str, int]:
        report = self.worker.report() or {"processes": []}
        found = {item["role"]: item["pid"] for item in report["processes"] if item["pid"]}
        return {**found, "supervisor": self.worker.process.pid}

    def _judge(self, tasks: list[str]) -> Verdict:
        completed = sum(self.sandbox.status(task) == "COMPLETED" for task in tasks)
        with self._noted():
            self.worker.at_rest(SWEPT_S)
        with self._noted():
            assert self.worker.stop() == 0, "no orderly stop"
        with self._noted():
            assert self.sandbox.stake_nrlc()[1] == 0, "stake stays locked"
        counts = [kills.contributions(self.sandbox, task, ROLE) for task in tasks]
        double = sum(max(found.values()) > 1 for found in counts)
        memory = {role: _first_and_last(found) for role, found in sorted(self.memory.items())}
        for role, (first, last) in memory.items():
            if last > GROWTH * first + GROWTH_MIB:
                self.trouble.append(f"{role} grew from {first:.1f} to {last:.1f} MiB")
        return Verdict(completed, len(tasks) - completed, double, tuple(self.trouble), memory)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:
            self.trouble.append(str(error).splitlines()[0])


def menu() -> list[Fault]:
    """Return the faults of a soak."""
    faults = all_faults().values()
    return [fault for fault in faults if not any(word in fault.name for word in _NOT_HERE)]


def play(sandbox: FaultySandbox, count: int, seed: int) -> Verdict:
    """Run a soak; what is done, and when, follows from the seed."""
    soak = Soak(sandbox, random.Random(seed), sandbox.worker(slots=SLOTS))
    try:
        return soak.play(count)
    finally:
        sandbox.well()
        if soak.worker.process.poll() is None:
            soak.worker.kill()


def _first_and_last(found: list[float]) -> tuple[float, float]:
    third = max(1, len(found) // 3)
    return statistics.median(found[:third]), statistics.median(found[-third:])
