from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from iexworker.errors import JournalDamaged, JournalError
from iexworker.poco.authorization import WorkerpoolAuthorization
from iexworker.poco.models import Profile
from iexworker.task.journal import SCHEMA_VERSION, Journal, JournalKey, connect
from iexworker.task.replicate import Replicate, Step

KEY = JournalKey(65535, "0x" + "aa" * 20, "0x" + "bb" * 32, "0x" + "cc" * 20)
OTHER = replace(KEY, chain_id=134)


def record(number: int) -> Replicate:
    authorization = WorkerpoolAuthorization.from_json(
        {
            "chainTaskId": f"0x{number:064x}",
            "workerWallet": KEY.wallet,
            "enclaveChallenge": "0x" + "00" * 20,
            "signature": {"value": "0x" + "11" * 65},
        }
    )
    return Replicate(authorization, Profile.V9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Journal:
    return Journal(connect(path))


def test_a_record_is_there_for_the_next_process(journal: Journal, path: Path) -> None:
    journal.save(KEY, record(1))
    journal.save(KEY, replace(record(1), step=Step.CONTRIBUTE, digest="0x" + "dd" * 32))
    (found,) = Journal(connect(path)).replicates(KEY)
    assert found == replace(record(1), step=Step.CONTRIBUTE, digest="0x" + "dd" * 32)


def test_replicates_come_in_the_order_of_their_grants(journal: Journal) -> None:
    for number in (3, 1, 2):
        journal.save(KEY, record(number))
    journal.save(KEY, replace(record(3), step=Step.APP))
    assert [item.task_id[-1] for item in journal.replicates(KEY)] == ["3", "1", "2"]


def test_a_forgotten_replicate_is_gone(journal: Journal) -> None:
    journal.save(KEY, record(1))
    journal.forget(KEY, record(1).task_id)
    assert journal.unfinished() == 0


def test_rows_of_another_chain_are_kept_and_counted(journal: Journal) -> None:
    journal.save(OTHER, record(1))
    assert list(journal.replicates(KEY)) == []
    assert journal.foreign(KEY) == {str(OTHER): 1}
    assert journal.unfinished() == 1


def test_replicates_of_every_chain_are_shown_while_no_node_answers(journal: Journal) -> None:
    journal.save(OTHER, record(2))
    journal.save(KEY, record(1))
    assert journal.all_replicates() == [record(2), record(1)]


def test_the_last_configuration_is_recalled(journal: Journal) -> None:
    assert journal.recall(KEY.wallet, "chain") is None
    journal.remember(KEY.wallet, "chain", {"chainId": 1})
    journal.remember(KEY.wallet, "chain", {"chainId": 2})
    assert journal.recall(KEY.wallet, "chain") == {"chainId": 2}


def test_every_commit_reaches_the_disk(path: Path) -> None:
    connection = connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_journal_of_a_newer_version_is_refused_in_words(path: Path) -> None:
    connect(path).execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(JournalError, match="newer iexworker"):
        connect(path)


def test_a_damaged_journal_names_the_file(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be read as one" * 20)
    with pytest.raises(JournalDamaged, match=r"journal\.sqlite.*not a database"):
        connect(path)


def test_a_file_that_cannot_be_opened_is_not_called_damaged(path: Path) -> None:
    path.mkdir()
    with pytest.raises(JournalError, match="it is a folder") as caught:
        connect(path)
    assert not isinstance(caught.value, JournalDamaged)


@pytest.mark.parametrize(
    "state", ["", "[]", "{}", '{"redo": null, "abort_cause": null}', "null", "no JSON"]
)
def test_a_record_that_cannot_be_read_is_damage(path: Path, journal: Journal, state: str) -> None:
    journal.save(KEY, record(1))
    journal.check()
    connect(path).execute("UPDATE replicates SET state=?", (state,))
    with pytest.raises(JournalDamaged, match=record(1).task_id):
        journal.check()
    with pytest.raises(JournalDamaged, match=record(1).task_id):
        list(journal.replicates(KEY))


def test_a_missing_table_is_damage(path: Path, journal: Journal) -> None:
    connect(path).execute("DROP TABLE replicates")
    with pytest.raises(JournalDamaged, match="no table replicates"):
        journal.check()


def test_pages_that_make_no_sense_are_damage(path: Path, journal: Journal) -> None:
    for number in range(60):
        journal.save(KEY, record(number))
    journal.close()
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\xa5" * 8192
    path.write_bytes(content)
    with pytest.raises(JournalDamaged):
        Journal(connect(path)).check()


def test_a_key_counts_as_rebuilt_once_that_is_said(journal: Journal, path: Path) -> None:
    assert journal.rebuilt_at(KEY) is None
    journal.set_rebuilt(KEY, 7)
    again = Journal(connect(path))
    assert again.rebuilt_at(KEY) == 7
    assert again.rebuilt_at(OTHER) is None


def test_a_key_rebuilt_before_nonces_were_kept_still_counts(journal: Journal) -> None:
    journal.set_rebuilt(KEY, 7)
    journal.remember(KEY.wallet, f"rebuilt {KEY}", {})
    assert journal.rebuilt_at(KEY) == 0


def test_a_write_that_fails_is_an_error_of_the_journal(path: Path) -> None:
    connection = sqlite3.connect(path)
    with pytest.raises(JournalError):
        Journal(connection).save(KEY, record(1))
    connection.close()
