"""What an operator should know of a stop: whom it waits for, and what a second signal costs."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from iexworker.shared.facts import Facts
from iexworker.shared.spans import count, span

Row = Mapping[str, Any]
"""An open task as `scheduling/open_tasks.py` puts it on the board."""

Known = Mapping[str, Any]
"""The board's facts by name."""

log = logging.getLogger(__name__)

_UPLOAD = "RESULT_UPLOADING"


def at_the_end(row: Row) -> str:
    """Return what becomes of a task that is not done when the grace is over."""
    if row["at_risk"]:
        return "is revealed if the consensus comes in time, else after the next start"
    if row["doing"] == "COMPUTING":
        return "its app is ended then, and computed again after the next start"
    if row["holds_slot"]:
        return "is begun again after the next start"
    if row["doing"] == _UPLOAD:
        return "its result is uploaded in time, else after the next start"
    return "goes on after the next start"


def task_lines(facts: Known, now_s: float) -> list[str]:
    """Return a line for each open task."""
    lines = [
        f"{task_id} {row['doing']}: {at_the_end(row)}{_deadline(row, now_s)}"
        for task_id, row in facts.get("open_tasks", {}).items()
    ]
    more = (facts["tasks_open"] or 0) - len(lines)
    return [*lines, f"and {count(more, 'more task')}"] if more > 0 else lines


def second_signal(facts: Known, now_s: float) -> str:
    """Return what a second SIGTERM does, and what then waits for the next start."""
    rows = facts.get("open_tasks", {}).values()
    left = []
    if at_risk := facts["stake_at_risk"] or 0:
        verb = "is" if at_risk == 1 else "are"
        deadline = facts["nearest_reveal_deadline_s"]
        until = "" if deadline is None else f" (stake lost in {span(deadline - now_s)})"
        left.append(f"{count(at_risk, 'contributed task')} {verb} not revealed{until}")
    if uploads := sum(row["doing"] == _UPLOAD for row in rows):
        verb = "is" if uploads == 1 else "are"
        left.append(f"{count(uploads, 'result')} {verb} not uploaded")
    if computing := sum(row["doing"] == "COMPUTING" for row in rows):
        apps = "1 app runs" if computing == 1 else f"{computing} apps run"
        left.append(f"{apps} on, to be taken up again")
    kept = "a second SIGTERM stops at once; what is on disk stays"
    return f"{kept}, and until the next start {', '.join(left)}" if left else kept


def tell(asked: Mapping[str, object], facts: Facts, grace_s: float) -> None:
    """Log a stop that begins: who asked for it, whom it waits for, how to end it at once."""
    known, now_s = asdict(facts), time.time()
    count_facts = {"tasks": facts.tasks_open, "at_risk": facts.stake_at_risk, "at_most_s": grace_s}
    log.info("stop asked for", extra={**asked, **count_facts})
    for task_id, row in facts.open_tasks.items():
        end = at_the_end(row) + _deadline(row, now_s)
        log.info("stop waits for task", extra={"task": task_id, "doing": row["doing"], "then": end})
    if facts.tasks_open:
        log.info("a second signal stops at once", extra={"then": second_signal(known, now_s)})


def waits_for(facts: Known) -> str:
    """Return for how many tasks a stop waits, or that it need not."""
    if facts["tasks_open"] is None:
        return "waits for the processes; which tasks are open is not known yet"
    if not facts["tasks_open"]:
        return "waits for no task"
    return f"waits for {count(facts['tasks_open'], 'task')}"


def progress(report: Known) -> tuple[str, str]:
    """Return how long a stop may take yet, and what it waits for; empty before it has begun."""
    facts = report["facts"]
    until_s = facts["stopping_until_s"]
    return ("", "") if until_s is None else (span(until_s - report["now_s"]), waits_for(facts))


def _deadline(row: Row, now_s: float) -> str:
    if not row["at_risk"]:
        return ""
    if row["reveal_by_s"] is None:
        return "; reveal deadline not known yet"
    return f"; reveal deadline in {span(row['reveal_by_s'] - now_s)}"
