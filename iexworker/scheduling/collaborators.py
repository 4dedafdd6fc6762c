"""Interfaces that the effect executor depends on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import Sighting, TaskDescription
from iexworker.scheduling.containers import Sweeper
from iexworker.scheduling.slots import Slots
from iexworker.scheduling.task_log import Rewards
from iexworker.scheduling.transactions import AsyncOutbox
from iexworker.task.events import SchedulerSaw
from iexworker.task.replicate import Replicate


class TaskChain(AsyncOutbox, Rewards, Protocol):
    """The chain as the effect executor needs it; every call may raise `ChainError`."""

    async def describe(self, replicate: Replicate) -> TaskDescription | None:
        """Return what the task is, None when the chain does not know it."""

    async def authorized(
        self, authorization: WorkerpoolAuthorization, description: TaskDescription
    ) -> bool:
        """Tell whether the contract will accept the authorisation."""

    async def contribution_obstacles(
        self, replicate: Replicate, description: TaskDescription
    ) -> tuple[str, ...]:
        """Return the causes that forbid to go on (docs/spec/05, 5.1), the first to report first."""

    async def enough_gas(self) -> bool:
        """Tell whether the wallet can pay for a transaction."""

    async def sight(self, task_id: str) -> Sighting:
        """Read task and own contribution."""


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the effect executor works with."""

    chain: TaskChain
    slots: Slots
    sweeper: Sweeper
    folder_of: Callable[[str], Path]
    subscribe: Callable[[str], None]
    unsubscribe: Callable[[str], None]
    upload: Callable[[Replicate, TaskDescription, Path], Awaitable[str]]
    """Upload the result; returns the link text, "" when there is none."""
    scheduler_task: Callable[[str], Awaitable[SchedulerSaw]]
    returned_s: Callable[[], float]
    """The monotonic instant since when the scheduler may have pushed to us again."""
    stake_too_low: Callable[[int], None]
    """Told what a task locks, in nRLC, when the wallet's deposit does not cover it."""
    tee_refusal: Callable[[TaskDescription], str | None]
    """The cause for which a task cannot be run on this worker, None for one that can."""
