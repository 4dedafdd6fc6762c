"""The operator's word that no new task is wanted, kept in a file so that a restart heeds it.

Who pauses a worker wants it to take no work until he says otherwise; neither a crash nor an update
is his word (decision 0014).
"""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import UTC, datetime
from pathlib import Path

from iexworker import durable_files
from iexworker.shared.board import FactsBoard

FILE_NAME = "paused"

log = logging.getLogger(__name__)


class Pause:
    """Whether the worker is paused, and since when: a file in its folder, and a fact."""

    def __init__(self, root: Path, facts: FactsBoard) -> None:
        self._path = root / FILE_NAME
        self._facts = facts

    @property
    def since_s(self) -> float | None:
        """The instant of the order, None while the worker is not paused."""
        facts = self._facts.read()
        return facts.paused_since_s if facts.paused else None

    def recall(self) -> None:
        """Take up, at a start, what an earlier worker was told."""
        if not self._path.is_file():
            return
        since_s = self._read()
        self._facts.set(paused=True, paused_since_s=since_s)
        log.warning(
            "demand paused",
            extra={"since": _written(since_s), "until": "`iexworker resume`"},
        )

    def begin(self) -> str:
        """Have no more tasks asked for; return why a restart would not heed it, if it would not."""
        now_s = time.time()
        self._facts.set(paused=True, paused_since_s=now_s)
        log.info("demand paused")
        try:
            durable_files.write(self._path, f"{_written(now_s)}\n".encode())
        except OSError as error:
            problem = f"{self._path}: {error.strerror}"
            log.error("pause not written down", extra={"error": problem})
            return problem
        return ""

    def end(self) -> str:
        """Have tasks asked for again; return why a restart would be paused again, if it would."""
        self._facts.set(paused=False, paused_since_s=None)
        log.info("demand resumed")
        try:
            with contextlib.suppress(IsADirectoryError):
                self._path.unlink(missing_ok=True)
        except OSError as error:
            return f"{self._path}: {error.strerror}"
        return ""

    def _read(self) -> float:
        try:
            text = self._path.read_text(encoding="ascii").strip()
            return datetime.fromisoformat(text).timestamp()
        except (OSError, ValueError):
            # Made by hand, perhaps: that it is there is enough.
            return self._path.stat().st_mtime


def _written(instant_s: float) -> str:
    return datetime.fromtimestamp(instant_s, UTC).isoformat(timespec="milliseconds")
