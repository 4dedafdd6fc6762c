from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from iexworker.results import digest

EMPTY_FOLDER = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
HELLO = "0x5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "task" / "output"
    (folder / "iexec_out").mkdir(parents=True)
    (folder / "iexec_out" / "hello").write_bytes(b"hello\n")
    return folder


def test_a_file_gives_its_sha256(output: Path) -> None:
    assert digest.of_path(output, "/iexec_out/hello") == HELLO


def test_a_folder_gives_the_keccak_of_its_files_sha256(tmp_path: Path) -> None:
    folder = tmp_path / "iexec_out"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("A")
    (folder / "computed.json").write_text("{}")
    assert (
        digest.of_path(tmp_path, "/iexec_out")
        == "0xdff83ef8e3cadb52ebe3e30a75678241f96f713886fa71fa460d820ba3a51934"
    )


@pytest.mark.parametrize("path", [None, "", "/iexec_out/absent", "/iexec_out/\0", "iexec_out"])
def test_no_path_and_a_path_to_nothing_have_no_digest(output: Path, path: str | None) -> None:
    with pytest.raises(digest.NoDigest):
        digest.of_path(output, path)


@pytest.mark.parametrize("path", ["/../secret", "/iexec_out/../../secret", "/iexec_out/link", "x"])
def test_a_path_that_leaves_the_output_is_refused(output: Path, path: str) -> None:
    (output.parent / "secret").write_text("of the host")
    (output.parent / "outputx").write_text("beside it")
    (output / "iexec_out" / "link").symlink_to(output.parent / "secret")
    with pytest.raises(digest.NoDigest, match=r"leads out|No such file"):
        digest.of_path(output, path)


def test_a_link_that_stays_inside_is_followed(output: Path) -> None:
    (output / "iexec_out" / "link").symlink_to("hello")
    assert digest.of_path(output, "/iexec_out/link") == HELLO


def test_a_circle_of_links_has_no_digest(output: Path) -> None:
    (output / "iexec_out" / "circle").symlink_to("circle")
    with pytest.raises(digest.NoDigest):
        digest.of_path(output, "/iexec_out/circle")


def test_what_is_no_file_inside_adds_no_byte(output: Path) -> None:
    folder = output / "iexec_out" / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "circle").symlink_to("circle")
    (folder / "out").symlink_to("/etc/hostname")
    assert digest.of_path(output, "/iexec_out/folder") == EMPTY_FOLDER


def test_a_pipe_as_the_result_is_not_waited_for(output: Path) -> None:
    os.mkfifo(output / "iexec_out" / "pipe")
    with pytest.raises(digest.NoDigest):
        digest.of_path(output, "/iexec_out/pipe")


@pytest.mark.parametrize("data", [None, ""])
def test_a_callback_without_data_has_no_digest(data: str | None) -> None:
    with pytest.raises(digest.NoDigest):
        digest.of_callback(data)


def test_a_large_file_is_read_in_pieces(output: Path) -> None:
    with (output / "iexec_out" / "large").open("wb") as file:
        file.truncate(256 << 20)
    tracemalloc.start()
    digest.of_path(output, "/iexec_out/large")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
