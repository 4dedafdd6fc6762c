"""What the pages are made from: the shared memory of the worker and a few of its settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iexworker.shared.board import Board
from iexworker.shared.ring import Ring

DEFAULT_VERSION = "9.2.0"
"""Shown until the scheduler has named the version that it wants."""


@dataclass(frozen=True, slots=True)
class Source:
    """The inputs of every page; nothing here is asked of a busy process."""

    board: Board
    ring: Ring
    exposure: frozenset[str] = frozenset({"health", "info", "prometheus"})
    """The actuator endpoints that answer; `*` for all."""
    directory: Path = Path("/")
    """Where the worker keeps its files: its file system is the one that is watched."""
    reported_version: str | None = None
    """The operator's word over what the scheduler wants to see."""
    clock: Callable[[], float] = time.time
    """Unix seconds."""

    def exposes(self, endpoint: str) -> bool:
        """Return whether an actuator endpoint answers."""
        return not self.exposure.isdisjoint(("*", endpoint))

    def version(self) -> str:
        """Return the version shown to operators."""
        return self.reported_version or self.board.facts.read().version or DEFAULT_VERSION
