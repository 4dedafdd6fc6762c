"""The ring: the last durations of each stage, written by many processes and read by many.

Each writer has a track for each stage, with room for the whole window and some slack, so that no
lock is needed; a reader merges them by the instant of recording and keeps what it has read. Made
before the first fork; lost when the worker ends, as upstream (docs/spec/08, 5.4).
"""

from __future__ import annotations

import enum
import struct
from binascii import unhexlify
from collections.abc import Mapping, Sequence
from operator import itemgetter
from time import monotonic_ns

from iexworker.errors import SettingsError
from iexworker.shared.statistics import Durations, Statistics
from iexworker.shared.track import Track, allocate

UNLIMITED = -1
"""The window that keeps no samples, only their count, extremes and sum."""

_SLACK = 64
"""Records that a writer may add while a reader copies, before the copy misses its oldest."""

_SAMPLE = struct.Struct("<QQ32s")  # monotonic instant (ns), duration (ms), task id
_TOTALS = struct.Struct("<QQQQQ8x")  # instant, count, minimum, maximum, sum: as long as a sample
_LINE_BYTES = 64

_pack_sample = _SAMPLE.pack


class Stage(enum.StrEnum):
    """A container run that is timed (5.1)."""

    PRE = "pre"
    APP = "app"
    POST = "post"


class Ring:
    """The shared memory of all durations; `create` it before the fork."""

    def __init__(self, writers: int, window: int) -> None:
        self.writers = writers
        self.window = window
        stages = list(Stage)
        capacity = _SLACK + max(window, 0)
        track_bytes = Track.bytes_needed(capacity, _SAMPLE.size)
        heads = -(-8 * writers * len(stages) // _LINE_BYTES) * _LINE_BYTES
        memory = allocate(heads + writers * len(stages) * track_bytes)
        self._counters = memoryview(memory)[: 8 * writers * len(stages)].cast("Q")
        self._tracks = [
            {
                stage: Track(
                    memory,
                    self._counters,
                    index,
                    offset=heads + index * track_bytes,
                    capacity=capacity,
                    payload_bytes=_SAMPLE.size,
                )
                for index, stage in enumerate(stages, writer * len(stages))
            }
            for writer in range(writers)
        ]

    @classmethod
    def create(cls, writers: int, window: int) -> Ring:
        """Make the ring for `writers` processes; raises `SettingsError` where memory is short."""
        try:
            return cls(writers, window)
        except (OSError, OverflowError) as error:
            raise SettingsError(
                [
                    f"IEXEC_WORKER_METRICS_WINDOW_SIZE={window}: no memory for a window of that"
                    f" size ({error}); expected a smaller one, e.g. 1000, or -1 for unlimited"
                ]
            ) from error

    @property
    def version(self) -> int:
        """The count of all durations ever recorded: it changes with each."""
        return sum(self._counters)

    def writer(self, index: int) -> Writer:
        """Return the writing end of process `index`, which at most one live process holds."""
        tracks = self._tracks[index]
        for track in tracks.values():
            track.adopt()
        return Writer(tracks) if self.window != UNLIMITED else TotalsWriter(tracks)

    def reader(self) -> Reader:
        """Return a reader of its own; each process (and thread) takes one."""
        return Reader(self)

    def tracks(self, stage: Stage) -> list[Track]:
        """Return every writer's track of a stage."""
        return [tracks[stage] for tracks in self._tracks]


class Writer:
    """The writing end of one process; for one thread."""

    def __init__(self, tracks: Mapping[Stage, Track]) -> None:
        self._tracks = tracks
        self._append = {stage: track.append for stage, track in tracks.items()}

    def record(self, stage: Stage, task_id: str, duration_ms: int) -> None:
        """Record that `stage` of task `task_id` (0x and 64 hex digits) ran for `duration_ms`."""
        self._append[stage](_pack_sample(monotonic_ns(), duration_ms, unhexlify(task_id[2:])))


class TotalsWriter(Writer):
    """The writing end with an unlimited window: each record carries the totals so far."""

    def record(self, stage: Stage, task_id: str, duration_ms: int) -> None:
        """Add `duration_ms` to the totals of `stage`; tasks are not kept (5.2)."""
        track = self._tracks[stage]
        last = track.last()
        _, count, least, most, total = _TOTALS.unpack(last) if last else (0, 0, duration_ms, 0, 0)
        track.append(
            _TOTALS.pack(
                monotonic_ns(),
                count + 1,
                min(least, duration_ms),
                max(most, duration_ms),
                total + duration_ms,
            )
        )


class Reader:
    """What one process has read of the ring; for one thread."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._version = -1
        self._durations: Durations
        self._unlimited = ring.window == UNLIMITED
        self._windows = {stage: _Window(ring.tracks(stage), ring.window) for stage in Stage}

    def durations(self) -> Durations:
        """Return the statistics of now; nothing is read again when nothing was recorded."""
        version = self._ring.version
        if version != self._version:
            self._durations = self._totals() if self._unlimited else self._windowed()
            self._version = version
        return self._durations

    def _windowed(self) -> Durations:
        pre, app, post = (self._windows[stage] for stage in Stage)
        for window in (pre, app, post):
            window.catch_up()
        complete = [
            pre.by_task.get(task, 0) + duration + post.by_task[task]
            for task, duration in app.by_task.items()
            if task in post.by_task
        ]
        return Durations(
            pre=Statistics.of(pre.durations_ms),
            app=Statistics.of(app.durations_ms),
            post=Statistics.of(post.durations_ms),
            complete=Statistics.of(complete),
        )

    def _totals(self) -> Durations:
        pre, app, post = (_sum_totals(self._ring.tracks(stage)) for stage in Stage)
        return Durations(pre, app, post, complete=Statistics())


class _Window:
    """The samples of one stage: the last `size` of all writers, and the last of each task."""

    def __init__(self, tracks: Sequence[Track], size: int) -> None:
        self._tracks = tracks
        self._size = size
        self._next = [0] * len(tracks)
        self._samples: list[tuple[int, int, bytes]] = []
        self.durations_ms: list[int] = []
        self.by_task: dict[bytes, int] = {}

    def catch_up(self) -> None:
        """Read what was recorded since the last time."""
        fresh = [sample for writer in range(len(self._tracks)) for sample in self._fresh(writer)]
        if not fresh:
            return
        fresh.sort(key=itemgetter(0))
        for _, duration, task in fresh:
            self._remember(task, duration)
        # A writer may have been overtaken between its clock and its counter: sort the old too.
        self._samples = sorted(self._samples + fresh, key=itemgetter(0))[-self._size :]
        self.durations_ms = [duration for _, duration, _ in self._samples]

    def _fresh(self, writer: int) -> list[tuple[int, int, bytes]]:
        published, payloads = self._tracks[writer].read(self._next[writer], self._size)
        if payloads:
            self._next[writer] = published
        return [_SAMPLE.unpack(payload) for payload in payloads]

    def _remember(self, task: bytes, duration: int) -> None:
        """Keep a task's last value; beyond the size, the task that came first goes (5.2)."""
        if task not in self.by_task and len(self.by_task) >= self._size:
            del self.by_task[next(iter(self.by_task))]
        self.by_task[task] = duration


def _sum_totals(tracks: Sequence[Track]) -> Statistics:
    """Return the statistics of an unlimited window from each writer's newest totals."""
    newest = [_TOTALS.unpack(last) for track in tracks if (last := track.last())]
    if not newest:
        return Statistics()
    _, counts, least, most, totals = zip(*newest, strict=True)
    count = sum(counts)
    return Statistics(count, float(min(least)), float(max(most)), sum(totals) / count)
