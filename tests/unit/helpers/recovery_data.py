"""Tasks, contributions and a chain that remembers them, for the tests of what was lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from iexworker.errors import ChainError
from iexworker.poco.hashing import result_hash, task_id
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ZERO_BYTES32,
    ChainReceipt,
    ChainTask,
    Contributed,
    Contribution,
    ContributionEvent,
    ContributionStatus,
    Head,
    Nonces,
    Sighting,
    TaskDescription,
    TaskStatus,
)
from iexworker.task.replicate import Replicate
from tests.helpers.task_descriptions import description

WALLET = "0x" + "11" * 20
DEAL = "0x" + "cd" * 32
TASK = task_id(DEAL, 0)
DIGEST = "0x" + "dd" * 32
OTHER_DIGEST = "0x" + "ee" * 32
SIGNATURE = "0x" + "5a" * 65
TX, REVEAL_TX = "0x" + "cc" * 32, "0x" + "cb" * 32
MINED, REVEALED = ChainReceipt(7, TX), ChainReceipt(9, REVEAL_TX)
NOW_S, CONTRIBUTION_DEADLINE_S, FINAL_DEADLINE_S = 1_000, 2_000, 3_000
TIME_REFERENCE_S = 300


def task(
    status: TaskStatus = TaskStatus.ACTIVE, number: int = 0, digest: str | None = None
) -> ChainTask:
    identifier = task_id(DEAL, number)
    return ChainTask(
        task_id=identifier,
        status=status,
        deal_id=DEAL,
        index=number,
        time_reference_s=TIME_REFERENCE_S,
        contribution_deadline_s=CONTRIBUTION_DEADLINE_S,
        reveal_deadline_s=FINAL_DEADLINE_S if digest else 0,
        final_deadline_s=FINAL_DEADLINE_S,
        consensus=result_hash(identifier, digest) if digest else ZERO_BYTES32,
        reveal_counter=0,
        winner_counter=1 if digest else 0,
        contributors=(),
        results="0x",
    )


def contribution(
    status: ContributionStatus = ContributionStatus.UNSET, number: int = 0, digest: str = DIGEST
) -> Contribution:
    if status is ContributionStatus.UNSET:
        return Contribution(status, ZERO_BYTES32, ZERO_BYTES32, ZERO_ADDRESS)
    hashed = result_hash(task_id(DEAL, number), digest)
    return Contribution(status, hashed, ZERO_BYTES32, ZERO_ADDRESS)


def sighting(
    task_status: TaskStatus = TaskStatus.ACTIVE,
    status: ContributionStatus = ContributionStatus.UNSET,
    head_s: int = NOW_S,
    number: int = 0,
) -> Sighting:
    agreed = DIGEST if task_status is not TaskStatus.ACTIVE else None
    return Sighting(task(task_status, number, agreed), contribution(status, number), head_s)


def describe(number: int = 0, **changes: object) -> TaskDescription:
    changes = {
        "contribution_deadline_s": CONTRIBUTION_DEADLINE_S,
        "final_deadline_s": FINAL_DEADLINE_S,
        **changes,
    }
    return description(task_id=task_id(DEAL, number), deal_id=DEAL, index=number, **changes)


@dataclass
class ScriptedChain:
    """What a chain says to whoever searches it; `failing` tasks cannot be read."""

    sightings: dict[str, Sighting] = field(default_factory=dict)
    descriptions: dict[str, TaskDescription] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)
    """How many transactions the node holds, look by look; none at last."""
    unknown_transactions: bool = False
    failing: set[str] = field(default_factory=set)
    asked: list[Any] = field(default_factory=list)

    def put(self, seen: Sighting, **changes: object) -> str:
        """Show a task; `changes` are fields of its description."""
        number = seen.task.index
        self.sightings[seen.task.task_id] = seen
        self.descriptions[seen.task.task_id] = describe(number, **changes)
        return seen.task.task_id

    async def head(self) -> Head:
        return Head(42, NOW_S)

    async def nonces(self) -> Nonces:
        return Nonces(3, 3 + (self.pending.pop(0) if self.pending else 0))

    async def contributions(self) -> list[ContributionEvent]:
        return [
            ContributionEvent(task_id, seen.contribution.result_hash, 7, TX)
            for task_id, seen in self.sightings.items()
            if seen.contribution.status is not ContributionStatus.UNSET
        ]

    async def contributed(self, tx_hash: str) -> Contributed | None:
        if self.unknown_transactions:
            return None
        (found,) = [event.task_id for event in await self.contributions()][:1]
        return Contributed(found, ZERO_ADDRESS, SIGNATURE)

    async def revealed(self, task_id: str, since_block: int) -> ChainReceipt | None:
        proved = self.sightings[task_id].contribution.status is ContributionStatus.PROVED
        return REVEALED if proved else None

    async def look(self, task_id: str) -> Sighting | None:
        self.asked.append(task_id)
        if task_id in self.failing:
            raise ChainError("no answer")
        return self.sightings.get(task_id)

    async def describe(self, replicate: Replicate) -> TaskDescription | None:
        return self.descriptions[replicate.task_id]
