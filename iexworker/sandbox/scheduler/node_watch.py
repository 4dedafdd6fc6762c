"""Whether the scheduler has its chain node: without it demand and updates get 503 (03, 9.7)."""

from __future__ import annotations

import logging

from iexworker.sandbox.scheduler.context import World
from iexworker.sandbox.scheduler.interfaces import ChainUnreachable
from iexworker.sandbox.scheduler.models import Profile

log = logging.getLogger(__name__)

SYNC_TIMEOUT_S = 15.0
"""9.x: the newest block may be this old."""
FAILED_PROBES = 4
"""8.5: this many in a row take the scheduler out of service."""
BLOCKS_BETWEEN_PROBES = 3


class ChainHealth:
    """9.x is out of service until it saw a block come in; 8.5 starts in service."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._failed = 0
        self._next_probe_s = 0.0
        self._first_block: int | None = None
        self._in_service = world.profile is Profile.V8

    @property
    def in_service(self) -> bool:
        """Whether demand and updates are served."""
        return self._in_service

    def probe(self) -> None:
        """Ask the node when it is time."""
        now_s = self._world.clock.now_s()
        if now_s < self._next_probe_s:
            return
        was, self._in_service = self._in_service, self._judge(self._is_well(now_s))
        blocks = BLOCKS_BETWEEN_PROBES if self._in_service else 1
        self._next_probe_s = now_s + blocks * self._world.block_time_s
        if was != self._in_service:
            level = logging.INFO if self._in_service else logging.WARNING
            log.log(level, "chain health changed", extra={"in_service": self._in_service})

    def _is_well(self, now_s: float) -> bool:
        try:
            block, at_s = self._world.chain.head()
        except ChainUnreachable:
            return False
        if self._world.profile is Profile.V8:
            return True
        self._first_block = block if self._first_block is None else self._first_block
        return block > self._first_block and now_s - at_s <= SYNC_TIMEOUT_S

    def _judge(self, well: bool) -> bool:
        self._failed = 0 if well else self._failed + 1
        return self._failed < (FAILED_PROBES if self._world.profile is Profile.V8 else 1)
