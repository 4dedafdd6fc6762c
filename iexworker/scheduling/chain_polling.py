"""Polls the chain for each task, as often as its state calls for.

Pushes of the scheduler make nearly every look superfluous. The looks find what a push that never
came should have told (docs/spec/04, H4), and let a reveal go that waits for our own node (H12).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from iexworker.task.replicate import Replicate, Step, Work

TURN_S = 0.5
SLOW_S = 15.0
"""Between two looks at a task that waits for the scheduler."""
REVEALED_S = 5.0
"""The same once it is revealed: a missed request to upload may be two minutes old (H31)."""
FIRST_S = 1.0
"""The first pause after a start or a reconnect; each further one doubles."""


def look_every_s(replicate: Replicate, block_time_s: float) -> float:
    """Return the pause between two looks at this task."""
    if replicate.step is Step.REVEAL and replicate.work is Work.DOING:
        return min(max(0.5, block_time_s / 2), 5.0)
    if replicate.step is Step.REVEAL and replicate.work is Work.DONE:
        return REVEALED_S
    if replicate.step is Step.CONTRIBUTE and replicate.work is Work.DONE:
        return min(max(1.0, block_time_s), SLOW_S)
    return SLOW_S


class ChainPoller:
    """Asks for a look at each task when it is due."""

    def __init__(
        self,
        replicates: Mapping[str, Replicate],
        observe: Callable[[str], None],
        block_time_s: float,
        returned_s: Callable[[], float],
        push_timeout_ends_s: Callable[[str], float],
    ) -> None:
        """Take the replicates, whom to ask for a look, and two monotonic instants.

        `returned_s` is when the scheduler was reached again last; `push_timeout_ends_s` until when
        a push for a task is waited for.
        """
        self._replicates = replicates
        self._observe = observe
        self._block_time_s = block_time_s
        self._returned_s = returned_s
        self._push_timeout_ends_s = push_timeout_ends_s
        self._looked_s: dict[str, float] = {}

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            self.turn(time.monotonic())
            await asyncio.sleep(TURN_S)

    def turn(self, now_s: float) -> None:
        """Ask for the looks that are due at this monotonic instant."""
        self._looked_s = {
            task: seen for task, seen in self._looked_s.items() if task in self._replicates
        }
        for task_id, replicate in list(self._replicates.items()):
            looked_s = self._looked_s.setdefault(task_id, now_s)
            if self._is_due(task_id, replicate, looked_s, now_s):
                self._looked_s[task_id] = now_s
                self._observe(task_id)

    def _is_due(self, task_id: str, replicate: Replicate, looked_s: float, now_s: float) -> bool:
        if looked_s <= self._push_timeout_ends_s(task_id) < now_s:
            return True  # earlier looks were too early to act on
        # Each look after a return doubles the time since then, and so the next pause.
        since_return_s = max(looked_s - self._returned_s(), FIRST_S)
        return now_s - looked_s >= min(look_every_s(replicate, self._block_time_s), since_return_s)
