from __future__ import annotations

import logging
from pathlib import Path

import pytest

from iexworker.compute import devlog
from iexworker.compute.folders import TaskFolder
from tests.helpers.task_descriptions import TASK


@pytest.fixture
def folder(tmp_path: Path) -> TaskFolder:
    made = TaskFolder(tmp_path / TASK)
    made.prepare_run()
    made.stream("stdout").write_text("said\n")
    made.stream("stderr").write_text("")
    return made


def test_the_block_has_four_sections_in_a_frame(folder: TaskFolder) -> None:
    (folder.input / "data").write_text("x")
    (folder.iexec_out / "sub").mkdir()
    (folder.iexec_out / "sub" / "file").write_text("x")
    assert devlog.block(folder) == (
        "#################### DEV MODE ####################\n"
        "iexec_in folder\n"
        "--------------------\n"
        "├── iexec_in/\n"
        "│   ├── data\n"
        "\n"
        "\n"
        "iexec_out folder\n"
        "--------------------\n"
        "├── iexec_out/\n"
        "│   ├── sub/\n"
        "│   │   ├── file\n"
        "\n"
        "\n"
        "stdout\n"
        "--------------------\n"
        "said\n"
        "\n"
        "\n"
        "stderr\n"
        "--------------------\n"
        "\n"
        "#################### DEV MODE ####################\n"
    )


def test_missing_folders_and_streams_are_empty_sections(tmp_path: Path) -> None:
    text = devlog.block(TaskFolder(tmp_path / "absent"))
    assert text.count("--------------------\n\n") == 4


def test_a_link_is_an_entry_and_not_a_folder(folder: TaskFolder) -> None:
    (folder.iexec_out / "link").symlink_to("/etc")
    assert "│   ├── link\n" in devlog.block(folder)


def test_the_event_names_the_task_and_carries_the_block(
    folder: TaskFolder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        devlog.write(folder)
    (record,) = caplog.records
    assert f"[chainTaskId:{TASK}]" in record.getMessage()
    assert getattr(record, "text_block", "").startswith("\n####")
