"""A task, something that goes wrong at one point of its way, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iexworker.task.replicate import STATUSES, Step
from tests.chaos import kills
from tests.chaos.faults import ROLES, Fault, Scene, all_faults, chain_faults, machine_faults
from tests.chaos.faulty_sandbox import ROLE, SWEPT_S, FaultySandbox, Partner
from tests.chaos.kills import STEPS
from tests.chaos.pairwise import pairwise
from tests.helpers.fault_proxy import FAULTS, Mood
from tests.helpers.live_worker import SHORT_CATEGORY, alive, eventually

PATIENCE_S = 100.0
POINT_S = 60.0
PROFILES = ("9", "8")
TOO_LONG_S = 50.0
"""Longer than a task of the short category may be contributed to (7 times 6 s)."""
PHASES = ("doing", "before", "done", "after")
NO_KILL = "none"

_TROUBLE = re.compile(
    # Every start looks at the settings; what it says of them is no trouble of the trial.
    r"^\S+ (?:WARNING|ERROR|CRITICAL) +(?P<role>\S+) ++(?!setting to look at)(?P<words>.*)$",
    re.MULTILINE,
)
_LONG_HEX = re.compile(r"(0x[0-9a-f]{6})[0-9a-f]{20,}")
_NEEDED = {
    Partner.SCHEDULER: frozenset(STEPS),
    Partner.NODE: frozenset({Step.START, Step.CONTRIBUTE, Step.REVEAL}),
    Partner.RESULTS: frozenset({Step.UPLOAD}),
    Partner.DOCKER: frozenset({Step.APP, Step.COMPUTE}),
    Partner.REGISTRY: frozenset({Step.APP}),
}
_CLEAR = frozenset({Mood.GONE, Mood.SAYS_500, Mood.SAYS_503, Mood.GARBAGE})
"""What cannot pass for a partner that takes its time."""
_STAKED = (Step.CONTRIBUTE, Step.REVEAL, Step.UPLOAD)


@dataclass(frozen=True, slots=True)
class Trial:
    """Where, what, in which generation of the protocol."""

    profile: str
    point: str
    """As `kills.Case` has it."""
    fault: str = ""
    """A name of `all_faults`, or empty."""
    kill: str = NO_KILL
    """One of `kills.TARGETS`, or none."""
    too_long: bool = False
    """The fault lasts longer than the task has time: it need not be COMPLETED."""

    def __str__(self) -> str:
        what = [self.fault] if self.fault else []
        what += [f"kill {self.kill}"] if self.kill != NO_KILL else []
        what += ["for too long"] if self.too_long else []
        return f"{' and '.join(what)} at {self.point}, profile {self.profile}"

    @property
    def step(self) -> Step:
        """The step that the point belongs to."""
        return kills.step_of(self.point)

    @property
    def told(self) -> bool:
        """Whether the log has to name the trouble: the step at work needs what is missing."""
        fault = all_faults().get(self.fault)
        if fault is None or fault.partner is None or fault.mood is None:
            return False
        doing = self.point == f"{self.step.value} doing"
        return fault.mood in _CLEAR and doing and self.step in _NEEDED[fault.partner]


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a trial."""

    result: str
    """COMPLETED, given up, or what was wrong."""
    held: bool
    seconds: float
    said: str
    """The first line of trouble in the worker's log."""


def point_of(step: Step, phase: str) -> str:
    """Return the point of a step: its work begun, told of, done, told of."""
    statuses = STATUSES[step]
    if phase == "before" and statuses.before is not None:
        return statuses.before.value
    return statuses.success.value if phase == "after" else f"{step.value} {phase}"


def kill_trials() -> list[Trial]:
    """Return every point x kill x profile."""
    return [
        Trial(profile, case.point, kill=case.target)
        for profile in PROFILES
        for case in kills.cases()
    ]


def partner_trials(seed: int) -> list[Trial]:
    """Return partners' faults: step, phase, partner, mood, kill and profile, pairwise."""
    factors = {
        "step": [step.name for step in STEPS],
        "phase": PHASES,
        "partner": [partner.value for partner in Partner],
        "mood": [mood.value for mood in FAULTS],
        "kill": [NO_KILL, *kills.TARGETS],
        "profile": PROFILES,
    }
    idle = {
        ("kill", target, "step", step.name)
        for target in kills.TARGETS
        for step in STEPS
        if kills.idles(target, step)
    }
    return [
        Trial(
            case["profile"],
            point_of(Step[case["step"]], case["phase"]),
            f"{case['partner']} {case['mood']}",
            case["kill"],
        )
        for case in pairwise(factors, seed, idle)
    ]


def needed_trials() -> list[Trial]:
    """Return every partner in every bad mood while the step that needs it is at work."""
    found = []
    for partner in Partner:
        steps = _STAKED if partner is Partner.SCHEDULER else sorted(_NEEDED[partner], key=_rank)
        for index, (step, mood) in enumerate(itertools.product(steps, FAULTS)):
            name = f"{partner.value} {mood.value}"
            found.append(Trial(PROFILES[index % 2], f"{step.value} doing", name))
    return found


def _rank(step: Step) -> int:
    return step.rank


def machine_trials(seed: int) -> list[Trial]:
    """Return the machine's faults: fault, step, phase and profile, pairwise."""
    return _pairwise_trials([fault.name for fault in machine_faults()], STEPS, PHASES, seed)


def chain_trials(seed: int) -> list[Trial]:
    """Return the chain's faults around the two transactions, pairwise, and what is of one point.

    A stake taken away, and a reveal taken back while its result is uploaded.
    """
    found = [fault.name for fault in chain_faults() if not fault.may_give_up]
    around = (Step.CONTRIBUTE, Step.REVEAL)
    stake = [Trial(profile, "compute doing", "no stake") for profile in PROFILES]
    taken_back = [
        Trial(profile, "upload doing", name)
        for profile in PROFILES
        for name in found
        if name.endswith("reorganised")
    ]
    return _pairwise_trials(found, around, PHASES[:3], seed) + stake + taken_back


def _pairwise_trials(
    names: list[str], steps: tuple[Step, ...], phases: tuple[str, ...], seed: int
) -> list[Trial]:
    factors = {
        "fault": names,
        "step": [step.name for step in steps],
        "phase": phases,
        "profile": PROFILES,
    }
    return [
        Trial(case["profile"], point_of(Step[case["step"]], case["phase"]), case["fault"])
        for case in pairwise(factors, seed)
    ]


def late_trials() -> list[Trial]:
    """Return outages that outlast a task's time to be contributed to, or to be revealed."""
    wanted = [
        ("chain node gone", "compute done"),
        ("chain node gone", "contribute done"),
        ("scheduler gone", "COMPUTED"),
        ("scheduler gone", "contribute done"),
        ("result proxy gone", "upload doing"),
        ("Docker gone", "compute doing"),
        ("registry gone", "app doing"),
        ("scheduling stopped", "compute done"),
        ("compute-0 stopped", "compute doing"),
        ("disk full", "compute doing"),
    ]
    return [
        Trial(PROFILES[index % 2], point, fault, too_long=True)
        for index, (fault, point) in enumerate(wanted)
    ]


def all_trials(seed: int) -> list[Trial]:
    """Return the whole table, each trial once; those that cost a stake most easily come first."""
    found = [
        *needed_trials(),
        *late_trials(),
        *chain_trials(seed),
        *machine_trials(seed),
        *partner_trials(seed),
        *kill_trials(),
    ]
    return list(dict.fromkeys(found))


def run(sandbox: FaultySandbox, trial: Trial) -> Row:
    """Run a trial from a fresh start of the worker; whatever does not hold is in the row."""
    running = _Run(sandbox, trial)
    began_s = time.monotonic()
    try:
        result, held = running.play(), True
    except AssertionError as error:
        result, held = str(error).splitlines()[0], False
    finally:
        sandbox.well()
        running.leave()
    return Row(result, held, round(time.monotonic() - began_s, 1), running.said())


class _Run:
    def __init__(self, sandbox: FaultySandbox, trial: Trial) -> None:
        self._sandbox = sandbox
        self._trial = trial
        nothing = Fault("", lambda _: contextlib.nullcontext(), lasts_s=0.0)
        self._fault = all_faults()[trial.fault] if trial.fault else nothing
        self._worker = sandbox.worker(clock=self._fault.clock)
        self._before = 0
        self._started = False

    def play(self) -> str:
        sandbox, trial = self._sandbox, self._trial
        sandbox.forget_image()
        stake = sandbox.stake_nrlc()
        self._start()
        pids = self._pids()
        more = {"category": SHORT_CATEGORY} if trial.too_long else {}
        (task,) = sandbox.buy(self._fault.app, **more)
        self._await(task)
        self._before = self._worker.log.stat().st_size
        with self._fault.happens(Scene(sandbox, self._worker, pids)):
            self._kill(pids)
            time.sleep(TOO_LONG_S if trial.too_long else self._fault.lasts_s)
        result = self._end(task)
        self._check(task, result, stake)
        return result

    def said(self) -> str:
        """Return the log's first line of trouble since the fault began."""
        with self._worker.log.open("rb") as log:
            log.seek(self._before)
            found = _TROUBLE.search(log.read().decode(errors="replace"))
        return "" if found is None else _LONG_HEX.sub(r"\1..", f"{found['role']}: {found['words']}")

    def leave(self) -> None:
        if self._started and self._worker.process.poll() is None:
            self._worker.kill()

    def _start(self) -> None:
        self._worker.start()
        self._started = True
        self._worker.ready()
        self._worker.log.write_text("")  # appended to: what was before is not read again

    def _pids(self) -> dict[str, int]:
        report = self._worker.report() or {"processes": []}
        pids = {item["role"]: item["pid"] for item in report["processes"]}
        return {**pids, "supervisor": self._worker.process.pid}

    def _await(self, task: str) -> None:
        until_s = time.monotonic() + POINT_S
        for line in _following(self._worker.log, until_s):
            if kills.reached(line, task, self._trial.point):
                return
        raise AssertionError("the point was not reached")

    def _kill(self, pids: dict[str, int]) -> None:
        if self._trial.kill == NO_KILL:
            return
        if self._trial.kill != kills.TREE:
            os.kill(pids[self._trial.kill], signal.SIGKILL)
            return
        self._worker.kill()
        eventually(lambda: not any(alive(pids[role]) for role in ROLES), "no orphan", 15)
        self._worker = self._sandbox.worker(clock=self._fault.clock).start()

    def _end(self, task: str) -> str:
        sandbox, worker = self._sandbox, self._worker
        give_up = self._fault.may_give_up or self._trial.too_long
        if not give_up:
            sandbox.completed(task, patience_s=PATIENCE_S)
        worker.at_rest(SWEPT_S if self._trial.fault else 0.0)
        return "COMPLETED" if sandbox.status(task) == "COMPLETED" else "given up"

    def _check(self, task: str, result: str, stake: tuple[int, int]) -> None:
        sandbox, worker = self._sandbox, self._worker
        counts = kills.contributions(sandbox, task, ROLE)
        if result == "COMPLETED":
            assert counts == {"TaskContribute": 1, "TaskReveal": 1}, f"on the chain: {counts}"
        assert max(counts.values()) <= 1, f"on the chain: {counts}"
        now = sandbox.stake_nrlc()
        if not counts["TaskContribute"] or result == "COMPLETED":
            assert now[1] == stake[1], f"{now[1] - stake[1]} nRLC of stake stay locked"
        assert sum(now) >= sum(stake), "stake was lost"
        if self._trial.told:
            assert self.said(), "the log says nothing of it"
        assert worker.stop() == 0, "no orderly stop"


def _following(log: Path, until_s: float) -> Iterator[str]:
    """Yield the lines of a file as they come."""
    with log.open(errors="replace") as file:
        while time.monotonic() < until_s:
            line = file.readline()
            if line:
                yield line
            else:
                time.sleep(kills.WATCH_S)
