"""The ring shows the last durations of each stage, as docs/spec/08 section 5 counts them."""

from __future__ import annotations

import math
import os
import random
import signal
import struct
import time
from collections.abc import Callable

import pytest

from iexworker.errors import SettingsError
from iexworker.shared.ring import UNLIMITED, Ring, Stage
from iexworker.shared.statistics import Statistics
from iexworker.shared.track import allocate


def task(number: int) -> str:
    return f"0x{number:064x}"


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a child of this process; its exit code is 0 when nothing was raised."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - the child must not run pytest's own exits
        print(f"child {os.getpid()}: {error!r}", flush=True)
        os._exit(1)
    os._exit(0)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_stage_without_samples_counts_nothing() -> None:
    durations = Ring.create(2, 10).reader().durations()
    for statistics in (durations.pre, durations.app, durations.post, durations.complete):
        assert statistics.count == 0
        assert math.isnan(statistics.minimum)
        assert math.isnan(statistics.maximum)
        assert math.isnan(statistics.average)


def test_the_oldest_recording_leaves_the_window() -> None:
    ring = Ring.create(1, 100)
    writer = ring.writer(0)
    for number in range(101):
        writer.record(Stage.APP, task(number), number)
    assert ring.reader().durations().app == Statistics(100, 1.0, 100.0, 50.5)


def test_a_stage_may_be_named_by_its_text() -> None:
    ring = Ring.create(1, 10)
    ring.writer(0).record(Stage("post"), task(1), 7)
    assert ring.reader().durations().post.count == 1


@pytest.mark.parametrize("at_once", [True, False])
def test_several_writers_share_one_window_in_the_order_of_recording(at_once: bool) -> None:
    ring = Ring.create(3, 10)
    writers = [ring.writer(index) for index in range(3)]
    reader = ring.reader()
    for number in range(30):
        writers[number % 3].record(Stage.APP, task(number), number)
        if not at_once:
            reader.durations()
    assert reader.durations().app == Statistics(10, 20.0, 29.0, 24.5)


def test_stages_do_not_push_each_other_out() -> None:
    ring = Ring.create(1, 5)
    writer = ring.writer(0)
    writer.record(Stage.PRE, task(0), 3)
    for number in range(200):
        writer.record(Stage.APP, task(number), number)
    assert ring.reader().durations().pre == Statistics(1, 3.0, 3.0, 3.0)


def test_complete_durations_need_app_and_post() -> None:
    ring = Ring.create(2, 10)
    first, second = ring.writer(0), ring.writer(1)
    first.record(Stage.PRE, task(1), 100)
    first.record(Stage.APP, task(1), 20)
    second.record(Stage.POST, task(1), 3)
    first.record(Stage.APP, task(2), 40)
    second.record(Stage.POST, task(2), 5)
    first.record(Stage.APP, task(3), 1000)
    second.record(Stage.POST, task(4), 1000)
    assert ring.reader().durations().complete == Statistics(2, 45.0, 123.0, 84.0)


def test_a_task_that_ran_twice_counts_twice_in_the_window_and_once_in_complete() -> None:
    ring = Ring.create(1, 10)
    writer = ring.writer(0)
    writer.record(Stage.APP, task(1), 10)
    writer.record(Stage.POST, task(1), 1)
    writer.record(Stage.APP, task(1), 30)
    durations = ring.reader().durations()
    assert durations.app == Statistics(2, 10.0, 30.0, 20.0)
    assert durations.complete == Statistics(1, 31.0, 31.0, 31.0)


def test_the_task_that_came_first_is_forgotten_first_even_when_recorded_again() -> None:
    ring = Ring.create(1, 2)
    writer = ring.writer(0)
    reader = ring.reader()
    for number in (1, 2, 1, 3):
        writer.record(Stage.APP, task(number), number)
        writer.record(Stage.POST, task(number), 0)
        reader.durations()
    assert reader.durations().complete == Statistics(2, 2.0, 3.0, 2.5)


def test_a_reader_keeps_what_it_has_read_and_reads_only_what_is_new() -> None:
    ring = Ring.create(1, 10)
    writer = ring.writer(0)
    reader = ring.reader()
    writer.record(Stage.APP, task(1), 1)
    first = reader.durations()
    assert reader.durations() is first
    writer.record(Stage.APP, task(2), 3)
    assert reader.durations().app == Statistics(2, 1.0, 3.0, 2.0)


def test_the_version_changes_with_each_recording() -> None:
    ring = Ring.create(2, 10)
    versions = {ring.version}
    for number in range(5):
        ring.writer(number % 2).record(Stage.PRE, task(number), 1)
        versions.add(ring.version)
    assert len(versions) == 6


def test_an_unlimited_window_keeps_all_and_no_complete_durations() -> None:
    ring = Ring.create(2, UNLIMITED)
    assert ring.reader().durations().app.count == 0
    first, second = ring.writer(0), ring.writer(1)
    for number in range(1, 1001):
        first.record(Stage.APP, task(number), number)
        second.record(Stage.APP, task(number), number + 1000)
    second.record(Stage.POST, task(1), 0)
    durations = ring.reader().durations()
    assert durations.app == Statistics(2000, 1.0, 2000.0, 1000.5)
    assert durations.post == Statistics(1, 0.0, 0.0, 0.0)
    assert durations.complete.count == 0


def test_an_unlimited_window_outlives_its_writer() -> None:
    ring = Ring.create(1, UNLIMITED)
    ring.writer(0).record(Stage.APP, task(1), 5)
    ring.writer(0).record(Stage.APP, task(2), 7)
    assert ring.reader().durations().app == Statistics(2, 5.0, 7.0, 6.0)


def test_children_and_parent_share_the_durations() -> None:
    ring = Ring.create(1, 10)
    assert exit_code(forked(lambda: ring.writer(0).record(Stage.APP, task(1), 42))) == 0
    assert ring.reader().durations().app == Statistics(1, 42.0, 42.0, 42.0)


def test_a_window_beyond_the_memory_is_a_problem_of_the_setting() -> None:
    with pytest.raises(SettingsError, match="IEXEC_WORKER_METRICS_WINDOW_SIZE=9223372036854775807"):
        Ring.create(4, 2**63 - 1)


WRITERS = 8
READERS = 4
RECORDS = 1_000_000
EACH = RECORDS // WRITERS
WINDOW = 1000
CAPACITY = WINDOW + 64
KILLS = 60


class Stress:
    """Many writers and readers on one ring; each record says whose it is and which."""

    def __init__(self) -> None:
        self.ring = Ring.create(WRITERS, WINDOW)
        self.tracks = self.ring.tracks(Stage.APP)
        shared = memoryview(allocate(8 * (WRITERS + 1))).cast("Q")
        self.committed = shared[:WRITERS]
        self.over = shared[WRITERS:]

    def write(self, index: int) -> None:
        """Write on from what is published, and note each record that `record` has returned for."""
        writer = self.ring.writer(index)
        committed = self.committed
        for number in range(self.tracks[index].published, EACH):
            task_id = f"0x{index:032x}{number:032x}"
            writer.record(Stage.APP, task_id, number * WRITERS + index)
            committed[index] = number + 1

    def read(self) -> None:
        """Follow every writer until all is over; raise at the first wrong record or hole."""
        position = [0] * WRITERS
        while True:
            last_round = self.over[0]
            for index in range(WRITERS):
                position[index] = self.follow(index, position[index])
            if last_round:
                return

    def follow(self, index: int, first: int) -> int:
        before = self.committed[index]
        published, payloads = self.tracks[index].read(first, WINDOW)
        assert published >= before, "a committed record is not published"
        missing = check(index, max(first, published - WINDOW), published, payloads)
        # Whatever is missing was overwritten by a later record of the same writer.
        assert not missing or self.tracks[index].published >= missing[-1] + CAPACITY
        return published if payloads else first

    def start_writer(self, index: int) -> int:
        """Return the pid of a new process for this writer."""
        return forked(lambda: self.write(index))

    def finish(self, readers: list[int], writers: list[int]) -> None:
        """Wait for all; then every writer's last window must be there, and no other record."""
        assert [exit_code(pid) for pid in writers] == [0] * WRITERS
        self.over[0] = 1
        assert [exit_code(pid) for pid in readers] == [0] * READERS
        for index, track in enumerate(self.tracks):
            published, payloads = track.read(0, WINDOW)
            assert published == self.committed[index] == EACH
            assert check(index, EACH - WINDOW, published, payloads) == []
        assert self.ring.version == RECORDS
        assert self.ring.reader().durations().app.count == WINDOW


def check(index: int, wanted: int, published: int, payloads: list[bytes]) -> list[int]:
    """Assert that the payloads are the records before `published`; return the missing numbers."""
    first = published - len(payloads)
    for number, payload in enumerate(payloads, first):
        _, duration, name = struct.unpack("<QQ32s", payload)
        assert name == index.to_bytes(16, "big") + number.to_bytes(16, "big"), "a torn record"
        assert duration == number * WRITERS + index, "a torn record"
    return list(range(wanted, first))


def test_a_million_records_of_eight_writers_are_never_torn_nor_lost() -> None:
    stress = Stress()
    readers = [forked(stress.read) for _ in range(READERS)]
    stress.finish(readers, [stress.start_writer(index) for index in range(WRITERS)])


def test_writers_killed_at_any_moment_lose_no_committed_record_and_block_nobody() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    stress = Stress()
    readers = [forked(stress.read) for _ in range(READERS)]
    writers = [stress.start_writer(index) for index in range(WRITERS)]
    for _ in range(KILLS):
        index = chance.randrange(WRITERS)
        goal = min(stress.committed[index] + chance.randrange(EACH * WRITERS // KILLS), EACH - 1)
        while stress.committed[index] < goal:
            time.sleep(0)  # others have work to do
        os.kill(writers[index], signal.SIGKILL)
        os.waitpid(writers[index], 0)
        committed = stress.committed[index]
        assert committed <= stress.tracks[index].published <= committed + 1
        writers[index] = stress.start_writer(index)
    stress.finish(readers, writers)
