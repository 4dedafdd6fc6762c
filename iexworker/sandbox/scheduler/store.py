"""The scheduler's database: workers and tasks, kept in one SQLite file between two starts.

Each worker and each task is one JSON document, written again when it changed. Tokens, challenges,
times of pings and sessions are in no file, as in the real scheduler, and end with the process.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iexworker.errors import SandboxError
from iexworker.sandbox.network.network import damaged
from iexworker.sandbox.scheduler.models import (
    Deal,
    Modifier,
    Refusal,
    Replicate,
    ReplicateStatus,
    StatusChange,
    Task,
    TaskChange,
    TaskStatus,
    Worker,
)

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS documents"
    " (kind TEXT, id TEXT, body TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID"
)


BUSY_TIMEOUT_S = 30.0
"""How long to wait for another process that writes."""
REFUSALS_KEPT = 20
"""Of one task: a worker that repeats itself must not make the document grow."""


class Book:
    """All that outlives the process; `lock` guards it, and is never held over a chain call."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or create; SandboxError for a file that is none of this version's."""
        self.lock = threading.RLock()
        self.tasks: dict[str, Task] = {}
        self.workers: dict[str, Worker] = {}
        self.next_block = 0
        """The first block whose deals have not been looked at."""
        self.unreadable: dict[str, str] = {}
        """Deals that cannot be read, and why."""
        self._changed: dict[tuple[str, str], object] = {}
        try:
            self._open(path)
        except sqlite3.OperationalError as error:
            raise SandboxError(f"{path} cannot be opened: {error}") from error
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            raise damaged(path or Path(":memory:")) from error

    def _open(self, path: Path | None) -> None:
        self._database = sqlite3.connect(
            path or ":memory:", timeout=BUSY_TIMEOUT_S, check_same_thread=False
        )
        # What was answered has to outlive a kill of this process, not one of the machine.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(_SCHEMA)
        self._load()

    def touch(self, changed: Task | Worker) -> None:
        """Remember that a document has to be written at the next `flush`."""
        key = ("task", changed.task_id) if isinstance(changed, Task) else ("worker", changed.wallet)
        self._changed[key] = changed

    def note_refusal(self, task_id: str, refusal: Refusal) -> None:
        """Remember what was not taken of a worker, for those who wonder about the task."""
        with self.lock:
            task = self.tasks.get(task_id)
            if task is None:
                return
            others = [
                one
                for one in task.refusals
                if (one.wallet, one.what) != (refusal.wallet, refusal.what)
            ]
            task.refusals = [*others, refusal][-REFUSALS_KEPT:]
            self.touch(task)

    def note_unreadable(self, deal_id: str, reason: str) -> None:
        """Remember why a deal's tasks are not taken on."""
        with self.lock:
            self.unreadable[deal_id] = reason
            self._changed[("deal", deal_id)] = reason

    def seen_until(self, block: int) -> None:
        """Remember the block up to which deals are known."""
        self.next_block = block + 1
        self._changed[("meta", "next_block")] = self.next_block

    def flush(self) -> None:
        """Write what changed, in one transaction."""
        with self.lock:
            rows = [(*key, json.dumps(_plain(one))) for key, one in self._changed.items()]
            self._changed.clear()
            if rows:
                with self._database:
                    self._database.executemany("REPLACE INTO documents VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Write what changed and let go of the file."""
        self.flush()
        with self.lock:
            self._database.close()

    def _load(self) -> None:
        rows = self._database.execute("SELECT kind, id, body FROM documents").fetchall()
        documents = [(kind, name, json.loads(body)) for kind, name, body in rows]
        self.workers = {name: Worker(**body) for kind, name, body in documents if kind == "worker"}
        tasks = [_task(body) for kind, _, body in documents if kind == "task"]
        tasks.sort(key=lambda task: (task.history[0].at_ms, task.index))
        self.tasks = {task.task_id: task for task in tasks}
        self.next_block = next((body for kind, _, body in documents if kind == "meta"), 0)
        self.unreadable = {name: body for kind, name, body in documents if kind == "deal"}


def _plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Turn dataclasses and enumerations into what JSON knows."""
    if dataclasses.is_dataclass(value):
        names = (one.name for one in dataclasses.fields(value))
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _task(body: Mapping[str, Any]) -> Task:
    return Task(
        **{
            **body,
            "deal": Deal(**body["deal"]),
            "history": [
                TaskChange(TaskStatus(one["status"]), one["at_ms"], one.get("reason", ""))
                for one in body["history"]
            ],
            "replicates": {wallet: _replicate(one) for wallet, one in body["replicates"].items()},
            "refusals": [Refusal(**one) for one in body.get("refusals", ())],
        }
    )


def _replicate(body: Mapping[str, Any]) -> Replicate:
    history = [
        StatusChange(
            ReplicateStatus(one["status"]), one["at_ms"], Modifier(one["modifier"]), one["cause"]
        )
        for one in body["history"]
    ]
    return Replicate(**{**body, "history": history})
