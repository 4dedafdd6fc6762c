"""Everything around the scheduler's rules, injected once and shared by them."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field

from iexworker.sandbox.network.network import Timers
from iexworker.sandbox.scheduler.interfaces import Chain, Clock, Push, Results
from iexworker.sandbox.scheduler.models import Profile


class WallClock:
    """The machine's own time."""

    def now_s(self) -> float:
        """Return the present."""
        return time.time()

    def sleep(self, duration_s: float) -> None:
        """Block this thread."""
        time.sleep(duration_s)


@dataclass(frozen=True, slots=True)
class World:
    """Clock, chain, result proxy and push channel; and what waits for the engine's own thread.

    Tasks are changed by one thread only. Whoever else wants one looked at asks here.
    """

    profile: Profile
    clock: Clock
    chain: Chain
    results: Results
    push: Push
    timers: Timers = field(default_factory=Timers)
    block_time_s: float = 1.0
    ask_period_ms: int = 5000
    asked: queue.SimpleQueue[tuple[str, str]] = field(default_factory=queue.SimpleQueue)
    """What to do (`update`, `search`) and the task."""

    def now_ms(self) -> int:
        """Return the present in whole milliseconds, as the scheduler writes dates."""
        return round(self.clock.now_s() * 1000)

    def ask_task_update(self, task_id: str) -> None:
        """Have the task looked at soon."""
        self.asked.put(("update", task_id))

    def ask_contribution_search(self, task_id: str) -> None:
        """Have the chain searched soon for contributions to the task that nobody told of."""
        self.asked.put(("search", task_id))
