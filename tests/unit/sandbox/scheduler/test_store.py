"""The scheduler's database: what is written is read again; what has no place in it is not."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from iexworker.errors import SandboxError
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


@pytest.mark.parametrize("damage", ["no database", "another task", "half a document"])
def test_a_file_that_cannot_be_read_is_told_with_what_to_do(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "scheduler.sqlite"
    if damage == "no database":
        path.write_bytes(b"x" * 5000)
    else:
        Book(path).close()
        body = {"another task": '{"unknown": 1}', "half a document": "{"}[damage]
        with sqlite3.connect(path) as database:
            database.execute("INSERT INTO documents VALUES ('task', '0x1', ?)", (body,))
        database.close()

    with pytest.raises(SandboxError, match=f"{path} is damaged, or .*up --fresh --dir {tmp_path}"):
        Book(path)


def test_a_task_of_the_version_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.sqlite"
    pool = Pool(path=path)
    pool.task_at("COMPUTED")
    pool.book.flush()
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT id, body FROM documents WHERE kind = 'task'").fetchall()
        for task_id, body in rows:
            old = json.loads(body)
            del old["refusals"]
            for change in old["history"]:
                del change["reason"]
            row = (json.dumps(old), task_id)
            database.execute("UPDATE documents SET body = ? WHERE id = ?", row)
    database.close()

    after = Book(path)

    assert after.tasks == pool.book.tasks
    after.close()
    pool.book.close()


def test_a_deal_that_cannot_be_read_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.sqlite"
    book = Book(path)
    book.note_unreadable("0xdeal", "it is odd")
    book.close()

    after = Book(path)
    assert after.unreadable == {"0xdeal": "it is odd"}
    after.close()
