"""Queries to the scheduler about our tasks; each runs in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from iexworker.core.client import SchedulerClient
from iexworker.core.login import Tokens
from iexworker.core.messages import Notification, ReplicateStatus
from iexworker.errors import SchedulerError
from iexworker.task.events import SchedulerSaw

_CONSENSUS = frozenset(
    {
        "CONSENSUS_REACHED",
        "AT_LEAST_ONE_REVEALED",
        "RESULT_UPLOADING",
        "RESULT_UPLOADED",
        "FINALIZING",
        "FINALIZED",
        "COMPLETED",
    }
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SchedulerQueries:
    """Queries for one wallet; every call may raise `SchedulerError` or `LoginRefused`."""

    client: SchedulerClient
    tokens: Tokens
    wallet: str

    async def computing(self) -> list[str]:
        """Return the tasks for which the scheduler keeps a slot of ours; it changes nothing."""
        return await self._ask(self.client.computing)

    async def interrupted(self, block: int) -> list[Notification]:
        """Return what was interrupted; the scheduler records RECOVERING for each of them."""
        return await self._ask(lambda: self.client.interrupted(block))

    async def saw(self, task_id: str) -> SchedulerSaw:
        """Return whether the scheduler has the consensus, and asked us to upload."""
        document = await asyncio.to_thread(self.client.task, task_id)
        uploader = str(document.get("uploadingWorkerWalletAddress") or "").lower()
        return SchedulerSaw(
            consensus=document.get("currentStatus") in _CONSENSUS,
            asked_to_upload=uploader == self.wallet,
        )

    async def history(self, task_id: str) -> list[ReplicateStatus]:
        """Return what the scheduler has recorded of our replicate, oldest first."""
        try:
            document = await asyncio.to_thread(self.client.task, task_id)
        except SchedulerError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return []  # a task of another pool
            raise
        return history_of(document, self.wallet)

    async def _ask(self, call: Callable[[], T]) -> T:
        return await asyncio.to_thread(self.tokens.with_token, call)


def history_of(document: Mapping[str, Any], wallet: str) -> list[ReplicateStatus]:
    """Read a wallet's statuses in `GET /tasks/<id>`; what has another shape is left out."""
    for replicate in _objects(document.get("replicates")):
        if str(replicate.get("walletAddress")).lower() == wallet:
            texts = [item.get("status") for item in _objects(replicate.get("statusUpdateList"))]
            return [ReplicateStatus(text) for text in texts if text in ReplicateStatus.__members__]
    return []


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
