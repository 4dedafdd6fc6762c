"""The scheduler's database: what is written is read again; what has no place in it is not."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from iexworker.sandbox.scheduler.models import Details
from iexworker.sandbox.scheduler.store import Book
from tests.helpers.sandbox_pool import ALICE, Pool, status


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.sqlite"
    pool = Pool(path=path)
    pool.task_at("RESULT_UPLOADED")
    pool.task_at("COMPUTING", "0x" + "dd" * 20, number=2)
    before = pool.book
    before.flush()
    after = Book(path)
    assert after.tasks == before.tasks
    assert list(after.tasks) == list(before.tasks)
    assert after.workers == before.workers
    assert after.next_block == before.next_block > 0
    after.close()
    before.close()


def test_an_update_is_written_before_it_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.sqlite"
    pool = Pool(path=path)
    pool.task_at("STARTED")
    with sqlite3.connect(path) as database:
        kinds = [kind for (kind,) in database.execute("SELECT kind FROM documents ORDER BY kind")]
        assert kinds == ["meta", "task", "worker"]
        database.execute("DELETE FROM documents")
    database.close()
    task_id = next(iter(pool.book.tasks))
    pool.scheduler.update(task_id, ALICE, status("APP_DOWNLOADING"), Details())
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT kind FROM documents ORDER BY kind").fetchall()
    database.close()
    assert ("task",) in found
    pool.book.close()


def test_without_a_path_it_is_in_memory() -> None:
    book = Book()
    book.seen_until(4)
    book.flush()
    assert book.next_block == 5
    book.close()
