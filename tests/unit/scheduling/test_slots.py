from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

import pytest

from iexworker.scheduling.slots import Slots
from iexworker.shared.channels import Cancel, Channel, Hello, Message, Order, Outcome

Build = Callable[[int], "Floor"]


class Floor:
    """Slots over real channels, and what came back."""

    def __init__(self, count: int) -> None:
        self.channels = [Channel(f"orders-{index}") for index in range(count)]
        self.outcomes: list[Outcome] = []
        self.slots = Slots(self.channels, self.outcomes.append)

    def got(self, index: int) -> list[Message]:
        messages = []
        while not self.channels[index].empty():
            messages.append(self.channels[index].get_nowait())
        return messages


@pytest.fixture
def build() -> Iterator[Build]:
    floors: list[Floor] = []

    def make(count: int) -> Floor:
        floors.append(Floor(count))
        return floors[-1]

    yield make
    for floor in floors:
        for channel in floor.channels:
            channel.close()


def test_a_task_keeps_its_slot(build: Build) -> None:
    floor = build(2)
    floor.slots.order("a", "app", 2)
    floor.slots.order("b", "app", 2)
    floor.slots.order("a", "data", 3)
    assert floor.got(0) == [Order("a", "app", 2), Order("a", "data", 3)]
    assert floor.got(1) == [Order("b", "app", 2)]


def test_an_order_without_a_free_slot_waits_for_a_release(build: Build) -> None:
    floor = build(1)
    floor.slots.order("a", "app", 2)
    floor.slots.order("b", "app", 2)
    assert floor.got(0) == [Order("a", "app", 2)]
    floor.slots.release("a")
    assert floor.got(0) == [Order("b", "app", 2)]


def test_a_slot_born_again_is_told_what_still_stands(build: Build) -> None:
    floor = build(1)
    floor.slots.order("a", "compute", 4)
    floor.got(0)
    floor.slots.heard(0, Hello("compute-0", 1))
    assert floor.got(0) == [Order("a", "compute", 4)]


def test_an_answered_order_is_not_told_again(build: Build) -> None:
    floor = build(1)
    floor.slots.order("a", "compute", 4)
    floor.got(0)
    floor.slots.heard(0, Outcome("a", "compute", 4, True))
    floor.slots.heard(0, Hello("compute-0", 1))
    assert floor.got(0) == []
    assert floor.outcomes == [Outcome("a", "compute", 4, True)]


def test_a_cancelled_task_leaves_its_slot_to_whoever_waits(build: Build) -> None:
    floor = build(1)
    floor.slots.order("a", "app", 2)
    floor.slots.order("b", "app", 2)
    floor.slots.cancel("a")
    assert floor.got(0) == [Order("a", "app", 2), Cancel("a"), Order("b", "app", 2)]


def test_a_cancelled_task_that_waits_is_forgotten(build: Build) -> None:
    floor = build(1)
    floor.slots.order("a", "app", 2)
    floor.slots.order("b", "app", 2)
    floor.slots.cancel("b")
    floor.slots.release("a")
    assert floor.got(0) == [Order("a", "app", 2)]


def test_a_full_channel_loses_no_order(build: Build) -> None:
    floor = build(1)
    with pytest.raises(queue.Full):
        while True:
            floor.channels[0].put_nowait(Cancel("x" * 4000))
    floor.slots.order("a", "app", 2)
    floor.slots.retry()
    floor.got(0)
    floor.slots.retry()
    assert floor.got(0) == [Order("a", "app", 2)]


def test_a_cancel_that_finds_a_full_channel_still_releases(build: Build) -> None:
    floor = build(1)
    floor.slots.order("a", "app", 2)
    with pytest.raises(queue.Full):
        while True:
            floor.channels[0].put_nowait(Cancel("x" * 4000))
    floor.slots.cancel("a")
    floor.got(0)
    floor.slots.order("b", "app", 2)
    assert floor.got(0) == [Order("b", "app", 2)]
