"""The journal: all state that must survive a crash, in SQLite, on disk before it is acted on.

One file, `<base>/<name>/journal.sqlite`, in WAL mode with `synchronous=FULL`: a commit has reached
the disk when it returns. Two writers share it, each with its own connection and tables: the
scheduling loop (replicates, configuration) and the outbox (transactions, outbox/ledger.py).

Rows are keyed by chain id, hub, genesis hash and wallet: those of another key are kept untouched
and taken up when that key is back.

A journal that cannot be read is set aside, never deleted, and a fresh one is made: what was in it
is found again on the chain, in the task folders and at the scheduler (`recovery/`).
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from iexworker import durable_files, file_errors
from iexworker.errors import JournalDamaged, JournalError, JournalFull
from iexworker.outbox import ledger
from iexworker.task.replicate import Replicate

log = logging.getLogger(__name__)

JOURNAL_NAME = "journal.sqlite"
SCHEMA_VERSION = 1
_COMPANIONS = ("", "-wal", "-shm")
"""A SQLite file and the two that lie beside it while it is open, or after a crash."""
BUSY_TIMEOUT_S = 10.0
_KINDS: Mapping[int, type[JournalError]] = {
    sqlite3.SQLITE_CORRUPT: JournalDamaged,
    sqlite3.SQLITE_NOTADB: JournalDamaged,
    sqlite3.SQLITE_FULL: JournalFull,
    sqlite3.SQLITE_IOERR: JournalFull,
}
_NOT_OURS_TO_WRITE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)

_SCHEMA = """
CREATE TABLE configuration (
    wallet TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    updated_s REAL NOT NULL,
    PRIMARY KEY (wallet, name)
) STRICT;
CREATE TABLE replicates (
    key TEXT NOT NULL,
    task TEXT NOT NULL,
    step TEXT NOT NULL,
    state TEXT NOT NULL,
    updated_s REAL NOT NULL,
    PRIMARY KEY (key, task)
) STRICT;
"""
_SCHEMAS = (_SCHEMA, ledger.SCHEMA)
_TABLES = frozenset(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", "".join(_SCHEMAS)))


@dataclass(frozen=True, slots=True)
class JournalKey:
    """Which chain, contracts and wallet a row belongs to."""

    chain_id: int
    hub: str
    genesis: str
    wallet: str

    def __str__(self) -> str:
        """Return the text that rows carry."""
        return f"{self.chain_id}/{self.hub}/{self.genesis}/{self.wallet}"


def connect(path: Path) -> sqlite3.Connection:
    """Open the journal's file with the durability that outbox and scheduling loop rely on.

    Raises `JournalError` when the file cannot be opened or is of a newer version, `JournalFull`
    when its disk has no room, and `JournalDamaged` when it is no sound database.
    """
    with _errors_of(f"journal {path}", path), ExitStack() as stack:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        stack.callback(connection.close)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _migrate(connection, path)
        stack.pop_all()
    return connection


@contextmanager
def _errors_of(what: str, path: Path | None = None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the kind; the rest tells kinds of one kind apart.
        number = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if path is not None and number in _NOT_OURS_TO_WRITE:
            _try_to_write(path)
        raise _KINDS.get(number, JournalError)(f"{what}: {error}") from error


def _try_to_write(path: Path) -> None:
    """Have the system say why the file cannot be written; SQLite keeps that to itself."""
    try:
        path.open("ab").close()
        durable_files.sync(path.parent)
    except OSError as error:
        raise _file_error(path, error) from None


def _file_error(path: Path, error: OSError) -> JournalError:
    kind = JournalFull if error.errno in file_errors.FULL else JournalError
    return kind(f"journal {path}: {file_errors.why(path, error)}")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        connection.execute("ROLLBACK")
        raise JournalError(
            f"journal {path} was written by a newer iexworker (version {version}, this one reads "
            f"up to {SCHEMA_VERSION}): install that version again"
        )
    if version == 0:
        for statement in filter(str.strip, "".join(_SCHEMAS).split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")


class Journal:
    """The scheduling loop's part of the journal."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def save(self, key: JournalKey, replicate: Replicate) -> None:
        """Write the record; it is on disk when this returns. Raises `JournalError`."""
        self._execute(
            "INSERT INTO replicates (key, task, step, state, updated_s) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (key, task) DO UPDATE SET step=excluded.step, state=excluded.state, "
            "updated_s=excluded.updated_s",
            (
                str(key),
                replicate.task_id,
                replicate.step.value,
                json.dumps(replicate.to_json()),
                time.time(),
            ),
        )

    def forget(self, key: JournalKey, task_id: str) -> None:
        """Drop the record of a task that has ended."""
        self._execute("DELETE FROM replicates WHERE key=? AND task=?", (str(key), task_id))

    def replicates(self, key: JournalKey) -> Iterator[Replicate]:
        """Yield the unfinished replicates of `key`, oldest first."""
        rows = self._execute(
            "SELECT task, state FROM replicates WHERE key=? ORDER BY rowid", (str(key),)
        )
        for task, state in rows:
            yield _record(task, state)

    def all_replicates(self) -> list[Replicate]:
        """Return the unfinished replicates of all keys, oldest first."""
        rows = self._execute("SELECT task, state FROM replicates ORDER BY rowid")
        return [_record(task, state) for task, state in rows]

    def foreign(self, key: JournalKey) -> Mapping[str, int]:
        """Return how many replicates each other key has; they are kept untouched."""
        rows = self._execute(
            "SELECT key, count(*) FROM replicates WHERE key<>? GROUP BY key", (str(key),)
        )
        return dict(rows)

    def task_ids(self) -> list[str]:
        """Return the unfinished tasks of all keys."""
        return [task for (task,) in self._execute("SELECT task FROM replicates")]

    def unfinished(self) -> int:
        """Return the number of replicates of any key."""
        ((count,),) = self._execute("SELECT count(*) FROM replicates")
        return int(count)

    def check(self) -> None:
        """Raise `JournalDamaged` when the file, or a record in it, is not sound."""
        ((verdict,),) = self._execute("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise JournalDamaged(f"journal: {verdict}")
        there = {name for (name,) in self._execute("SELECT name FROM sqlite_master")}
        if missing := _TABLES - there:
            raise JournalDamaged(f"journal: no table {', '.join(sorted(missing))}")
        self.all_replicates()

    def rebuilt_at(self, key: JournalKey) -> int | None:
        """Return the nonce that the wallet had when `key` was last looked for on its chain.

        None when it never was, to the end: it may have tasks under way all the same, of a journal
        that was lost, of another host, of a Java worker.
        """
        found = self.recall(key.wallet, _rebuilt(key))
        # Journals from before the nonce was kept have none: the signed ones tell then.
        return None if found is None else int(found.get("nonce", 0))

    def set_rebuilt(self, key: JournalKey, nonce: int) -> None:
        """Note that all tasks of `key` that the chain showed at this nonce are in the journal."""
        self.remember(key.wallet, _rebuilt(key), {"nonce": nonce})

    def remember(self, wallet: str, name: str, document: Mapping[str, Any]) -> None:
        """Keep the last good configuration, for a start that finds no scheduler."""
        self._execute(
            "INSERT INTO configuration (wallet, name, document, updated_s) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (wallet, name) DO UPDATE SET document=excluded.document, "
            "updated_s=excluded.updated_s",
            (wallet, name, json.dumps(document), time.time()),
        )

    def recall(self, wallet: str, name: str) -> dict[str, Any] | None:
        """Return what `remember` kept, None when nothing was."""
        rows = self._execute(
            "SELECT document FROM configuration WHERE wallet=? AND name=?", (wallet, name)
        )
        return json.loads(rows[0][0]) if rows else None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with _errors_of("journal"):
            return self._connection.execute(statement, values).fetchall()


def _record(task: str, state: str) -> Replicate:
    try:
        return Replicate.from_json(json.loads(state))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalDamaged(f"journal: record of task {task}: {error!r}") from None


def _rebuilt(key: JournalKey) -> str:
    return f"rebuilt {key}"


def open_journal(path: Path) -> Journal:
    """Open the journal at `path`, made anew where it is missing or damaged.

    Raises `JournalError` where that cannot help: a newer version, no permission; `JournalFull`.
    """
    try:
        return _open_or_make(path)
    except OSError as error:
        raise _file_error(path, error) from None


def _open_or_make(path: Path) -> Journal:
    if not path.exists():
        # A log without its file would be deleted by SQLite, or worse, be taken for the new one's.
        set_aside(path)
        log.info("no journal here yet, a new one is made", extra={"journal": str(path)})
        return Journal(connect(path))
    try:
        return _sound(path)
    except JournalDamaged as error:
        kept = set_aside(path)
        log.error(
            "journal damaged and set aside; tasks under way are looked for on the chain, in the "
            "task folders and at the scheduler",
            extra={"journal": str(path), "kept_as": str(kept), "error": str(error)},
        )
        return Journal(connect(path))


def set_aside(path: Path) -> Path:
    """Rename the journal's files, those that are there; return the new name of the first."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept = path.with_name(f"{path.stem}-{stamp}{path.suffix}")
    for companion in _COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            source.rename(kept.with_name(kept.name + companion))
    durable_files.sync(path.parent)
    return kept


def _sound(path: Path) -> Journal:
    journal = Journal(connect(path))
    try:
        journal.check()
    except JournalDamaged:
        journal.close()
        raise
    return journal
