"""What an operator may ask of a running worker over its control socket, answered in words."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from iexworker.control import Answer
from iexworker.settings.reload import Change
from iexworker.shared.board import FactsBoard
from iexworker.shared.spans import ago, count, span
from iexworker.supervisor import status, stop_words
from iexworker.supervisor.pause import Pause
from iexworker.supervisor.status import Report

_STOPPING = {"error": "it is stopping, and nothing is changed"}


@dataclass(frozen=True, slots=True)
class Orders:
    """The verbs; each answer has `lines` to be shown as they are."""

    facts: FactsBoard
    pausing: Pause
    report: Callable[[], Report]
    stop: Callable[[], None]
    """Begin the stop that SIGTERM begins."""
    reload: Callable[[], tuple[Change, list[str]]]
    """Read the settings again; also returns the slots that are busy and take them later."""
    grace_s: Callable[[], float]

    def verbs(self) -> Mapping[str, Answer]:
        """Return the answers by verb."""
        return {
            "status": self.report,
            "drain": self._drain,
            "pause": self._unless_stopping(self._pause),
            "resume": self._unless_stopping(self._resume),
            "reload": self._unless_stopping(self._reload),
        }

    def _known(self) -> Mapping[str, Any]:
        return asdict(self.facts.read())

    def _unless_stopping(self, answer: Answer) -> Answer:
        return lambda: _STOPPING if self.facts.read().stopping else answer()

    def _drain(self) -> Mapping[str, object]:
        known, now_s = self._known(), time.time()
        if known["stopping"]:
            left = span((known["stopping_until_s"] or now_s) - now_s)
            lines = [f"already stopping: at most {left} left; it {stop_words.waits_for(known)}"]
        else:
            self.stop()
            lines = [_draining(known, self.grace_s())]
        lines += [f"  {line}" for line in stop_words.task_lines(known, now_s)]
        lines.append(stop_words.second_signal(known, now_s))
        return {"lines": lines, "pid": os.getpid()}

    def _pause(self) -> Mapping[str, object]:
        since_s = self.pausing.since_s
        if since_s is not None:
            return {"lines": [f"already paused, since {span(time.time() - since_s)}"]}
        unwritten = self.pausing.begin()
        known = self._known()
        lines = [f"paused: no new task is asked for{_goes_on(known)}"]
        lines += [f"  {task} {row['doing']}" for task, row in known["open_tasks"].items()]
        if unwritten:
            lines.append(f"until the worker ends: it cannot be written down ({unwritten})")
        return {"lines": lines}

    def _resume(self) -> Mapping[str, object]:
        since_s = self.pausing.since_s
        if since_s is None:
            return {"lines": [f"the worker was not paused; {self._now()}"]}
        unwritten = self.pausing.end()
        lines = [f"resumed after {span(time.time() - since_s)}; {self._now()}"]
        if unwritten:
            lines.append(f"the next start is paused again: {unwritten}")
        return {"lines": lines}

    def _now(self) -> str:
        """Say what now keeps work away, if anything does."""
        report = self.report()
        facts = report["facts"]
        asked = "no work was asked for yet"
        if facts["last_demand_s"] is not None:
            asked = f"last asked for work {ago(facts['last_demand_s'], report['now_s'])}"
        reason = f": {facts['demand_text']}" if report["ready"] and facts["demand_text"] else ""
        return f"{status.readiness(report)}; {asked}{reason}"

    def _reload(self) -> Mapping[str, object]:
        change, later = self.reload()
        if change.problems:
            return {"problems": list(change.problems), "lines": []}
        lines = change.lines()
        if later:
            lines.append(f"{', '.join(later)}: taken when its task is over")
        return {"lines": lines}


def _draining(known: Mapping[str, Any], grace_s: float) -> str:
    if known["tasks_open"]:
        return f"draining: at most {grace_s:g} s for {count(known['tasks_open'], 'task')}"
    return f"draining: {stop_words.waits_for(known)}, at most {grace_s:g} s"


def _goes_on(known: Mapping[str, Any]) -> str:
    tasks = known["tasks_open"]
    if not tasks:
        return ""
    return f"; {count(tasks, 'task')} {'goes' if tasks == 1 else 'go'} on"
