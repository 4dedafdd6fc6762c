"""H18: an abort before the container exists cannot stop it, and one that could not be stopped, or
that a crash left, is forgotten.

Ours raises a flag that a run sees whenever it comes, and finds containers by their labels.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iexworker.compute import names
from iexworker.compute.cancellation import Cancellation, Cancelled
from iexworker.compute.container import ContainerRunner
from iexworker.compute.die_events import DieEvents
from iexworker.compute.engine import ContainerSpec, Engine
from iexworker.compute.streams import Capture
from iexworker.scheduling.containers import EngineContainers, Sweeper
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way, patience_s
from tests.helpers.docker_harness import (
    ADDRESS,
    DockerHarness,
    image_of_this_run,
    make_settings,
    new_task,
    new_wallet,
    remove_containers,
)
from tests.helpers.lifecycle_driver import granted

pytestmark = pytest.mark.docker

FOR_EVER = "sleep 60"
WATCHED_S = 1.0


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    engine = Engine(ADDRESS)
    with image_of_this_run(engine) as reference:
        yield reference
    engine.close()


class Yard:
    """One wallet's containers."""

    def __init__(self, image: str, folder: Path) -> None:
        self.engine = Engine(ADDRESS)
        self.folder = folder
        self.harness = DockerHarness(make_settings(folder), new_wallet(), image)

    def running(self) -> list[str]:
        found = self.engine.find({names.LABEL_WALLET: self.harness.wallet})
        return [one.name for one in found if one.running]

    def run(self, engine: Engine, spec: ContainerSpec, cancellation: Cancellation) -> None:
        """Run a container as a slot does."""
        deaths = DieEvents(ADDRESS, self.harness.wallet)
        try:
            with Capture(self.folder / "out", self.folder / "err") as capture:
                ContainerRunner(engine, deaths).run(spec, patience_s(), capture, cancellation)
        except Cancelled:
            pass
        finally:
            deaths.close()

    def close(self) -> None:
        remove_containers(self.engine, self.harness.wallet)
        self.engine.close()


def played(image: str, act: Callable[[Yard], None]) -> None:
    """Play a scenario in a yard of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yard = Yard(image, Path(folder))
        try:
            act(yard)
        finally:
            yard.close()


class SlowEngine(Engine):
    """One that takes a while to create a container: an abort comes in between."""

    def __init__(self) -> None:
        super().__init__(ADDRESS)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def create(self, spec: ContainerSpec) -> str:
        self.asked.set()
        self.go_on.wait(patience_s())
        return super().create(spec)


def aborted_before_it_exists(yard: Yard) -> None:
    engine, cancellation = SlowEngine(), Cancellation()
    task = new_task()
    spec = yard.harness.spec(FOR_EVER, task)
    slot = threading.Thread(target=yard.run, args=(engine, spec, cancellation))
    slot.start()
    assert engine.asked.wait(patience_s())
    EngineContainers(ADDRESS, yard.harness.wallet).kill_task(task)
    cancellation.cancel()
    engine.go_on.set()
    until_s = time.monotonic() + WATCHED_S
    while slot.is_alive() and time.monotonic() < until_s:
        time.sleep(0.05)
    left = yard.running()
    remove_containers(yard.engine, yard.harness.wallet)
    slot.join()
    cancellation.close()
    engine.close()
    assert left == []


def kill_what_is_recorded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cancellation, "cancel", lambda _: None)  # only the engine was asked, too early


def test_an_abort_reaches_a_container_that_is_being_created(image: str) -> None:
    fails_only_upstreams_way(lambda: played(image, aborted_before_it_exists), kill_what_is_recorded)


def left_by_a_crash(yard: Yard) -> None:
    kept, lost = new_task(), new_task()
    for task in (kept, lost):
        container = yard.engine.create(yard.harness.spec(FOR_EVER, task))
        yard.engine.start(container)
    containers = EngineContainers(ADDRESS, yard.harness.wallet)
    asyncio.run(Sweeper(containers, lambda: [granted(task_id=kept)]).sweep())
    assert yard.running() == [f"{yard.harness.settings.name}-{kept}"]


def only_what_memory_knows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EngineContainers, "owned", lambda _: {})


def test_a_start_removes_what_no_task_computes_any_more(image: str) -> None:
    fails_only_upstreams_way(lambda: played(image, left_by_a_crash), only_what_memory_knows)
