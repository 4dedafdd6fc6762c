from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace

import pytest

from iexworker import retry
from iexworker.errors import DockerError
from iexworker.scheduling.containers import Sweeper, computing
from iexworker.task.replicate import Redo, Replicate, Step, Work
from tests.helpers.lifecycle_driver import granted

OURS, ENDED = "0x" + "01" * 32, "0x" + "02" * 32


class Engine:
    """Containers by their id; each call counts."""

    def __init__(self, **owned: str) -> None:
        self.left = owned
        self.trouble = ""
        self.calls = 0
        self.looked: Callable[[], None] = lambda: None

    def _ask(self) -> None:
        self.calls += 1
        if self.trouble:
            raise DockerError(self.trouble)

    def owned(self) -> dict[str, str]:
        self._ask()
        found = dict(self.left)
        self.looked()
        return found

    def remove(self, container: str) -> None:
        self._ask()
        self.left.pop(container, None)

    def kill_task(self, task_id: str) -> None:
        self._ask()
        self.left = {one: task for one, task in self.left.items() if task != task_id}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "pauses", lambda: iter([0.001] * 10_000))


def play(made: Sweeper, scene: Callable[[], Coroutine[None, None, None]]) -> None:
    """Let the sweeper serve during the scene."""

    async def all_of_it() -> None:
        serving = asyncio.create_task(made.run())
        await asyncio.wait_for(scene(), 10)
        assert not serving.done()
        serving.cancel()

    asyncio.run(all_of_it())


async def until(look: Callable[[], bool]) -> None:
    while not look():
        await asyncio.sleep(0.001)


def at(step: Step, work: Work = Work.DOING) -> Replicate:
    return replace(granted(task_id=OURS), step=step, work=work)


@pytest.mark.parametrize(
    ("replicate", "needed"),
    [
        (at(Step.APP), True),
        (at(Step.COMPUTE), True),
        (at(Step.COMPUTE, Work.DONE), True),  # its slot removes it
        (at(Step.CONTRIBUTE), False),
        (replace(at(Step.CONTRIBUTE), redo=Redo(Step.COMPUTE, 2, "0x" + "0a" * 32)), True),
        (at(Step.ABORT), False),
    ],
)
def test_a_container_is_needed_while_a_slot_works_with_it(
    replicate: Replicate, needed: bool
) -> None:
    assert computing([replicate]) == ({OURS} if needed else set())


def test_a_sweep_removes_what_no_task_computes_in() -> None:
    engine = Engine(a=OURS, b=ENDED)
    asyncio.run(Sweeper(engine, lambda: [at(Step.COMPUTE)]).sweep())
    assert engine.left == {"a": OURS}


def test_a_task_that_begins_while_the_engine_lists_keeps_its_container() -> None:
    engine = Engine(a=OURS)
    known: list[Replicate] = []
    engine.looked = lambda: known.append(at(Step.COMPUTE))
    asyncio.run(Sweeper(engine, lambda: known).sweep())
    assert engine.left == {"a": OURS}


def test_what_the_engine_does_not_do_is_done_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = Engine(b=ENDED)
    engine.trouble = "connection refused"
    made = Sweeper(engine, list)

    async def scene() -> None:
        await made.sweep()
        await until(lambda: engine.calls > 5)
        engine.trouble = ""
        await until(lambda: not engine.left)

    with caplog.at_level(logging.WARNING):
        play(made, scene)
    said = [record.message for record in caplog.records]
    assert said == ["peer out of service", "container left behind removed"]


def test_a_container_that_could_not_be_killed_is_removed_later() -> None:
    engine = Engine(a=OURS, b=ENDED)
    made = Sweeper(engine, lambda: [at(Step.COMPUTE)])

    async def scene() -> None:
        await made.sweep()
        engine.left["c"] = ENDED
        engine.trouble = "connection refused"
        await made.kill_task(ENDED)
        engine.trouble = ""
        await until(lambda: engine.left == {"a": OURS})

    play(made, scene)


def test_nothing_is_swept_before_it_is_known_what_computes() -> None:
    engine = Engine(a=OURS)
    known: list[Replicate] = []
    made = Sweeper(engine, lambda: known)

    async def scene() -> None:
        engine.trouble = "connection refused"
        await made.kill_task(ENDED)
        engine.trouble = ""
        await asyncio.sleep(0.05)
        assert engine.calls == 1
        known.append(at(Step.COMPUTE))  # recovery has found it
        await made.sweep()
        await until(lambda: engine.calls > 2)
        assert engine.left == {"a": OURS}

    play(made, scene)
