"""A journal that cannot be read is set aside, never deleted, and a fresh one made.

What was in it is found again on the chain, in the task folders and at the scheduler
(`reclaim.py`); the file stays for whoever wants to look into it.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from iexworker import durable_files
from iexworker.errors import JournalDamaged
from iexworker.task.journal import Journal, connect

_COMPANIONS = ("", "-wal", "-shm")
"""A SQLite file and the two that lie beside it while it is open, or after a crash."""

log = logging.getLogger(__name__)


def open_journal(path: Path) -> Journal:
    """Open the journal at `path`, made anew where it is missing or damaged.

    Raises `JournalError` where that cannot help: a newer version, no permission, a full disk.
    """
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
