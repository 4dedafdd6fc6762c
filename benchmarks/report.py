"""The figures as a table for people and as JSON for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime

from benchmarks.figures import FIGURES, Figure

_HEADS = ("figure", "unit", "Java 8.5", "Java 9.2", "bar", "here", "")


def table(values: Mapping[str, float]) -> str:
    """Return the figures that were measured, one a line, with bars and Java figures beside."""
    rows = [_HEADS, *(_row(figure, values[figure.name]) for figure in measured(values))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    return "\n".join(_line(row, widths) for row in rows)


def document(values: Mapping[str, float], busy_percent: float) -> dict[str, object]:
    """Return the same with what the machine is, and how busy it was with other things before."""
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": platform.machine(),
            "cpus": len(os.sched_getaffinity(0)),
            "system": platform.platform(),
            "python": platform.python_version(),
            "busy_percent_before": busy_percent,
        },
        "figures": [_entry(figure, values[figure.name]) for figure in measured(values)],
    }


def measured(values: Mapping[str, float]) -> list[Figure]:
    """Return the figures that there is a value for, in the table's order."""
    return [figure for figure in FIGURES if figure.name in values]


def _row(figure: Figure, value: float) -> tuple[str, ...]:
    return (
        figure.title,
        figure.unit,
        _number(figure.java_8),
        _number(figure.java_9),
        f"{figure.bound.value} {_number(figure.bar)}",
        _number(value),
        "" if figure.met(value) else "missed",
    )


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
    cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join(cells).rstrip()


def _entry(figure: Figure, value: float) -> dict[str, object]:
    return {
        "name": figure.name,
        "title": figure.title,
        "unit": figure.unit,
        "value": round(value, 4),
        "bound": figure.bound.value,
        "bar": figure.bar,
        "met": figure.met(value),
        "java_8.5.0": figure.java_8,
        "java_9.2.0": figure.java_9,
    }


def _number(value: float | None) -> str:
    """Return three significant digits, thousands separated; a dash for what is not known."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
