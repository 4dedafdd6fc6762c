from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from iexworker.errors import JournalDamaged, JournalError
from iexworker.poco.models import Profile
from iexworker.recovery import rebuild
from iexworker.task.journal import (
    SCHEMA_VERSION,
    Journal,
    JournalKey,
    connect,
    open_journal,
    set_aside,
)
from iexworker.task.replicate import Replicate
from tests.unit.helpers.recovery_data import WALLET, task

KEY = JournalKey(65535, "0x" + "aa" * 20, "0x" + "bb" * 32, WALLET)
OTHER = replace(KEY, chain_id=134)


def record(number: int = 0) -> Replicate:
    return Replicate(rebuild.no_authorization(WALLET, task(number=number).task_id), Profile.V9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def kept(path: Path) -> list[str]:
    return sorted(item.name for item in path.parent.iterdir() if "Z" in item.name)


def test_a_sound_journal_is_opened_as_it_is(path: Path) -> None:
    Journal(connect(path)).save(KEY, record())
    journal = open_journal(path)
    assert list(journal.replicates(KEY)) == [record()]
    assert kept(path) == []


def test_a_missing_journal_is_made_and_to_be_rebuilt(path: Path) -> None:
    assert open_journal(path).rebuilt_at(KEY) is None
    assert path.exists()


def garbage(path: Path) -> None:
    path.write_bytes(b"no database " * 1000)


def no_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"\x00" * 100 + content[100:])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def no_record(path: Path) -> None:
    connection = connect(path)
    connection.execute("UPDATE replicates SET state='{'")
    connection.close()


def no_table(path: Path) -> None:
    connection = connect(path)
    connection.execute("DROP TABLE actions")
    connection.close()


@pytest.mark.parametrize("damage", [garbage, no_header, cut, no_record, no_table])
def test_a_damaged_journal_is_set_aside_and_a_fresh_one_made(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(connect(path))
    for number in range(20):
        journal.save(KEY, record(number))
    journal.set_rebuilt(KEY, 7)
    journal.close()
    damage(path)
    content = path.read_bytes()

    fresh = open_journal(path)

    (name,) = kept(path)
    assert re.fullmatch(r"journal-\d{8}T\d{6}\.\d{6}Z\.sqlite", name)
    assert path.with_name(name).read_bytes() == content
    assert fresh.unfinished() == 0
    assert fresh.rebuilt_at(KEY) is None
    assert "journal damaged and set aside" in caplog.text
    fresh.save(KEY, record())


def test_the_files_beside_a_damaged_journal_go_with_it(path: Path) -> None:
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).write_bytes(b"rubbish " * 100)
    set_aside(path)
    first, *others = kept(path)
    assert others == [f"{first}-shm", f"{first}-wal"]


def test_a_log_without_its_file_is_kept_and_not_read(path: Path) -> None:
    path.with_name("journal.sqlite-wal").write_bytes(b"rubbish " * 100)
    open_journal(path).save(KEY, record())
    (name,) = kept(path)
    assert name.endswith("-wal")


def test_a_newer_journal_is_neither_set_aside_nor_touched(path: Path) -> None:
    connection = connect(path)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(JournalError, match="newer iexworker") as caught:
        open_journal(path)
    assert not isinstance(caught.value, JournalDamaged)
    assert kept(path) == []


def test_a_journal_that_another_process_holds_is_not_called_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iexworker.task.journal.BUSY_TIMEOUT_S", 0.05)
    holder = connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalError, match="locked"):
        open_journal(path)
    assert kept(path) == []


def test_rows_of_another_key_stay_when_one_is_rebuilt(path: Path) -> None:
    journal = open_journal(path)
    journal.save(OTHER, record())
    journal.set_rebuilt(KEY, 7)
    again = open_journal(path)
    assert list(again.replicates(OTHER)) == [record()]
    assert again.rebuilt_at(KEY) == 7
    assert again.rebuilt_at(OTHER) is None


def test_two_journals_set_aside_do_not_meet(path: Path) -> None:
    for _ in range(3):
        path.write_text("x")
        set_aside(path)
    assert len(kept(path)) == 3
