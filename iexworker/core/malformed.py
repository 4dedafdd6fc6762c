"""What the scheduler sends in a shape that nobody knows: said once each, then dropped."""

from __future__ import annotations

import logging
import threading

_REMEMBERED = 256
_SHOWN_CHARACTERS = 200

log = logging.getLogger(__name__)


class Malformed:
    """Remembers what it has logged, so that a peer that repeats itself does not flood the log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[tuple[str, str]] = set()

    def say(self, where: str, text: str, error: str) -> None:
        """Log the text (cut) and what is wrong with it, unless that was logged before."""
        shown = " ".join(text[: 2 * _SHOWN_CHARACTERS].split())[:_SHOWN_CHARACTERS]
        with self._lock:
            if (where, shown) in self._said:
                return
            if len(self._said) >= _REMEMBERED:
                self._said.clear()
            self._said.add((where, shown))
        log.warning(
            "malformed message of the scheduler",
            extra={"where": where, "error": error[:_SHOWN_CHARACTERS], "text": shown},
        )
