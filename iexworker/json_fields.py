"""Reads fields of JSON objects that a peer wrote, and checks their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MalformedMessage(ValueError):
    """A peer's message does not have the shape that the protocol gives it."""


def text(data: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """Return a text field; absent or null gives `default`, else raises `MalformedMessage`."""
    value = data.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise MalformedMessage(f"{key}: expected a text, got {value!r}")
    return value


def integer(data: Mapping[str, Any], key: str, default: int) -> int:
    """Return a whole number, written as one or as a text; raises `MalformedMessage`."""
    value = data.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise MalformedMessage(f"{key}: expected a number, got {value!r}")
    try:
        return int(value)
    except ValueError:
        raise MalformedMessage(f"{key}: expected a number, got {value!r}") from None
