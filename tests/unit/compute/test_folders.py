from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from iexworker.compute.folders import TaskFolder, make_folder, remove_tree


def test_a_run_begins_with_an_empty_output_and_keeps_the_inputs(tmp_path: Path) -> None:
    folder = TaskFolder(tmp_path / "task")
    folder.prepare_input()
    (folder.input / "data").write_text("x")
    folder.prepare_run()
    folder.archive.write_text("old")
    folder.computed_file.write_text("old")
    (folder.iexec_out / "sub").mkdir()
    folder.prepare_run()
    assert [path.name for path in folder.output.iterdir()] == ["iexec_out"]
    assert list(folder.iexec_out.iterdir()) == []
    assert (folder.input / "data").read_text() == "x"


def test_folders_have_the_engines_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o755


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "file").write_text("kept")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "host")
    (tmp_path / "tree" / "pipe").mkdir()
    os.mkfifo(tmp_path / "tree" / "pipe" / "1")
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "host" / "file").read_text() == "kept"


def test_a_tree_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "tree"
    top.mkdir()
    home = Path.cwd()
    try:
        os.chdir(top)
        for _ in range(1500):
            Path("a-folder").mkdir()
            os.chdir("a-folder")
        Path("file").write_text("deep")
    finally:
        os.chdir(home)
    remove_tree(top)
    assert not top.exists()


def test_names_that_look_like_ours_are_no_trouble(tmp_path: Path) -> None:
    top = tmp_path / "tree"
    for name in ("1", "2", "1/1", "1/2", "2/1/1", "3/x/1/2/3"):
        (top / name).mkdir(parents=True, exist_ok=True)
    remove_tree(top)
    assert not top.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody else for a while")
def test_what_cannot_be_removed_stays_and_all_else_goes() -> None:
    nobody = 65534
    with tempfile.TemporaryDirectory() as home:  # nobody can enter it, unlike `tmp_path`
        top = Path(home, "tree")
        for name in ("a", "b/roots", "c"):
            (top / name).mkdir(parents=True)
            (top / name / "file").write_text("x")
        for path in (Path(home), top, *top.rglob("*")):
            os.chown(path, nobody, nobody)
        os.chown(top / "b" / "roots", 0, 0)
        os.seteuid(nobody)
        try:
            with pytest.raises(PermissionError):
                remove_tree(top)
        finally:
            os.seteuid(0)
        assert [path.name for path in top.rglob("file")] == ["file"]
        remove_tree(top)
        assert not top.exists()
