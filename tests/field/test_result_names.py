"""Names and paths of a result that are no UTF-8, or lead over dots, count as they count in Java."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from iexworker.compute import output
from iexworker.compute.folders import TaskFolder
from iexworker.compute.output import PostComputeFailed
from iexworker.results import archive, digest
from iexworker.sandbox.proxy.archives import result_digest
from tests.helpers.task_descriptions import TASK, description
from tests.vectors.helpers.loader import raw_cases

CASES = [pytest.param(case, id=case["name"]) for case in raw_cases("field-result-names")]


@pytest.fixture
def folder(tmp_path: Path) -> TaskFolder:
    made = TaskFolder(tmp_path / TASK)
    made.prepare_run()
    return made


def leave(folder: TaskFolder, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder.iexec_out / os.fsdecode(name.encode("latin-1"))
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("case", CASES)
def test_the_digest_is_the_one_that_java_gives(folder: TaskFolder, case: dict[str, Any]) -> None:
    leave(folder, case["input"]["files"])
    try:
        value = digest.of_path(folder.output, case["input"]["path"])
    except digest.NoDigest:
        assert case["expected"]["digest"] is None
    else:
        assert value == case["expected"]["digest"]


@pytest.mark.parametrize("case", CASES)
def test_the_archive_has_the_names_that_java_writes_or_cannot_be_made(
    folder: TaskFolder, case: dict[str, Any]
) -> None:
    leave(folder, case["input"]["files"])
    try:
        archive.write(folder.iexec_out, folder.archive)
    except OSError:
        assert case["expected"]["archive"] is None
    else:
        with zipfile.ZipFile(folder.archive) as made:
            assert sorted(made.namelist()) == case["expected"]["archive"]


LATIN_1 = {
    "result.txt": "hi\n",
    "caf\xe9.txt": "x",
    "computed.json": '{"deterministic-output-path":"/iexec_out"}',
}


def test_the_proxy_finds_the_digest_of_a_folder_with_such_a_name_and_the_file_is_kept(
    folder: TaskFolder,
) -> None:
    leave(folder, LATIN_1)
    made = output.post_compute(folder, description())
    assert made.digest == "0x42d32efcdcdd43aa7169d7dd2b8d12d175f1de5a856127d998adac395bdc8891"
    assert result_digest(folder.archive.read_bytes(), has_callback=False) == made.digest
    with zipfile.ZipFile(folder.archive) as packed:
        assert packed.read("not-utf-8/caf%E9.txt") == b"x"
        assert set(packed.namelist()) == {"computed.json", "result.txt", "not-utf-8/caf%E9.txt"}


def test_two_names_that_read_alike_end_the_task_as_in_java(folder: TaskFolder) -> None:
    leave(folder, {**LATIN_1, "caf\xe8.txt": "y"})
    with pytest.raises(PostComputeFailed) as caught:
        output.post_compute(folder, description())
    assert caught.value.cause == "POST_COMPUTE_OUT_FOLDER_ZIP_FAILED"


def test_a_name_is_as_long_as_java_counts_it(folder: TaskFolder) -> None:
    """Half of a surrogate pair, three bytes, is one character to Java."""
    leave(folder, {**LATIN_1, "a" * 30 + "\xed\xa0\x80": "y"})
    output.post_compute(folder, description())
    leave(folder, {"\xe9" * 32: "z"})
    with pytest.raises(PostComputeFailed) as caught:
        output.post_compute(folder, description())
    assert caught.value.cause == "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME"
