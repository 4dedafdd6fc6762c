from __future__ import annotations

import errno
import json
import zipfile
from pathlib import Path

import pytest

from iexworker.compute import output
from iexworker.compute.blame import Trouble
from iexworker.compute.folders import TaskFolder
from iexworker.compute.output import PostComputeFailed
from iexworker.poco.models import Profile
from iexworker.results import archive
from tests.helpers.task_descriptions import TASK, description

HELLO = "0x5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


@pytest.fixture
def folder(tmp_path: Path) -> TaskFolder:
    made = TaskFolder(tmp_path / TASK)
    made.prepare_run()
    return made


def leave(folder: TaskFolder, path: str | None = "/iexec_out/result", **more: str) -> None:
    """Leave what an app that succeeds leaves."""
    (folder.iexec_out / "result").write_bytes(b"hello\n")
    values = {"deterministic-output-path": path, **more}
    (folder.iexec_out / "computed.json").write_text(json.dumps(values))


def cause_of(folder: TaskFolder, **changes: str) -> str:
    with pytest.raises(PostComputeFailed) as caught:
        output.post_compute(folder, description(**changes))
    return caught.value.cause


def test_a_result_is_archived_copied_and_digested(folder: TaskFolder) -> None:
    leave(folder, **{"callback-data": "0x01"})
    assert output.post_compute(folder, description()) == output.Result(HELLO, "0x01")
    with zipfile.ZipFile(folder.archive) as archive:
        assert archive.namelist() == ["computed.json", "result"]
    assert folder.computed_file.read_bytes() == (folder.iexec_out / "computed.json").read_bytes()


def test_a_name_of_31_characters_passes_and_one_of_32_does_not(folder: TaskFolder) -> None:
    leave(folder)
    (folder.iexec_out / ("d" * 40)).mkdir()
    (folder.iexec_out / ("d" * 40) / ("x" * 31)).write_text("")
    assert output.post_compute(folder, description()).digest == HELLO
    (folder.iexec_out / ("d" * 40) / ("x" * 32)).write_text("")
    assert cause_of(folder) == "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME"


def test_a_name_is_measured_in_utf16_units(folder: TaskFolder) -> None:
    leave(folder)
    (folder.iexec_out / ("😀" * 15 + "x")).write_text("")
    output.post_compute(folder, description())
    (folder.iexec_out / ("😀" * 16)).write_text("")
    assert cause_of(folder) == "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME"


def test_a_missing_output_folder_is_an_unknown_issue(folder: TaskFolder) -> None:
    folder.iexec_out.rmdir()
    assert cause_of(folder) == "POST_COMPUTE_FAILED_UNKNOWN_ISSUE"


def test_an_archive_that_cannot_be_written_is_named(folder: TaskFolder) -> None:
    leave(folder)
    folder.archive.mkdir()
    assert cause_of(folder) == "POST_COMPUTE_OUT_FOLDER_ZIP_FAILED"


def test_a_missing_computed_file_is_named(folder: TaskFolder) -> None:
    assert cause_of(folder) == "POST_COMPUTE_SEND_COMPUTED_FILE_FAILED"


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_broken_computed_file_is_named(folder: TaskFolder, content: str) -> None:
    (folder.iexec_out / "computed.json").write_text(content)
    assert cause_of(folder) == "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND"


@pytest.mark.parametrize("path", [None, "/iexec_out/absent", "/../../etc/hostname"])
def test_a_result_without_a_digest_is_named(folder: TaskFolder, path: str | None) -> None:
    leave(folder, path)
    assert cause_of(folder) == "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED"


def test_a_callback_without_data_has_no_digest(folder: TaskFolder) -> None:
    leave(folder)
    assert cause_of(folder, callback="0x" + "77" * 20) == (
        "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED"
    )


def test_streams_that_are_not_empty_become_files(folder: TaskFolder) -> None:
    folder.stream("stdout").write_bytes(b"out\xff")
    folder.stream("stderr").write_bytes(b"")
    output.keep_streams(folder)
    assert (folder.iexec_out / "stdout.txt").read_text() == "out\ufffd"
    assert not (folder.iexec_out / "stderr.txt").exists()


def test_a_link_in_the_place_of_a_stream_is_replaced_not_written_through(
    folder: TaskFolder, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of the host")
    (folder.iexec_out / "stdout.txt").symlink_to(victim)
    folder.stream("stdout").write_bytes(b"out")
    output.keep_streams(folder)
    assert victim.read_text() == "of the host"
    assert (folder.iexec_out / "stdout.txt").read_text() == "out"


def test_a_stream_that_cannot_be_kept_is_no_failure(
    folder: TaskFolder, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.iexec_out / "stdout.txt").mkdir()
    folder.stream("stdout").write_bytes(b"out")
    output.keep_streams(folder)
    assert "stream not kept" in caplog.text


@pytest.mark.parametrize(
    ("profile", "digest"),
    [
        (Profile.V9, "0x6b234cc858ad3404f912dd7f119afe2178251bec64cb25e5cbeba61dd764fc5d"),
        (Profile.V8, "0xb46b470f39c43c347a858b3953dbca528abb5d5faf0c60f6895b4835e7f34993"),
    ],
)
def test_an_error_result_has_the_bytes_of_every_other_worker(
    folder: TaskFolder, profile: Profile, digest: str
) -> None:
    (folder.iexec_out / "left over").write_text("x")
    result = output.error_result(
        folder, description(), profile, "APP_DOWNLOAD_FAILED", "APP_IMAGE_DOWNLOAD_FAILED"
    )
    assert result == output.Result(digest, None)
    left = {path.name for path in folder.iexec_out.iterdir()}
    assert left == {"computed.json", "error.txt"}
    assert folder.archive.exists()


def test_a_callback_task_has_no_error_result(folder: TaskFolder) -> None:
    with pytest.raises(PostComputeFailed) as caught:
        output.error_result(
            folder, description(callback="0x" + "77" * 20), Profile.V9, "APP_DOWNLOAD_FAILED", "X"
        )
    assert caught.value.cause == "POST_COMPUTE_FAILED_UNKNOWN_ISSUE"


def test_a_disk_that_is_full_gives_no_result_at_all(
    folder: TaskFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    leave(folder)
    folder.stream("stdout").write_text("said")
    monkeypatch.setattr(archive, "write", full)
    with pytest.raises(Trouble, match=r"archive: .*No space left"):
        output.post_compute(folder, description())
    monkeypatch.setattr(output, "_copy_stream", full)
    with pytest.raises(Trouble, match=r"stdout of the app: .*No space left"):
        output.keep_streams(folder)
