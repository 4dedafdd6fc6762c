"""Whom the effects work with: chain, slots, containers, scheduler and proxy, as they need them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import Sighting, TaskDescription
from iexworker.scheduling.containers import Sweeper
from iexworker.scheduling.slots import Slots
from iexworker.scheduling.transactions import AsyncOutbox
from iexworker.task.events import SchedulerSaw
from iexworker.task.replicate import Replicate


class TaskChain(AsyncOutbox, Protocol):
    """The chain as the effects need it; every call may raise `ChainError`."""

    async def describe(self, replicate: Replicate) -> TaskDescription | None:
        """Return what the task is, None when the chain does not know it."""

    async def authorized(
        self, authorization: WorkerpoolAuthorization, description: TaskDescription
    ) -> bool:
        """Tell whether the contract will take the authorisation."""

    async def cannot_contribute(
        self, replicate: Replicate, description: TaskDescription
    ) -> str | None:
        """Return the cause that forbids to go on (docs/spec/05, 5.1), None when all is well."""

    async def enough_gas(self) -> bool:
        """Tell whether the wallet can pay for a transaction."""

    async def sight(self, task_id: str) -> Sighting:
        """Read task and own contribution."""


@dataclass(frozen=True, slots=True)
class Collaborators:
    """Whom the effects work with."""

    chain: TaskChain
    slots: Slots
    sweeper: Sweeper
    folder_of: Callable[[str], Path]
    subscribe: Callable[[str], None]
    unsubscribe: Callable[[str], None]
    upload: Callable[[Replicate, TaskDescription, Path], Awaitable[str]]
    """Upload the result; returns the link text, "" when there is none to be had."""
    scheduler_task: Callable[[str], Awaitable[SchedulerSaw]]
    returned_s: Callable[[], float]
    """The monotonic instant since when the scheduler may have pushed to us again."""
    tee_refusal: Callable[[TaskDescription], str | None]
    """The cause for which a task cannot be run on this worker, None for one that can."""
