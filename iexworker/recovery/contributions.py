"""Searches the chain for this wallet's contributions, and makes records of them.

The authorisation is in the input of our own `contribute`, the digest in the task folder, so nothing
of the scheduler is needed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iexworker.errors import ChainError
from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import (
    ChainReceipt,
    Contributed,
    ContributionEvent,
    ContributionStatus,
    Nonces,
    Profile,
    Sighting,
    TaskDescription,
)
from iexworker.recovery import rebuild, task_folders
from iexworker.shared import handoff
from iexworker.task.replicate import Replicate

SETTLE_BLOCKS = 12
"""How long our pending transactions may take to be mined: what upstream waits for a receipt."""

log = logging.getLogger(__name__)


class ContributionChain(Protocol):
    """The chain as it is searched; every call may raise `ChainError`."""

    async def nonces(self) -> Nonces:
        """Return the wallet's transaction counts."""

    async def contributions(self) -> list[ContributionEvent]:
        """Return this wallet's contributions to all tasks that can be under way."""

    async def contributed(self, tx_hash: str) -> Contributed | None:
        """Return what a transaction contributed, None when the node does not know it."""

    async def revealed(self, task_id: str, since_block: int) -> ChainReceipt | None:
        """Return where our reveal was mined, None when it was not."""

    async def look(self, task_id: str) -> Sighting | None:
        """Read task and own contribution, None for a task that this chain does not know."""

    async def describe(self, replicate: Replicate) -> TaskDescription | None:
        """Return what the task is."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """Searches a chain, and the folders under `root`, for tasks that the journal lacks."""

    chain: ContributionChain
    root: Path
    wallet: str
    block_time_s: float
    profile: Callable[[], Profile]
    """The scheduler's now, for tasks whose folder does not tell what they were granted under."""

    async def search(self, known: Collection[str]) -> AsyncIterator[Replicate]:
        """Yield the record of every contribution that still matters and is not `known`.

        Raises `ChainError` at the end where one could not be read.
        """
        await self._settle()
        failure: ChainError | None = None
        for event in await self.chain.contributions():
            if event.task_id in known:
                continue
            try:
                record = await self._record(event)
            except ChainError as error:
                log.debug("chain not read", extra={"task": event.task_id, "error": str(error)})
                failure = error
                continue
            if record is not None:
                yield record
        if failure is not None:
            raise failure

    async def _settle(self) -> None:
        """Wait for what the node holds of ours: it may be a contribution or a reveal."""
        for _ in range(SETTLE_BLOCKS):
            nonces = await self.chain.nonces()
            if nonces.pending <= nonces.latest:
                return
            log.info("transactions of this wallet are waited for", extra={"nonce": nonces.latest})
            await asyncio.sleep(self.block_time_s)
        log.warning("transactions of this wallet are stuck; going on without them")

    async def _record(self, event: ContributionEvent) -> Replicate | None:
        sighting = await self.chain.look(event.task_id)
        if sighting is None or not rebuild.is_ours(sighting):
            return None
        folder = self.root / event.task_id
        over = rebuild.is_over(sighting)
        if over and not folder.is_dir():
            return None  # ended, and nothing to be cleaned up
        order = await asyncio.to_thread(handoff.read_order, folder)
        profile = self.profile() if order is None else order.profile
        authorization = await self._authorization(event, sighting, profile)
        description = None if order is None else order.description
        if description is None and not over:
            description = await self.chain.describe(Replicate(authorization, profile))
        kept = task_folders.Kept()
        if description is not None and not over:
            kept = await asyncio.to_thread(
                task_folders.kept, folder, description, event.result_hash
            )
        revealed = None
        if sighting.contribution.status is ContributionStatus.PROVED:
            revealed = await self.chain.revealed(event.task_id, event.block_number)
        return rebuild.contributed(
            rebuild.Traces(
                authorization,
                profile,
                sighting,
                contributed=ChainReceipt(event.block_number, event.tx_hash),
                revealed=revealed,
                kept=kept,
                repeatable=description is not None and description.tee_framework is None,
            )
        )

    async def _authorization(
        self, event: ContributionEvent, sighting: Sighting, profile: Profile
    ) -> WorkerpoolAuthorization:
        found = await self.chain.contributed(event.tx_hash)
        if found is None or found.task_id != event.task_id:
            log.error(
                "authorisation not found: the result cannot be uploaded",
                extra={"task": event.task_id, "transaction": event.tx_hash},
            )
            return rebuild.no_authorization(self.wallet, event.task_id)
        return rebuild.authorization(self.wallet, sighting.task, profile, found)
