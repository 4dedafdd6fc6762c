"""Finds grants that the journal lacks: lost with it, or with the answer that brought them.

The scheduler lists what it takes us to be working on, and gives the authorisations again
(docs/spec/04, 11.1, step 9); what to do about each, the chain tells. None stays unanswered (H6).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from iexworker.core.messages import AbortCause, Notification, ReplicateStatus
from iexworker.poco.models import Head, Profile, Sighting
from iexworker.recovery import rebuild, task_folders
from iexworker.task.replicate import Replicate, Step, Work

QUIET_POLL_S = 0.5
_ANSWERED = (ReplicateStatus.ABORTED, ReplicateStatus.COMPLETED, ReplicateStatus.FAILED)
_UNSEEN_TASK_S = 60
"""How long to wait for a task that our node does not show yet."""

log = logging.getLogger(__name__)


class GrantChain(Protocol):
    """The chain as lost grants need it; every call may raise `ChainError`."""

    async def head(self) -> Head:
        """Return the newest block."""

    async def look(self, task_id: str) -> Sighting | None:
        """Read task and own contribution, None for a task that this chain does not know."""


class Scheduler(Protocol):
    """The scheduler as lost grants need it; every call may raise `SchedulerError`."""

    async def computing(self) -> list[str]:
        """Return the tasks for which the scheduler keeps a slot of ours."""

    async def interrupted(self, block: int) -> list[Notification]:
        """Return what was interrupted."""

    async def history(self, task_id: str) -> list[ReplicateStatus]:
        """Return what the scheduler has recorded of our replicate, oldest first."""


def quiet(replicates: Iterable[Replicate]) -> bool:
    """Tell whether `interrupted` may be asked: else it can leave a task stuck (H25).

    Everything is acknowledged, and no task is between its reveal and RESULT_UPLOADED.
    """
    return not any(item.pending or _unreported(item) for item in replicates)


def _unreported(replicate: Replicate) -> bool:
    if replicate.step is Step.UPLOAD:
        return replicate.work is Work.DOING
    return replicate.step is Step.REVEAL


@dataclass(slots=True)
class LostGrants:
    """Looks for lost grants and has each of them begun, or given up with an answer."""

    chain: GrantChain
    scheduler: Scheduler
    root: Path
    wallet: str
    profile: Callable[[], Profile]
    known: Mapping[str, Replicate]
    """The replicates that are ours already."""
    foreign: Callable[[], Collection[str]]
    """Tasks of other chains and wallets, whose folders are theirs."""
    asking: asyncio.Lock
    """Held while work is asked for: an answer on its way is no lost one."""
    adopt: Callable[[Replicate], None]
    observe: Callable[[str], None]
    search_chain: Callable[[], Awaitable[None]]
    """Takes up contributions that the journal does not know."""
    _settled: set[str] = field(default_factory=set)
    """Tasks that this process has looked into."""

    async def look(self) -> None:
        """Look once; raises `ChainError`, `SchedulerError` or `JournalError`: do it again then."""
        listed = await self._listed()
        lost = await self._lost(listed)
        if not lost:
            return
        log.warning(
            "tasks of ours that the journal does not know", extra={"tasks": ", ".join(lost)}
        )
        for note in await self._interrupted(lost):
            if note.task_id in self.known:
                self.observe(note.task_id)  # its own record and the chain know better
            elif note.task_id not in self._settled:
                await self._answer(note)
        for task_id in listed:
            if self._is_new(task_id):
                await self._give_up(task_id, lost[task_id])
        self._settled |= lost.keys()

    def _is_new(self, task_id: str) -> bool:
        return task_id not in self.known and task_id not in self._settled

    async def _listed(self) -> list[str]:
        async with self.asking:
            return [task for task in await self.scheduler.computing() if self._is_new(task)]

    async def _lost(self, listed: Collection[str]) -> dict[str, Sighting | None]:
        """Return what waits for us: of what is listed, and of what has a folder."""
        foreign = self.foreign()
        folders = await asyncio.to_thread(task_folders.task_folders, self.root)
        left = [task for task in folders if task not in foreign and self._is_new(task)]
        lost: dict[str, Sighting | None] = {}
        for task in dict.fromkeys((*listed, *left)):
            sighting = await self.chain.look(task)
            if await self._waits(task, sighting, is_listed=task in listed):
                lost[task] = sighting
            else:
                log.info("task not under way; its folder is kept", extra={"task": task})
                self._settled.add(task)
        return lost

    async def _waits(self, task_id: str, sighting: Sighting | None, *, is_listed: bool) -> bool:
        """Tell whether the scheduler waits for us; what we aborted stays listed."""
        if not is_listed and (sighting is None or not rebuild.may_begin(sighting)):
            return False
        history = await self.scheduler.history(task_id)
        if history:
            return history[-1] not in _ANSWERED
        return is_listed

    async def _interrupted(self, lost: Mapping[str, Sighting | None]) -> list[Notification]:
        """Ask when it does no harm; a slot is not kept idle longer than its task may compute."""
        until_s = time.monotonic() + min(
            _UNSEEN_TASK_S if sighting is None else sighting.task.time_reference_s
            for sighting in lost.values()
        )
        head = await self.chain.head()
        while not quiet(self.known.values()):
            if time.monotonic() > until_s:
                log.error("interrupted work not asked for: reveals and uploads are under way")
                return []
            await asyncio.sleep(QUIET_POLL_S)
        return await self.scheduler.interrupted(head.number)

    async def _answer(self, note: Notification) -> None:
        sighting = await self.chain.look(note.task_id)
        if sighting is not None and rebuild.is_ours(sighting):
            await self.search_chain()
        elif note.authorization is None or not (sighting is None or rebuild.may_begin(sighting)):
            await self._give_up(note.task_id, sighting, note.abort_cause)
        else:
            self._take(rebuild.granted(note.authorization, self.profile(), note.sms_url))

    async def _give_up(
        self,
        task_id: str,
        sighting: Sighting | None,
        abort_cause: AbortCause = AbortCause.UNKNOWN,
    ) -> None:
        late = None if sighting is None else rebuild.too_late(sighting)
        cause = late or "WORKERPOOL_AUTHORIZATION_NOT_FOUND"
        history = await self.scheduler.history(task_id)
        log.error("task given up", extra={"task": task_id, "cause": cause})
        authorization = rebuild.no_authorization(self.wallet, task_id)
        record = rebuild.given_up(authorization, self.profile(), history, cause, abort_cause)
        self._take(record)

    def _take(self, record: Replicate) -> None:
        self.adopt(record)
        self._settled.add(record.task_id)
