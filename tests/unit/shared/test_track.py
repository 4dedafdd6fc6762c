"""A track keeps its newest records whole, whatever is written meanwhile and whoever is killed."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest

from iexworker.shared.track import Track, allocate

CAPACITY = 4
PAYLOAD = 8
HEAD = 16


class Memory:
    """The memory of one track, open to a test that plays a killed or a hasty writer."""

    def __init__(self) -> None:
        self.memory = allocate(64 + Track.bytes_needed(CAPACITY, PAYLOAD))
        self.counters = memoryview(self.memory)[:8].cast("Q")
        self.track = Track(
            self.memory, self.counters, 0, offset=64, capacity=CAPACITY, payload_bytes=PAYLOAD
        )

    def write_unpublished(self, payload: bytes) -> None:
        """Do what a writer does before it is killed at the last moment."""
        sequence = self.track.published
        at = 64 + sequence % CAPACITY * (HEAD + PAYLOAD)
        struct.pack_into(
            f"<QQ{PAYLOAD}s", self.memory, at, crc32(payload, sequence), sequence, payload
        )

    def spoil(self, sequence: int) -> None:
        """Overwrite half a record, as a writer in the middle of the next one has."""
        at = 64 + sequence % CAPACITY * (HEAD + PAYLOAD)
        self.memory[at + HEAD : at + HEAD + 4] = b"\xff" * 4


def payload(number: int) -> bytes:
    return number.to_bytes(PAYLOAD, "big")


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_an_empty_track_has_nothing_to_read(memory: Memory) -> None:
    assert memory.track.published == 0
    assert memory.track.read(0, CAPACITY) == (0, [])
    assert memory.track.last() is None


def test_records_come_back_in_their_order(memory: Memory) -> None:
    for number in range(3):
        memory.track.append(payload(number))
    assert memory.track.read(0, CAPACITY) == (3, [payload(0), payload(1), payload(2)])
    assert memory.track.last() == payload(2)


def test_a_full_circle_keeps_the_newest(memory: Memory) -> None:
    for number in range(11):
        memory.track.append(payload(number))
    assert memory.track.read(0, CAPACITY) == (11, [payload(number) for number in range(7, 11)])


def test_a_reader_goes_on_where_it_stood(memory: Memory) -> None:
    for number in range(6):
        memory.track.append(payload(number))
    assert memory.track.read(4, CAPACITY) == (6, [payload(4), payload(5)])
    assert memory.track.read(6, CAPACITY) == (6, [])


def test_only_the_newest_are_read_when_few_are_wanted(memory: Memory) -> None:
    for number in range(6):
        memory.track.append(payload(number))
    assert memory.track.read(0, 2) == (6, [payload(4), payload(5)])


def test_a_record_overwritten_during_the_copy_and_those_before_it_are_left_out(
    memory: Memory,
) -> None:
    for number in range(4):
        memory.track.append(payload(number))
    memory.spoil(1)
    assert memory.track.read(0, CAPACITY) == (4, [payload(2), payload(3)])


def test_an_old_payload_under_a_new_sequence_does_not_pass(memory: Memory) -> None:
    memory.track.append(payload(7))
    struct.pack_into("<Q", memory.memory, 64 + 8, 4)
    memory.counters[0] = 5
    assert memory.track.read(4, CAPACITY) == (5, [])


def test_an_unpublished_record_is_not_read(memory: Memory) -> None:
    memory.track.append(payload(1))
    memory.write_unpublished(payload(2))
    assert memory.track.read(0, CAPACITY) == (1, [payload(1)])


def test_a_writer_born_again_publishes_what_its_predecessor_finished(memory: Memory) -> None:
    memory.track.append(payload(1))
    memory.write_unpublished(payload(2))
    memory.track.adopt()
    assert memory.track.read(0, CAPACITY) == (2, [payload(1), payload(2)])


def test_a_writer_born_again_does_not_publish_a_scrap(memory: Memory) -> None:
    memory.track.append(payload(1))
    memory.write_unpublished(payload(2))
    memory.spoil(1)
    memory.track.adopt()
    assert memory.track.published == 1


def test_untouched_memory_is_no_record(memory: Memory) -> None:
    memory.track.adopt()
    assert memory.track.published == 0


def test_a_record_of_the_round_before_is_not_adopted(memory: Memory) -> None:
    for number in range(CAPACITY):
        memory.track.append(payload(number))
    memory.track.adopt()
    assert memory.track.published == CAPACITY
