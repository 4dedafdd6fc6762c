"""Spans of time as an operator reads them."""

from __future__ import annotations


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


def ago(instant: float | None, now: float) -> str:
    """Return how long ago an instant was."""
    return "never" if instant is None else f"{span(now - instant)} ago"


def count(number: int, noun: str) -> str:
    """Return `1 task`, `2 tasks`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
