"""How many slots a machine has room for: memory, processes and descriptors.

A count that does not fit takes the host with it, since every slot is a process from the start on.
What is counted here is the least that a slot takes; what its app needs is the operator's to know.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iexworker import machine

DESCRIPTORS_A_SLOT = 10
"""Four channels of two ends each, and what watches the process, all held by the parent."""

_MIB = 1024 * 1024
_GIB = 1024 * _MIB
_OTHER_BYTES = 128 * _MIB
_PROCESS_BYTES = 16 * _MIB
"""Of a slot's process that works: counted against the limit of our own control group."""
_SLOT_BYTES = 64 * _MIB
"""Of that process, the engine's for its container, and the smallest app, on the whole host."""
_OTHER_DESCRIPTORS = 100
_OTHER_TASKS = 24
_TASKS_A_SLOT = 6
"""Its process and threads; pids.max and RLIMIT_NPROC count both."""
_TASKS_ON_THE_HOST = 24
"""With those of the engine and a small app."""


@dataclass(frozen=True, slots=True)
class Room:
    """One thing that slots take of."""

    total: int
    other: int
    """What the rest of the worker takes."""
    each: int
    words: str
    """How to say it, with `{need}` and `{total}` in them."""
    unit: int = 1

    @property
    def most(self) -> int:
        """How many slots it is enough for."""
        return max((self.total - self.other) // self.each, 0)

    def says(self, slots: int) -> str:
        """Return why so many do not fit."""
        need, total = self.other + self.each * slots, self.total
        if self.unit > 1:
            return self.words.format(
                need=f"{need / self.unit:,.1f}", total=f"{total / self.unit:,.1f}"
            )
        return self.words.format(need=need, total=total)


def rooms(root: Path = Path("/")) -> Iterator[Room]:
    """Yield what this machine has; `root` is for tests."""
    yield Room(
        machine.host_memory_bytes(),
        0,
        _SLOT_BYTES,
        "take {need} GiB of memory at the least, and this machine has {total} GiB",
        _GIB,
    )
    yield Room(
        machine.memory_bytes(root),
        _OTHER_BYTES,
        _PROCESS_BYTES,
        "take {need} GiB of memory at the least, and the worker may use {total} GiB",
        _GIB,
    )
    yield Room(
        descriptor_limit(),
        _OTHER_DESCRIPTORS,
        DESCRIPTORS_A_SLOT,
        "take {need} descriptors, and a process may have {total} (ulimit -Hn)",
    )
    if (own := machine.process_limit(root)) is not None:
        words = "take {need} processes and threads, and the worker may have {total} processes"
        yield Room(own, _OTHER_TASKS, _TASKS_A_SLOT, words)
    words = "take {need} processes and threads with their apps, and the host has {total}"
    yield Room(machine.host_process_limit(root), _OTHER_TASKS, _TASKS_ON_THE_HOST, words)


def most(root: Path = Path("/")) -> int:
    """Return how many slots fit."""
    return min(room.most for room in rooms(root))


def problem(slots: int, root: Path = Path("/")) -> str:
    """Say how many slots fit, and why not so many; empty when they do."""
    tightest = min(rooms(root), key=lambda room: room.most)
    if slots <= tightest.most:
        return ""
    return f"expected at most {tightest.most}, since {slots} slots {tightest.says(slots)}"


def descriptor_limit() -> int:
    """Return how many descriptors a process may have when it asks for them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _most_of_the_kernel() if hard == resource.RLIM_INFINITY else hard


def ask_for_descriptors(slots: int) -> None:
    """Raise our soft limit, often 1024, to what so many slots take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = min(_OTHER_DESCRIPTORS + DESCRIPTORS_A_SLOT * slots, descriptor_limit())
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _most_of_the_kernel() -> int:
    return int(Path("/proc/sys/fs/nr_open").read_text(encoding="ascii"))


def many_for(processors: int, slots: int) -> str:
    """Say that slots are more than four for each processor; empty when they are not."""
    if slots <= 4 * processors:
        return ""
    return (
        f"{slots} tasks at a time on {processors} processors, more than four for each: they take "
        "so much longer that deadlines are missed, and stakes with them"
    )
