"""The words and exit codes of `iexworker status`, made from the parent's report (report.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    why = "; ".join(report["problems"].values())
    state = "ready" if report["ready"] else f"not ready: {why}"
    risk = f", {facts['stake_at_risk']} at stake" if facts["stake_at_risk"] else ""
    return f"{state}; {busy} of {len(slots)} slots busy{risk}"


def exit_code(report: Report) -> int:
    """Return the exit code of `iexworker status`."""
    return EXIT_READY if report["ready"] else EXIT_NOT_READY


def render(report: Report) -> str:
    """Return the document as an operator reads it."""
    now, facts = report["now_s"], report["facts"]
    lines = [
        f"iexworker {report['worker']}, pid {report['pid']}, "
        f"started {_ago(facts['started_s'], now)}: {'ready' if report['ready'] else 'NOT READY'}",
        *(f"  - {part}: {reason}" for part, reason in report["problems"].items()),
        f"wallet     {facts['wallet'] or 'not known yet'}",
        f"scheduler  profile {facts['profile'] or 'not known yet'}, "
        f"last ping answered {_ago(facts['last_ping_s'], now)}",
        f"chain      block {facts['last_block'] or '?'}, seen {_ago(facts['last_block_s'], now)}",
        f"demand     {_with(_ago(facts['last_demand_s'], now), facts['demand_text'])}",
        f"stake      {_stake(facts, now)}",
        "",
        f"{'PROCESS':<12}{'PID':>8}  {'STATE':<10}{'SINCE':<12}{'RESTARTS':>8}  WHAT",
    ]
    lines += (_row(process, now) for process in report["processes"])
    return "\n".join(lines)


def _row(process: Mapping[str, Any], now: float) -> str:
    what = " ".join(process[key] for key in ("step", "task", "text") if process[key])
    since = _ago(process["since_s"] or None, now)
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


def _ago(instant: float | None, now: float) -> str:
    return "never" if instant is None else f"{span(now - instant)} ago"


def span(seconds: float) -> str:
    """Return a time span in its two largest units: `4 s`, `3 m 20 s`, `2 h 5 m`, `3 d 4 h`."""
    left = int(max(seconds, 0))
    parts = [
        (left // 86400, "d"),
        (left // 3600 % 24, "h"),
        (left // 60 % 60, "m"),
        (left % 60, "s"),
    ]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])
