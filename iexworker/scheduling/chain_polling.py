"""Looks at the chain for each task, as often as its state calls for.

What the scheduler pushes makes nearly every look superfluous; a push that never came is what the
looks are for (docs/spec/04, H4), and a reveal that waits for the own node (H12).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from iexworker.task.replicate import Replicate, Step, Work

TURN_S = 0.5
SLOW_S = 15.0
"""Between two looks at a task whose next word is the scheduler's."""
REVEALED_S = 5.0
"""The same once it is revealed: a missed request to upload may be two minutes old (H31)."""


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
    ) -> None:
        self._replicates = replicates
        self._observe = observe
        self._block_time_s = block_time_s
        self._looked_s: dict[str, float] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.turn(time.monotonic())
            await asyncio.sleep(TURN_S)

    def turn(self, now_s: float) -> None:
        """Ask for the looks that are due at this monotonic instant."""
        self._looked_s = {
            task: seen for task, seen in self._looked_s.items() if task in self._replicates
        }
        for task_id, replicate in list(self._replicates.items()):
            pause_s = look_every_s(replicate, self._block_time_s)
            if now_s - self._looked_s.setdefault(task_id, now_s) >= pause_s:
                self._looked_s[task_id] = now_s
                self._observe(task_id)
