"""How long to wait for a push before acting on chain state alone."""

from __future__ import annotations

from dataclasses import dataclass

from iexworker.core.messages import AnswerKind
from iexworker.task.events import Answered, Event, Notified

PUSH_PATIENCE_S = 30.0
"""The usual timeout: the scheduler's detectors take that long to find a missed update."""
MISSED_PATIENCE_S = 5.0
"""The timeout if the push was probably missed (docs/spec/04, section 11.1, steps 3 and 5)."""


@dataclass(slots=True)
class PushTimeout:
    """What one replicate's wait depends on; all instants are monotonic seconds.

    The scheduler pushes nothing twice: a push sent while we were offline, or for a status that the
    scheduler already had, is not repeated. Only the next message shows that we hear it again.
    """

    moved_s: float
    """When the replicate's step or work changed last."""
    heard_s: float
    """When an update was accepted, or a message came, last."""
    known_s: float = 0.0
    """When an update was last answered as already known."""

    def take(self, event: Event, now_s: float) -> None:
        """Note what an event tells of the scheduler."""
        if isinstance(event, Notified):
            self.heard_s = now_s
        elif isinstance(event, Answered):
            if event.kind is AnswerKind.ACCEPTED:
                self.heard_s = now_s
            elif event.kind is AnswerKind.ALREADY:
                self.known_s = now_s

    def ends_s(self, returned_s: float) -> float:
        """Return until when to wait; `returned_s` is when the last absence ended."""
        missed_s = max(returned_s, self.known_s)
        if missed_s > self.heard_s:
            return max(missed_s, self.moved_s) + MISSED_PATIENCE_S
        return self.moved_s + PUSH_PATIENCE_S

    def is_over(self, now_s: float, returned_s: float) -> bool:
        """Tell whether to wait no longer."""
        return now_s > self.ends_s(returned_s)
