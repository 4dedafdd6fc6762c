"""The board: what each process does now, and what the worker as a whole knows.

Shared memory made before the first fork. Each record has one writing process and any number of
readers without a lock; a record is never seen half-written, and a writer killed in the middle
leaves the value before.
"""

from __future__ import annotations

import enum
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iexworker.masking import masked
from iexworker.shared.facts import OWNERS, Facts
from iexworker.shared.track import Track, allocate

LEVELS = ("trace", "debug", "info", "warn", "error")
"""Log levels as Prometheus names them (docs/spec/08, 6.4), each ten of `logging`'s numbers."""

_TEXT_BYTES = 240
_ENTRY_BYTES = 2032  # two kilobytes with the record's head; holds all its texts at their longest
_FACTS_BYTES = 8176
_ROLE_BYTES = 48  # for a role's number of restarts
_BUFFERS = 2
_WORDS = 1 + len(LEVELS)  # of an entry: its tick, then a count for each level


class State(enum.StrEnum):
    """What a process is about; `status` and the status page show the words."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    STOPPING = "stopping"
    DOWN = "down"
    """Dead, and not yet started again: written by the supervisor in its place."""


@dataclass(frozen=True, slots=True)
class EntryView:
    """One process as one reader saw it."""

    role: str
    pid: int = 0
    state: State = State.STARTING
    task: str = ""
    step: str = ""
    since_s: float = 0.0
    """Unix instant of the last change of state, task or step."""
    text: str = ""
    tick_ns: int = 0
    """Monotonic instant of the last turn of its loop, 0 for none."""


class _Record:
    """A JSON object of bounded size, replaced whole; threads of its process may share it."""

    def __init__(self, track: Track, size: int) -> None:
        self._track = track
        self._size = size
        self._lock = threading.Lock()

    def read(self) -> dict[str, Any]:
        last = self._track.last()
        values: dict[str, Any] = json.loads(last.rstrip(b"\0")) if last else {}
        return values

    def update(self, values: Mapping[str, object], watched: Sequence[str] = ()) -> None:
        """Put `values` over the old; a change of one `watched` notes its instant in `since_s`."""
        with self._lock:
            old = self.read()
            new = {**old, **{name: _clean(value) for name, value in values.items()}}
            if any(old.get(name) != new.get(name) for name in watched):
                new["since_s"] = time.time()
            if new != old:
                self._replace(new)

    def _replace(self, values: Mapping[str, object]) -> None:
        payload = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
        if len(payload) > self._size:
            raise ValueError(f"{len(payload)} bytes do not fit a record of {self._size}")
        self._track.append(payload.ljust(self._size, b"\0"))


class ProcessEntry:
    """One process's own line of the board."""

    def __init__(self, role: str, record: _Record, words: memoryview) -> None:
        self.role = role
        self._record = record
        self._words = words

    def write(
        self,
        *,
        state: State | None = None,
        task: str | None = None,
        step: str | None = None,
        text: str | None = None,
        pid: int | None = None,
    ) -> None:
        """Say what the process does; what is not given stays, the pid is the caller's."""
        given = {"state": state, "task": task, "step": step, "text": text}
        values: dict[str, object] = {
            key: value for key, value in given.items() if value is not None
        }
        values["pid"] = os.getpid() if pid is None else pid
        self._record.update(values, watched=("state", "task", "step"))

    def tick(self) -> None:
        """Say that the process's loop turns."""
        self._words[0] = time.monotonic_ns()

    def count_event(self, levelno: int) -> None:
        """Count a log line, by `logging`'s number; call it where logging holds its lock."""
        self._words[1 + min(max(levelno // 10, 0), len(LEVELS) - 1)] += 1

    def read(self) -> EntryView:
        """Return the line as it is now."""
        values = self._record.read()
        if "state" in values:
            values["state"] = State(values["state"])
        return EntryView(role=self.role, tick_ns=self._words[0], **values)

    def events(self) -> tuple[int, ...]:
        """Return the count of log lines of each of `LEVELS`."""
        return tuple(self._words[1:])


class FactsBoard:
    """The worker-wide values; each is set by one process (`facts.OWNERS`)."""

    def __init__(self, records: Mapping[str, _Record]) -> None:
        self._records = records

    def set(self, **values: object) -> None:
        """Set the fields of `Facts` that are named; those of one owner change at once."""
        by_owner: dict[str, dict[str, object]] = {}
        for name, value in values.items():
            if name not in OWNERS:
                raise TypeError(f"no such fact: {name}")
            by_owner.setdefault(OWNERS[name], {})[name] = value
        for owner, group in by_owner.items():
            self._records[owner].update(group)

    def read(self) -> Facts:
        """Return all values as they are now."""
        values: dict[str, Any] = {}
        for record in self._records.values():
            values |= record.read()
        return Facts(**values)


class Board:
    """The shared memory of all entries and facts; `create` it before the fork."""

    def __init__(self, roles: Sequence[str]) -> None:
        self.roles = tuple(roles)
        owners = sorted(set(OWNERS.values()))
        facts_bytes = _FACTS_BYTES + _ROLE_BYTES * len(roles)
        sizes = [_ENTRY_BYTES] * len(roles) + [facts_bytes] * len(owners)
        words = 8 * (len(sizes) + _WORDS * len(roles))
        needs = [Track.bytes_needed(_BUFFERS, size) for size in sizes]
        memory = allocate(words + sum(needs))
        numbers = memoryview(memory)[:words].cast("Q")
        self._counters = numbers[: len(sizes)]
        records = [
            _Record(
                Track(
                    memory,
                    self._counters,
                    index,
                    offset=words + sum(needs[:index]),
                    capacity=_BUFFERS,
                    payload_bytes=size,
                ),
                size,
            )
            for index, size in enumerate(sizes)
        ]
        own = numbers[len(sizes) :]
        self._entries = {
            role: ProcessEntry(role, records[index], own[index * _WORDS : (index + 1) * _WORDS])
            for index, role in enumerate(roles)
        }
        self.facts = FactsBoard(dict(zip(owners, records[len(roles) :], strict=True)))

    @classmethod
    def create(cls, roles: Sequence[str]) -> Board:
        """Make the board for processes of these names."""
        return cls(roles)

    @property
    def version(self) -> int:
        """The count of all changes of entries and facts; ticks and log lines are not among them."""
        return sum(self._counters)

    def entry(self, role: str) -> ProcessEntry:
        """Return the line of a process; `KeyError` for a role that the board was not made for."""
        return self._entries[role]

    def entries(self) -> list[EntryView]:
        """Return every process's line, in the order of the roles."""
        return [entry.read() for entry in self._entries.values()]

    def events(self) -> dict[str, int]:
        """Return how many lines of each of `LEVELS` the worker has logged."""
        counts = zip(*(entry.events() for entry in self._entries.values()), strict=True)
        return dict(zip(LEVELS, map(sum, counts), strict=True))


def _clean(value: object) -> object:
    """Return a text on one line, addresses masked, cut to its room; anything else as it is."""
    if not isinstance(value, str):
        return value
    # Control characters would take six bytes each in JSON, and disturb a terminal.
    value = masked(value)
    line = "".join(char if char.isprintable() else " " for char in value[:_TEXT_BYTES])
    encoded = line.encode("utf-8", "replace")
    if len(encoded) <= _TEXT_BYTES and len(value) <= _TEXT_BYTES:
        return encoded.decode()
    return encoded[: _TEXT_BYTES - len("…".encode())].decode("utf-8", "ignore") + "…"
