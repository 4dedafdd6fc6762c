"""A journal and task folders that a released version left are read, and their tasks go on.

What must be read is beside each recording, as that version read it (tests/data/README.md).
"""

from __future__ import annotations

import dataclasses
import enum
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from iexworker.core.chainconfig import chain_configuration
from iexworker.core.messages import PublicConfiguration
from iexworker.errors import JournalError
from iexworker.outbox.actions import ActionState
from iexworker.outbox.ledger import Ledger
from iexworker.poco.hashing import result_hash
from iexworker.poco.models import ActionKind, Profile
from iexworker.recovery import task_folders
from iexworker.shared import handoff
from iexworker.task import lifecycle
from iexworker.task.events import DoStep, Observe, Transact
from iexworker.task.journal import (
    JOURNAL_NAME,
    SCHEMA_VERSION,
    JournalKey,
    connect,
    open_journal,
)
from iexworker.task.replicate import Replicate, Step, Work

DATA = Path(__file__).parents[2] / "data"
RELEASES = sorted(path.stem for path in DATA.glob("journal-*.sqlite"))

RENAMED: Mapping[str, str] = {}
"""Attributes that have another name now than in the recordings: what they hold is what counts."""
DROPPED = frozenset({"container_ms"})
"""Fields that a later version does not need: they are read over."""

STEPS_THAT_FAIL = ("start", "app", "data", "compute", "contribute", "upload", "complete")
PLACES = {(step, work) for step in STEPS_THAT_FAIL for work in ("doing", "done", "failed")} | {
    (step, work) for step in ("reveal", "abort") for work in ("doing", "done")
}
"""All that can be persisted: a reveal is never given up, an abort is answered whatever it left."""


class Release:
    """What a worker of a released version left in its folder, as a new one finds it."""

    def __init__(self, name: str, root: Path) -> None:
        recorded = DATA / name
        shutil.copytree(recorded, root, ignore=shutil.ignore_patterns("expected.json"))
        self.root = root
        self.path = root / JOURNAL_NAME
        shutil.copyfile(recorded.with_name(f"{name}.sqlite"), self.path)
        self.expected: dict[str, Any] = json.loads((recorded / "expected.json").read_text())
        self.journal = open_journal(self.path)

    @property
    def keys(self) -> list[tuple[JournalKey, dict[str, Any]]]:
        """Return each chain and wallet, with what is expected of its rows."""
        return [(JournalKey(**item["key"]), item) for item in self.expected["keys"]]

    def replicates(self) -> list[Replicate]:
        return [record for key, _ in self.keys for record in self.journal.replicates(key)]

    def start_again(self) -> None:
        self.journal.close()
        self.journal = open_journal(self.path)


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Release]:
    found = Release(request.param, tmp_path / "worker")
    yield found
    found.journal.close()


def shown(value: object, like: object) -> object:
    """Return `value` as JSON has it: of a dataclass the attributes that `like` names."""
    if dataclasses.is_dataclass(value) and isinstance(like, dict):
        return {
            name: wanted
            if name in DROPPED
            else shown(getattr(value, RENAMED.get(name, name)), wanted)
            for name, wanted in like.items()
        }
    if isinstance(value, list | tuple) and isinstance(like, list):
        return [shown(item, wanted) for item, wanted in zip_longest(value, like)]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    return dict(value) if isinstance(value, Mapping) else value


def compare_replicates(release: Release) -> None:
    for key, expected in release.keys:
        wanted = expected["replicates"]
        found = list(release.journal.replicates(key))
        assert [record.task_id for record in found] == [
            item["authorization"]["task_id"] for item in wanted
        ]
        for record, item in zip(found, wanted, strict=True):
            assert shown(record, item) == item


def compare_ledger(release: Release) -> None:
    with closing(connect(release.path)) as connection:
        for key, expected in release.keys:
            ledger = Ledger(connection, str(key))
            for item in expected["actions"]:
                action = item["action"]
                found = ledger.entry((action["task_id"], ActionKind(action["kind"])))
                assert shown(found, item) == item
            wanted = expected["transactions"]
            assert shown(ledger.transactions(0), wanted) == wanted
            counted = {
                "top_nonce": ledger.top_nonce(),
                "settled_nonce": ledger.settled_nonce(),
                "newest_block": ledger.newest_block(),
                "pending": ledger.pending(),
            }
            assert counted == {name: expected[name] for name in counted}


def compare_configuration(release: Release) -> None:
    for key, expected in release.keys:
        assert release.journal.rebuilt_at(key) == expected["rebuilt_at"]
        for name, wanted in expected["configuration"].items():
            assert release.journal.recall(key.wallet, name) == wanted


def compare_folders(release: Release) -> None:
    assert task_folders.task_folders(release.root) == sorted(release.expected["folders"])
    for task_id, wanted in release.expected["folders"].items():
        folder = release.root / task_id
        order = handoff.read_order(folder)
        assert order is not None
        assert shown(order, wanted["order"]) == wanted["order"]
        for step in handoff.STEPS:
            outcome, item = handoff.read_outcome(folder, step), wanted["outcomes"].get(step)
            assert shown(outcome, item) == item


def test_there_is_a_recording_of_the_released_version() -> None:
    assert "journal-0.1.0" in RELEASES


def test_a_recording_has_an_open_task_at_every_step(release: Release) -> None:
    records = release.replicates()
    for profile in Profile:
        of_profile = [item for item in records if item.profile is profile]
        assert {(item.step.value, item.work.value) for item in of_profile} == PLACES
    assert {item.redo.step.value for item in records if item.redo} == {"app", "data", "compute"}


def test_every_task_of_a_released_version_is_read_whole(release: Release) -> None:
    compare_replicates(release)
    assert release.journal.all_replicates() != []
    assert release.journal.unfinished() == len(release.replicates())


def test_every_transaction_of_a_released_version_is_read_whole(release: Release) -> None:
    compare_ledger(release)


def test_the_terms_that_a_released_version_kept_are_of_use(release: Release) -> None:
    compare_configuration(release)
    used = 0
    for key, expected in release.keys:
        public = release.journal.recall(key.wallet, "public configuration")
        chain = release.journal.recall(key.wallet, "chain configuration")
        if public is None or chain is None:
            continue
        used += 1
        terms = PublicConfiguration.from_json(public["document"])
        assert terms.raw == expected["configuration"]["public configuration"]["document"]
        assert chain_configuration(chain).hub_address == key.hub
        assert chain_configuration(chain).chain_id == key.chain_id
        assert Profile(public["profile"]) in {
            record.profile for record in release.journal.replicates(key)
        }
    assert used > 0


def test_orders_and_outcomes_of_a_released_version_are_read_whole(
    release: Release, caplog: pytest.LogCaptureFixture
) -> None:
    compare_folders(release)
    assert caplog.records == []


def test_a_result_of_a_released_version_can_be_uploaded(release: Release) -> None:
    records = {record.task_id: record for record in release.replicates()}
    with_archive = [task for task, item in release.expected["folders"].items() if item["archive"]]
    assert with_archive != []
    for task_id in with_archive:
        order, digest = handoff.read_order(release.root / task_id), records[task_id].digest
        assert order is not None
        assert digest is not None
        contributed = result_hash(task_id, digest)
        kept = task_folders.kept(release.root / task_id, order.description, contributed)
        assert (kept.digest, kept.uploadable) == (digest, True)


def test_every_task_of_a_released_version_goes_on(release: Release) -> None:
    for record in release.replicates():
        after, effects = lifecycle.resume(record)
        assert after == record
        assert effects != ()
        if record.redo is not None:
            assert DoStep(record.redo.step, record.redo.attempt) in effects
        elif record.work is not Work.DOING:
            assert effects == (Observe(),)
        elif record.step is Step.CONTRIBUTE and record.staked:
            assert Transact(Step.CONTRIBUTE) in effects
        elif record.step is not Step.REVEAL and not record.lost:
            assert DoStep(record.step, record.attempt) in effects


def test_what_a_released_version_wrote_is_kept_when_it_is_written_again(release: Release) -> None:
    for key, expected in release.keys:
        for record in list(release.journal.replicates(key)):
            release.journal.save(key, record)
        for name in expected["configuration"]:
            document = release.journal.recall(key.wallet, name)
            if document is not None:
                release.journal.remember(key.wallet, name, document)
        release.journal.set_rebuilt(key, release.journal.rebuilt_at(key) or 0)
        write_ledger_again(release, key, expected)
    for task_id in release.expected["folders"]:
        write_folder_again(release.root / task_id)
    release.start_again()
    compare_replicates(release)
    compare_ledger(release)
    compare_configuration(release)
    compare_folders(release)


def write_ledger_again(release: Release, key: JournalKey, expected: dict[str, Any]) -> None:
    with closing(connect(release.path)) as connection:
        ledger = Ledger(connection, str(key))
        for item in expected["actions"]:
            entry = ledger.entry((item["action"]["task_id"], ActionKind(item["action"]["kind"])))
            assert entry is not None
            if entry.state is ActionState.OPEN:
                ledger.set_deadline(entry.action)
            else:
                ledger.close(entry)
        for transaction in ledger.transactions(0):
            ledger.sign(transaction)
            ledger.settle(transaction.tx_hash, transaction.state, transaction.block_number)


def write_folder_again(folder: Path) -> None:
    order = handoff.read_order(folder)
    assert order is not None
    handoff.write_order(folder, order)
    for step in handoff.STEPS:
        outcome = handoff.read_outcome(folder, step)
        if outcome is not None:
            handoff.write_outcome(folder, outcome)


def test_nothing_of_a_released_version_is_set_aside(
    release: Release, caplog: pytest.LogCaptureFixture
) -> None:
    release.start_again()
    release.journal.check()
    files = {item.name for item in release.root.iterdir() if item.is_file()}
    assert files <= {JOURNAL_NAME, f"{JOURNAL_NAME}-wal", f"{JOURNAL_NAME}-shm"}
    assert caplog.records == []


def test_a_journal_of_a_later_version_is_refused_and_left_as_it_is(release: Release) -> None:
    release.journal.close()
    with closing(sqlite3.connect(release.path)) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    content = release.path.read_bytes()
    with pytest.raises(JournalError, match="newer iexworker"):
        open_journal(release.path)
    assert release.path.read_bytes() == content
    assert [item.name for item in release.root.glob("journal*")] == [JOURNAL_NAME]


def test_a_field_that_only_a_later_version_knows_does_not_keep_a_task_from_being_read(
    release: Release,
) -> None:
    with closing(connect(release.path)) as connection:
        connection.execute("UPDATE replicates SET state=json_set(state, '$.later', json('[1]'))")
    release.start_again()
    compare_replicates(release)


def test_an_order_or_outcome_with_a_field_of_a_later_version_counts_as_none(
    release: Release, caplog: pytest.LogCaptureFixture
) -> None:
    """The order is read from the chain again, the step done again."""
    task_id, item = next(
        (task_id, item) for task_id, item in release.expected["folders"].items() if item["outcomes"]
    )
    folder, step = release.root / task_id, next(iter(item["outcomes"]))
    order = json.loads(handoff.order_path(folder).read_text())
    order["description"]["later"] = 1
    handoff.order_path(folder).write_text(json.dumps(order))
    outcome = json.loads(handoff.outcome_path(folder, step).read_text())
    handoff.outcome_path(folder, step).write_text(json.dumps({**outcome, "later": 1}))

    assert handoff.read_order(folder) is None
    assert handoff.read_outcome(folder, step) is None
    assert [record.message for record in caplog.records] == [
        "order unreadable",
        "outcome unreadable",
    ]
