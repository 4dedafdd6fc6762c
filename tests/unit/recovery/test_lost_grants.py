"""Lost grants are begun or given up, by what the chain says; none stays without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from iexworker.core.messages import AbortCause, Notification, NotificationType, ReplicateStatus
from iexworker.errors import SchedulerError
from iexworker.poco.models import (
    ZERO_ADDRESS,
    Contributed,
    ContributionStatus,
    Profile,
    Sighting,
    TaskStatus,
)
from iexworker.recovery import lost_grants, rebuild
from iexworker.recovery.lost_grants import LostGrants, quiet
from iexworker.task.replicate import Replicate, Step, Update, Work
from tests.unit.helpers.recovery_data import (
    CONTRIBUTION_DEADLINE_S,
    SIGNATURE,
    WALLET,
    new_chain,
    open_gateway,
    put,
    sighting,
    task,
)

S, N = ReplicateStatus, NotificationType
TASK = task().task_id


def note(
    number: int = 0,
    kind: NotificationType = N.PLEASE_CONTRIBUTE,
    cause: AbortCause = AbortCause.UNKNOWN,
    *,
    authorized: bool = True,
) -> Notification:
    found = task(number=number)
    signed = Contributed(found.task_id, ZERO_ADDRESS, SIGNATURE)
    authorization = rebuild.authorization(WALLET, found, Profile.V9, signed)
    given = authorization if authorized else None
    return Notification(found.task_id, (WALLET,), kind, 0, cause, given)


@dataclass
class ScriptedScheduler:
    """What a scheduler says; every `interrupted` is counted."""

    listed: list[str] = field(default_factory=list)
    notes: list[Notification] = field(default_factory=list)
    histories: dict[str, list[ReplicateStatus]] = field(default_factory=dict)
    asked: int = 0
    down: bool = False

    async def computing(self) -> list[str]:
        return list(self.listed)

    async def interrupted(self, block: int) -> list[Notification]:
        if self.down:
            raise SchedulerError("no answer")
        assert block > 0
        self.asked += 1
        return list(self.notes)

    async def history(self, task_id: str) -> list[ReplicateStatus]:
        return self.histories.get(task_id, [])


class World:
    """A worker whose journal is `known`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.chain = new_chain()
        self.gateway = open_gateway(self.chain)
        self.scheduler = ScriptedScheduler()
        self.known: dict[str, Replicate] = {}
        self.foreign: list[str] = []
        self.observed: list[str] = []
        self.searched = 0
        self.asking = asyncio.Lock()
        self.grants = LostGrants(
            chain=self.gateway,
            scheduler=self.scheduler,
            root=root,
            wallet=WALLET,
            profile=lambda: Profile.V9,
            known=self.known,
            foreign=lambda: self.foreign,
            asking=self.asking,
            adopt=self._adopt,
            observe=self.observed.append,
            search_chain=self._search,
        )

    def _adopt(self, record: Replicate) -> None:
        self.known[record.task_id] = record

    async def _search(self) -> None:
        self.searched += 1

    def put(self, seen: Sighting, *, listed: bool = True, folder: bool = False) -> str:
        task_id = put(self.chain, seen)
        if listed:
            self.scheduler.listed.append(task_id)
        if folder:
            (self.root / task_id).mkdir()
        return task_id

    def look(self) -> None:
        asyncio.run(self.grants.look())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.gateway.close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_grants, "QUIET_POLL_S", 0.001)


def test_what_the_journal_knows_needs_no_question(world: World) -> None:
    task_id = world.put(sighting(), folder=True)
    world.known[task_id] = Replicate(rebuild.no_authorization(WALLET, task_id), Profile.V9)
    world.look()
    assert world.scheduler.asked == 0
    assert world.chain.looked_at == []


def test_a_lost_grant_is_begun_with_the_authorisation_that_is_told_again(world: World) -> None:
    task_id = world.put(sighting())
    world.scheduler.notes = [note()]
    world.look()
    record = world.known[task_id]
    assert (record.step, record.work, record.pending) == (Step.START, Work.DOING, ())
    assert record.authorization.signature == SIGNATURE
    assert record.acknowledged == (S.STARTING,)


def test_a_folder_without_a_contribution_is_asked_for_too(world: World) -> None:
    task_id = world.put(sighting(), listed=False, folder=True)
    world.scheduler.histories = {task_id: [S.CREATED, S.COMPUTING, S.COMPUTED]}
    world.scheduler.notes = [note()]
    world.look()
    assert world.known[task_id].step is Step.START


def test_a_folder_of_which_the_scheduler_knows_nothing_is_kept_and_not_asked_for(
    world: World,
) -> None:
    world.put(sighting(), listed=False, folder=True)
    world.look()
    assert (world.known, world.scheduler.asked) == ({}, 0)
    assert (world.root / TASK).is_dir()


@pytest.mark.parametrize("last", [S.ABORTED, S.FAILED, S.COMPLETED])
def test_a_slot_that_is_kept_for_what_has_its_answer_is_no_lost_grant(
    world: World, last: ReplicateStatus
) -> None:
    task_id = world.put(sighting())
    world.scheduler.histories = {task_id: [S.CREATED, S.COMPUTING, last]}
    world.look()
    assert (world.known, world.scheduler.asked) == ({}, 0)


@pytest.mark.parametrize(
    "seen",
    [
        sighting(TaskStatus.COMPLETED),
        sighting(TaskStatus.REVEALING),
        sighting(status=ContributionStatus.CONTRIBUTED),
        sighting(head_s=CONTRIBUTION_DEADLINE_S),
        None,
    ],
)
def test_a_folder_of_a_task_that_is_not_under_way_is_kept_and_not_asked_for(
    world: World, seen: Sighting | None
) -> None:
    if seen is None:
        (world.root / TASK).mkdir()
    else:
        world.put(seen, listed=False, folder=True)
    world.look()
    assert world.scheduler.asked == 0
    assert world.known == {}
    assert (world.root / TASK).is_dir()


def test_the_folder_of_a_task_of_another_chain_is_not_looked_at(world: World) -> None:
    (world.root / TASK).mkdir()
    world.foreign = [TASK]
    world.look()
    assert world.chain.looked_at == []


def test_a_folder_that_nobody_claims_is_asked_for_once(world: World) -> None:
    task_id = world.put(sighting(), listed=False, folder=True)
    world.scheduler.histories = {task_id: [S.CREATED]}
    for _ in range(3):
        world.look()
    assert world.scheduler.asked == 1
    assert world.known == {}
    assert (world.root / TASK).is_dir()


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (sighting(TaskStatus.REVEALING), "TASK_NOT_ACTIVE"),
        (sighting(head_s=CONTRIBUTION_DEADLINE_S), "CONTRIBUTION_TIMEOUT"),
    ],
)
def test_a_lost_grant_that_is_too_late_frees_its_slot(
    world: World, seen: Sighting, cause: str
) -> None:
    task_id = world.put(seen)
    world.scheduler.notes = [note(kind=N.PLEASE_ABORT, cause=AbortCause.CONSENSUS_REACHED)]
    world.scheduler.histories = {task_id: [S.CREATED, S.STARTING, S.RECOVERING]}
    world.look()
    record = world.known[task_id]
    assert record.pending == (Update(S.COMPUTE_FAILED, cause=cause),)
    assert record.abort_cause is AbortCause.CONSENSUS_REACHED


def test_a_grant_whose_authorisation_is_not_to_be_had_is_given_up(world: World) -> None:
    listed_only = world.put(sighting())
    without = world.put(sighting(number=1))
    world.scheduler.notes = [note(1, authorized=False)]
    world.look()
    for task_id in (listed_only, without):
        starting, failed = world.known[task_id].pending
        assert (starting.status, failed.status) == (S.STARTING, S.START_FAILED)
        assert failed.cause == "WORKERPOOL_AUTHORIZATION_NOT_FOUND"


def test_a_grant_that_our_node_does_not_show_yet_is_begun_and_checked_then(world: World) -> None:
    world.scheduler.listed = [TASK]
    world.scheduler.notes = [note()]
    world.look()
    assert world.known[TASK].step is Step.START


def test_a_contribution_that_is_listed_is_looked_for_on_the_chain(world: World) -> None:
    world.put(sighting(), listed=True)
    put(world.chain, sighting(status=ContributionStatus.CONTRIBUTED, number=1))
    world.scheduler.notes = [note(), note(1, N.PLEASE_WAIT)]
    world.look()
    assert world.searched == 1
    assert list(world.known) == [TASK]


def test_what_is_listed_and_known_is_looked_up_on_the_chain_not_obeyed(world: World) -> None:
    world.put(sighting())
    known = world.put(sighting(number=1))
    record = Replicate(rebuild.no_authorization(WALLET, known), Profile.V9)
    world.known[known] = record
    world.scheduler.notes = [note(), note(1, N.PLEASE_ABORT)]
    world.look()
    assert world.observed == [known]
    assert world.known[known] == record


def test_what_was_answered_once_is_not_begun_again(world: World) -> None:
    task_id = world.put(sighting())
    world.scheduler.notes = [note()]
    world.look()
    del world.known[task_id]  # it has its answer; an abort leaves it on the scheduler's list
    world.look()
    assert (world.known, world.scheduler.asked) == ({}, 1)


def test_a_scheduler_that_gives_no_answer_is_asked_again_later(world: World) -> None:
    task_id = world.put(sighting())
    world.scheduler.notes = [note()]
    world.scheduler.down = True
    with pytest.raises(SchedulerError):
        world.look()
    assert world.known == {}
    world.scheduler.down = False
    world.look()
    assert task_id in world.known


def test_a_grant_that_is_on_its_way_is_no_lost_one(world: World) -> None:
    task_id = world.put(sighting())

    async def look_while_asking() -> None:
        async with world.asking:
            looking = asyncio.create_task(world.grants.look())
            await asyncio.sleep(0.02)
            authorization = rebuild.no_authorization(WALLET, task_id)
            world.known[task_id] = Replicate(authorization, Profile.V9)
        await looking

    asyncio.run(look_while_asking())
    assert world.scheduler.asked == 0


# Traps 1 and 2: `interrupted` while a reveal of ours is unreported leaves its task stuck (H25).


def staked(step: Step, work: Work, *pending: ReplicateStatus) -> Replicate:
    record = Replicate(rebuild.no_authorization(WALLET, task(number=9).task_id), Profile.V9)
    updates = tuple(Update(status) for status in pending)
    return replace(record, step=step, work=work, staked=True, pending=updates)


@pytest.mark.parametrize(
    ("record", "is_quiet"),
    [
        (staked(Step.COMPUTE, Work.DOING), True),
        (staked(Step.START, Work.DOING, S.STARTING), False),
        (staked(Step.CONTRIBUTE, Work.DONE, S.CONTRIBUTED), False),
        (staked(Step.CONTRIBUTE, Work.DONE), True),
        (staked(Step.REVEAL, Work.DOING), False),
        (staked(Step.REVEAL, Work.DOING, S.REVEALING), False),
        (staked(Step.REVEAL, Work.DONE), False),
        (staked(Step.UPLOAD, Work.DOING), False),
        (staked(Step.UPLOAD, Work.DONE, S.RESULT_UPLOADED), False),
        (staked(Step.UPLOAD, Work.DONE), True),
        (staked(Step.UPLOAD, Work.FAILED), True),
        (staked(Step.COMPLETE, Work.DOING), True),
    ],
)
def test_it_is_quiet_outside_of_reveal_and_upload_with_everything_acknowledged(
    record: Replicate, is_quiet: bool
) -> None:
    assert quiet([record]) is is_quiet


def test_interrupted_waits_until_the_reveal_is_reported_and_the_result_uploaded(
    world: World,
) -> None:
    world.put(sighting())
    world.scheduler.notes = [note()]
    record = staked(Step.REVEAL, Work.DONE)
    world.known[record.task_id] = record

    async def look_and_upload() -> None:
        looking = asyncio.create_task(world.grants.look())
        await asyncio.sleep(0.02)
        assert world.scheduler.asked == 0
        world.known[record.task_id] = staked(Step.UPLOAD, Work.DONE)
        await looking

    asyncio.run(look_and_upload())
    assert world.scheduler.asked == 1
    assert TASK in world.known


def test_a_reveal_that_never_ends_costs_the_lost_grant_and_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    seen = sighting()
    world.put(replace(seen, task=replace(seen.task, time_reference_s=0)))
    record = staked(Step.REVEAL, Work.DONE)
    world.known[record.task_id] = record
    world.look()
    assert world.scheduler.asked == 0
    assert [update.status for update in world.known[TASK].pending] == [S.STARTING, S.START_FAILED]
    assert "interrupted work not asked for" in caplog.text
