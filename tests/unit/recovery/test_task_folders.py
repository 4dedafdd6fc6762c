from __future__ import annotations

from pathlib import Path

import pytest

from iexworker.compute.folders import TaskFolder
from iexworker.compute.output import post_compute
from iexworker.poco.hashing import keccak, result_hash
from iexworker.recovery import task_folders
from iexworker.recovery.task_folders import Kept
from iexworker.shared.handoff import StepOutcome, write_outcome
from tests.unit.helpers.recovery_data import DIGEST, OTHER_DIGEST, TASK, describe

HASH = result_hash(TASK, DIGEST)


@pytest.fixture
def files(tmp_path: Path) -> TaskFolder:
    files = TaskFolder(tmp_path / TASK)
    files.prepare_run()
    return files


def compute(files: TaskFolder) -> str:
    """Make a result as any worker does, and return its digest."""
    (files.iexec_out / "result.txt").write_text("42")
    (files.iexec_out / "computed.json").write_text(
        '{"deterministic-output-path": "/iexec_out/result.txt"}'
    )
    return post_compute(files, describe()).digest


def outcome(files: TaskFolder, step: str, digest: str | None, callback: str | None = None) -> None:
    found = StepOutcome(TASK, step, 1, ok=True, digest=digest, callback_data=callback)
    write_outcome(files.root, found)


def test_only_folders_named_like_tasks_are_task_folders(tmp_path: Path) -> None:
    (tmp_path / TASK).mkdir()
    (tmp_path / TASK[:-1]).mkdir()
    (tmp_path / "logs").mkdir()
    (tmp_path / ("0x" + "1" * 64)).write_text("a file")
    assert task_folders.task_folders(tmp_path) == [TASK]


@pytest.mark.parametrize("step", ["app", "data", "compute"])
def test_the_digest_of_an_outcome_is_kept_when_it_is_the_contributed_one(
    files: TaskFolder, step: str
) -> None:
    outcome(files, step, DIGEST)
    assert task_folders.kept(files.root, describe(), HASH) == Kept(DIGEST)
    files.archive.write_bytes(b"zip")
    assert task_folders.kept(files.root, describe(), HASH) == Kept(DIGEST, None, uploadable=True)


@pytest.mark.parametrize("found", [OTHER_DIGEST, None])
def test_a_digest_of_another_result_is_not_kept(files: TaskFolder, found: str | None) -> None:
    outcome(files, "compute", found)
    files.archive.write_bytes(b"zip")
    assert task_folders.kept(files.root, describe(), HASH) == Kept()


def test_what_a_java_worker_left_is_as_good_as_ours(files: TaskFolder) -> None:
    digest = compute(files)
    kept = task_folders.kept(files.root, describe(), result_hash(TASK, digest))
    assert kept == Kept(digest, None, uploadable=True)


def test_an_output_that_has_changed_since_is_not_taken(files: TaskFolder) -> None:
    digest = compute(files)
    (files.iexec_out / "result.txt").write_text("43")
    assert task_folders.kept(files.root, describe(), result_hash(TASK, digest)) == Kept()


def test_callback_data_is_all_that_its_upload_needs(files: TaskFolder) -> None:
    data = "0x" + "ab" * 32
    digest = "0x" + keccak(bytes.fromhex(data[2:])).hex()
    files.computed_file.write_text(f'{{"callback-data": "{data}"}}')
    task = describe(callback="0x" + "0c" * 20)
    kept = task_folders.kept(files.root, task, result_hash(TASK, digest))
    assert kept == Kept(digest, data, uploadable=True)
    outcome(files, "compute", digest)  # without the data the digest alone cannot be uploaded
    kept = task_folders.kept(files.root, task, result_hash(TASK, digest))
    assert kept == Kept(digest, None, uploadable=False)


def test_a_folder_that_is_gone_or_full_of_rubbish_keeps_nothing(tmp_path: Path) -> None:
    assert task_folders.kept(tmp_path / TASK, describe(), HASH) == Kept()
    files = TaskFolder(tmp_path / TASK)
    files.prepare_run()
    files.computed_file.write_bytes(b"\x00rubbish")
    (files.root / "outcome-compute.json").write_text('{"digest": 7}')
    assert task_folders.kept(files.root, describe(), HASH) == Kept()
