"""A track: the newest records of one writer, in memory shared with readers that take no lock.

A record is a checksum, a sequence and a payload; it is written whole, and only then does a counter
publish it. A reader copies, then checks: a record that was being overwritten does not pass, and a
writer killed at any instruction leaves a published past and, at worst, an unpublished scrap.
"""

from __future__ import annotations

import mmap
import struct
from zlib import crc32

_TRIES = 32
_HEAD_BYTES = 16


def allocate(size: int) -> mmap.mmap:
    """Return `size` zeroed bytes that children forked later share.

    Not `SharedMemory`: that starts a tracker process, and its files outlive a kill.
    """
    return mmap.mmap(-1, size)


class Track:
    """A circle of `capacity` records of one size, the newest published by a counter.

    One process (and one thread in it) writes at a time. Counters are words of a
    `memoryview.cast("Q")`, which are read and written whole; `struct.pack_into` clears before it
    writes, and readers would see the zero.
    """

    __slots__ = (
        "_capacity",
        "_counters",
        "_index",
        "_memory",
        "_offset",
        "_pack_into",
        "_record",
        "_size",
    )

    def __init__(
        self,
        memory: mmap.mmap,
        counters: memoryview,
        index: int,
        *,
        offset: int,
        capacity: int,
        payload_bytes: int,
    ) -> None:
        self._memory = memory
        self._counters = counters
        self._index = index
        self._offset = offset
        self._capacity = capacity
        self._record = struct.Struct(f"<QQ{payload_bytes}s")
        self._size = self._record.size
        self._pack_into = self._record.pack_into

    @staticmethod
    def bytes_needed(capacity: int, payload_bytes: int) -> int:
        """Return how much memory the records take."""
        return capacity * (_HEAD_BYTES + payload_bytes)

    @property
    def published(self) -> int:
        """The count of records ever published; their sequences are 0 to this, less one."""
        count: int = self._counters[self._index]
        return count

    def append(self, payload: bytes) -> None:
        """Write a record, then publish it; the payload has exactly the track's payload size."""
        sequence = self._counters[self._index]
        at = self._offset + sequence % self._capacity * self._size
        # The checksum starts from the sequence: an old payload under a new sequence fails too.
        self._pack_into(self._memory, at, crc32(payload, sequence), sequence, payload)
        self._counters[self._index] = sequence + 1

    def adopt(self) -> None:
        """Publish the record that a predecessor finished and was killed before publishing."""
        published = self.published
        if self._intact(published, published + 1):
            self._counters[self._index] = published + 1

    def read(self, first: int, limit: int) -> tuple[int, list[bytes]]:
        """Return the published count and the payloads up to it, oldest first.

        They begin at sequence `first`, or later where only the newest `limit` (at most the
        capacity) are wanted. Should the writer overtake every attempt, the oldest are missing:
        they are overwritten by then.
        """
        for _ in range(_TRIES):
            published = self.published
            start = max(first, published - limit)
            payloads = self._intact(start, published)
            if len(payloads) == published - start:
                break
        return published, payloads

    def last(self) -> bytes | None:
        """Return the newest payload, None before the first."""
        _, payloads = self.read(0, 1)
        return payloads[0] if payloads else None

    def _intact(self, start: int, stop: int) -> list[bytes]:
        """Return the payloads of the unbroken run of good records that ends before `stop`."""
        run: list[bytes] = []
        expected = start
        for checksum, sequence, payload in self._record.iter_unpack(self._copy(start, stop)):
            if sequence == expected and crc32(payload, sequence) == checksum:
                run.append(payload)
            else:
                run.clear()
            expected += 1
        return run

    def _copy(self, start: int, stop: int) -> bytes:
        count = stop - start
        first = start % self._capacity
        tail = min(count, self._capacity - first)
        return self._slots(first, tail) + self._slots(0, count - tail)

    def _slots(self, first: int, count: int) -> bytes:
        at = self._offset + first * self._size
        return self._memory[at : at + count * self._size]
