"""The open tasks as an operator sees them, put on the board for `status`, `pause` and `drain`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from iexworker.task.replicate import STATUSES, Replicate, Work

MOST = 20
"""How many are named; the board has little room, and an operator reads no more."""


def rows(
    replicates: Iterable[Replicate], reveal_deadline_s: Callable[[str], int | None]
) -> dict[str, Mapping[str, Any]]:
    """Return a row for each task, those with a stake at risk first, by their deadline."""
    found = {item.task_id: _row(item, reveal_deadline_s) for item in replicates}
    return dict(sorted(found.items(), key=_urgency)[:MOST])


def _row(item: Replicate, reveal_deadline_s: Callable[[str], int | None]) -> Mapping[str, Any]:
    return {
        "doing": _doing(item),
        "at_risk": item.at_risk,
        "holds_slot": item.holds_slot,
        "reveal_by_s": reveal_deadline_s(item.task_id) or None if item.at_risk else None,
    }


def _doing(item: Replicate) -> str:
    """Return the field's word for where the task is."""
    statuses = STATUSES[item.step]
    if item.work is Work.FAILED:
        return statuses.failure.value
    if item.work is Work.DONE or statuses.before is None:
        return statuses.success.value
    return statuses.before.value


def _urgency(entry: tuple[str, Mapping[str, Any]]) -> tuple[bool, float]:
    _, row = entry
    return not row["at_risk"], math.inf if row["reveal_by_s"] is None else row["reveal_by_s"]
