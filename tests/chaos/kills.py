"""Killing a process, or the whole tree, at one point of a task's way.

The points are taken from the lifecycle's own table, so that a new step is killed at, too.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from dataclasses import dataclass

from iexworker.sandbox.chain.history import task as task_of
from iexworker.shared import handoff
from iexworker.task.replicate import STATUSES, Step, Work
from tests.helpers.live_worker import LiveSandbox, LiveWorker, alive, eventually

TREE = "tree"
SLOT = "compute-0"
TARGETS = ("scheduling", SLOT, TREE)
STEPS = tuple(step for step in Step if step is not Step.ABORT)
PART = 4
"""One kill of so many is tried in a CI run."""
WATCH_S = 0.005
_STOPPED_BEFORE_S = 60.0
_MOVED = re.compile(r"task moved .*step=(?P<step>\w+) work=(?P<work>\w+)")


@dataclass(frozen=True, slots=True)
class Case:
    """Who is killed, and as soon as the log shows what."""

    point: str
    """A status: the moment the scheduler has answered it; or `step work`, as the record moved."""
    target: str

    def __str__(self) -> str:
        return f"{self.target} at {self.point.replace(' ', '-')}"


def points() -> list[str]:
    """Return every point of a good task's way: each move of the record, each answered update."""
    found = []
    for step in STEPS:
        statuses = STATUSES[step]
        found.append(f"{step.value} doing")
        if statuses.before is not None:
            found.append(statuses.before.value)
        found += [f"{step.value} done", statuses.success.value]
    return found


def step_of(point: str) -> Step:
    """Return the step that a point belongs to."""
    name = point.partition(" ")[0]
    return next(step for step in STEPS if name in (step.value, *_statuses(step)))


def _statuses(step: Step) -> tuple[str, ...]:
    found = STATUSES[step]
    return tuple(status.value for status in (found.before, found.success) if status is not None)


def idles(target: str, step: Step) -> bool:
    """Tell whether this process has nothing to do with the step: killing it would test nothing."""
    return target == SLOT and step.value not in handoff.STEPS


def cases() -> list[Case]:
    """Return every case in which who is killed has to do with the step."""
    return [
        Case(point, target)
        for point in points()
        for target in TARGETS
        if not idles(target, step_of(point))
    ]


def sample(seed: int) -> list[Case]:
    """Choose a part of each step's cases, so that no run leaves a step out."""
    chance = random.Random(seed)
    by_step = [[case for case in cases() if step_of(case.point) is step] for step in STEPS]
    return [case for those in by_step for case in chance.sample(those, -(-len(those) // PART))]


def reached(line: str, task: str, point: str) -> bool:
    """Tell whether a log line says that the task is at this point, or has skipped it.

    A message of the scheduler may come before what it follows from: a record that was told to
    upload moves there as soon as the reveal is mined.
    """
    if f"task={task}" not in line:
        return False
    step, _, work = point.partition(" ")
    if not work:
        return "update answered" in line and f"status={point} " in line
    moved = _MOVED.search(line)
    if moved is None:
        return False
    now = Step(moved["step"]).rank, Work(moved["work"]) is not Work.DOING
    return now >= (Step(step).rank, Work(work) is not Work.DOING)


def strike(worker: LiveWorker, task: str, case: Case) -> bool:
    """Kill at the case's point; False when the task went past it unseen."""
    until_s = time.monotonic() + _STOPPED_BEFORE_S
    pids = {role: worker.pid(role) for role in ("scheduling", "compute-0")}
    with worker.log.open(errors="replace") as log:
        while time.monotonic() < until_s:
            line = log.readline()
            if not line:
                time.sleep(WATCH_S)
            elif reached(line, task, case.point):
                if case.target == TREE:
                    worker.kill()
                else:
                    os.kill(pids[case.target], signal.SIGKILL)
                return True
    return False


def contributions(sandbox: LiveSandbox, task: str, role: str) -> dict[str, int]:
    """Count the events of this wallet's contribute and reveal on the chain."""
    wallet = sandbox.chain.accounts[role].address
    counts = {}
    for name in ("TaskContribute", "TaskReveal"):
        event = sandbox.chain.hub.events[name]
        task_argument = event.abi["inputs"][0]["name"]  # spelt differently in v5 and v6
        logs = event.get_logs(
            from_block=0,
            argument_filters={task_argument: bytes.fromhex(task[2:]), "worker": wallet},
        )
        counts[name] = len(logs)
    return counts


def run(sandbox: LiveSandbox, case: Case, role: str = "worker1") -> None:
    """Run one case from a fresh start of the worker; raises `AssertionError` when it is lost."""
    worker = LiveWorker(sandbox, role).start().ready()
    worker.log.write_text("")  # appended to by the worker: what was before is not read again
    (task,) = sandbox.buy("sleep=1")
    before = worker.tree()
    assert strike(worker, task, case), f"{case}: the point was never reached\n{worker.tail()}"
    if case.target == TREE:
        eventually(lambda: not any(map(alive, before)), "no orphan", 30)
        worker = LiveWorker(sandbox, role).start()
    try:
        sandbox.completed(task, patience_s=150)
        worker.at_rest()
        counts = contributions(sandbox, task, role)
        assert counts == {"TaskContribute": 1, "TaskReveal": 1}, f"on the chain: {counts}"
        winners = task_of(sandbox.chain, task).winners
        assert winners == (role,), f"winners: {winners}"
        locked = sandbox.chain.struct("viewAccount", sandbox.chain.accounts[role].address)["locked"]
        assert locked == 0, f"{locked} nRLC of stake stay locked"
        code = worker.stop()
        assert code == 0, f"stopped with {code}"
    except AssertionError as error:
        raise AssertionError(f"{case}: {error}\n{worker.tail()}") from None
    finally:
        if worker.process.poll() is None:
            worker.kill()
