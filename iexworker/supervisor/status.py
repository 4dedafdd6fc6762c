"""The words and exit codes of `iexworker status`, made from the parent's report (report.py)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from iexworker.shared import money
from iexworker.shared.spans import ago, span
from iexworker.supervisor import stop_words

Report = Mapping[str, Any]
"""What report.py makes."""

EXIT_READY = 0
EXIT_NOT_READY = 1


def _with(statement: str, reason: str) -> str:
    return f"{statement}: {reason}" if reason else statement


def headline(report: Report) -> str:
    """Return one line for a service manager."""
    facts = report["facts"]
    slots = [item for item in report["processes"] if item["role"].startswith("compute-")]
    busy = sum(item["state"] == "busy" for item in slots)
    risk = f", {facts['stake_at_risk']} at stake" if facts["stake_at_risk"] else ""
    return f"{_state(report)}; {busy} of {len(slots)} slots busy{risk}"


def _state(report: Report) -> str:
    facts = report["facts"]
    if facts["stopping"]:
        until = datetime.fromtimestamp(facts["stopping_until_s"] or report["now_s"], UTC)
        return f"stopping until {until:%H:%M:%S} UTC at the latest, {stop_words.waits_for(facts)}"
    return readiness(report)


def readiness(report: Report) -> str:
    """Return whether the worker takes work, and why not."""
    others = "; ".join(text for part, text in report["problems"].items() if part != "worker")
    if report["facts"]["paused"]:
        return _with("paused and not ready", others) if others else "paused"
    why = "; ".join(report["problems"].values())
    return "ready" if report["ready"] else f"not ready: {why}"


def exit_code(report: Report) -> int:
    """Return the exit code of `iexworker status`."""
    return EXIT_READY if report["ready"] else EXIT_NOT_READY


def render(report: Report) -> str:
    """Return the document as an operator reads it."""
    now, facts = report["now_s"], report["facts"]
    lines = [
        f"iexworker {report['worker']}, pid {report['pid']}, "
        f"started {ago(facts['started_s'], now)}: {_headline_state(report)}",
        *(f"  - {part}: {reason}" for part, reason in report["problems"].items()),
        f"wallet     {facts['wallet'] or 'not known yet'}",
        f"scheduler  profile {facts['profile'] or 'not known yet'}, "
        f"last ping answered {ago(facts['last_ping_s'], now)}",
        f"chain      block {facts['last_block'] or '?'}, seen {ago(facts['last_block_s'], now)}",
        f"demand     {_with(ago(facts['last_demand_s'], now), facts['demand_text'])}",
        f"deposit    {_deposit(facts)}",
        *_gas(facts),
        f"stake      {_stake(facts, now)}",
        *_tasks(facts, now),
        "",
        f"{'PROCESS':<12}{'PID':>8}  {'STATE':<10}{'SINCE':<12}{'RESTARTS':>8}  WHAT",
    ]
    lines += (_row(process, now) for process in report["processes"])
    return "\n".join(lines)


def _headline_state(report: Report) -> str:
    facts = report["facts"]
    if facts["stopping"]:
        left_s = (facts["stopping_until_s"] or report["now_s"]) - report["now_s"]
        return f"STOPPING, at most {span(left_s)} left; it {stop_words.waits_for(facts)}"
    if facts["paused"]:
        return "PAUSED, and not ready" if set(report["problems"]) - {"worker"} else "PAUSED"
    return "ready" if report["ready"] else "NOT READY"


def _tasks(facts: Mapping[str, Any], now: float) -> list[str]:
    """Return the open tasks: while stopping with what becomes of them, else with what they do."""
    if facts["stopping"]:
        lines = stop_words.task_lines(facts, now)
        return [f"task       {line}" for line in lines] + [stop_words.second_signal(facts, now)]
    return [f"task       {task} {row['doing']}" for task, row in facts["open_tasks"].items()]


def _row(process: Mapping[str, Any], now: float) -> str:
    what = " ".join(process[key] for key in ("step", "task", "text") if process[key])
    since = ago(process["since_s"] or None, now)
    return (
        f"{process['role']:<12}{process['pid'] or '-':>8}  {process['state']:<10}{since:<12}"
        f"{process['restarts']:>8}  {what}"
    ).rstrip()


def _stake(facts: Mapping[str, Any], now: float) -> str:
    if facts["stake_at_risk"] is None:
        return "not known yet"
    if not facts["stake_at_risk"]:
        return "none at risk"
    text = f"at risk in {facts['stake_at_risk']} contributed and not yet revealed"
    deadline = facts["nearest_reveal_deadline_s"]
    return (
        text if deadline is None else f"{text}, nearest reveal deadline in {span(deadline - now)}"
    )


def _deposit(facts: Mapping[str, Any]) -> str:
    if facts["deposit_nrlc"] is None:
        return "not known yet"
    text = f"{facts['deposit_nrlc']} nRLC free, {facts['locked_nrlc']} locked"
    if facts["balance_wei"] is not None:
        text = f"{money.rlc(facts['deposit_nrlc'])} free, {money.rlc(facts['locked_nrlc'])} locked"
    return _with(text, facts["deposit_text"])


def _gas(facts: Mapping[str, Any]) -> list[str]:
    """Return the wallet's money for gas; no line where transactions are free."""
    if facts["balance_wei"] is None:
        return []
    note = f"; {facts['gas_note']}" if facts["gas_note"] else ""
    return [f"gas        {money.ether(facts['balance_wei'])}; {facts['gas_wanted_text']}{note}"]
