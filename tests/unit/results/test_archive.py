from __future__ import annotations

import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from iexworker.results import archive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "iexec_out"
    made.mkdir()
    return made


def test_every_file_is_an_entry_in_order_and_no_folder_is(folder: Path, tmp_path: Path) -> None:
    (folder / "b" / "empty").mkdir(parents=True)
    (folder / "b" / "file").write_text("content")
    (folder / "a").write_text("A")
    archive.write(folder, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert packed.namelist() == ["a", "b/file"]
        assert packed.read("b/file") == b"content"
        assert {item.compress_type for item in packed.infolist()} == {zipfile.ZIP_DEFLATED}


def test_a_link_or_a_pipe_becomes_an_empty_entry(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "tree").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    archive.write(folder, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {
            "link": b"",
            "pipe": b"",
            "tree": b"",
        }


def test_the_same_files_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    (folder / "a").write_text("A")
    archive.write(folder, tmp_path / "one.zip")
    os.utime(folder / "a", (1, 1))
    archive.write(folder, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_an_archive_replaces_an_older_one_and_leaves_no_draft(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out.zip").write_text("older")
    archive.write(folder, tmp_path / "out.zip")
    assert zipfile.is_zipfile(tmp_path / "out.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iexec_out", "out.zip"]


def test_a_name_that_is_no_text_is_packed(folder: Path, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_text("x")
    archive.write(folder, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert packed.namelist() == ["\ufffd"]


def test_a_missing_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        archive.write(tmp_path / "absent", tmp_path / "out.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_large_file_is_packed_in_pieces(folder: Path, tmp_path: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    archive.write(folder, tmp_path / "out.zip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
