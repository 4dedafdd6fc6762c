from __future__ import annotations

from pathlib import Path

import pytest

from iexworker.settings.sources import masked, read_files, shown
from iexworker.settings.table import registry_entries


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[default]\nport = = 3\n", "is not TOML"),
        (b"[default]\nname = '\xff'\n", "is not TOML"),
        (b"port = 3\n[default]\n", "port outside of a section; expected below [default]"),
        (b"[default.port]\nnumber = 3\n", "[default]: port: expected a plain value, not a table"),
    ],
)
def test_a_broken_file_is_a_problem_that_names_it(
    content: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    problems: list[str] = []

    assert read_files([tmp_path], "production", problems) == {}

    (told,) = problems
    assert told.startswith(str(path))
    assert words in told


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".secrets.toml").mkdir()
    problems: list[str] = []

    assert read_files([tmp_path], "production", problems) == {}
    assert "cannot be read (it is a folder" in problems[0]


def test_a_file_that_cannot_even_be_looked_for_is_a_problem(tmp_path: Path) -> None:
    problems: list[str] = []

    assert read_files([tmp_path / ("x" * 300)], "production", problems) == {}
    assert "settings.toml: cannot be read (its path is too long)" in problems[0]


def test_of_two_folders_the_later_wins_for_the_same_file_name(tmp_path: Path) -> None:
    for name, port in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.toml").write_text(
            f"[default]\nport = {port}\n", encoding="utf-8"
        )
    (tmp_path / "a" / ".secrets.toml").write_text("[default]\nlas_port = 3\n", encoding="utf-8")

    found = read_files([tmp_path / "a", tmp_path / "b"], "production", [])

    assert {key: item.text for key, item in found.items()} == {"port": "2", "las_port": "3"}


def test_credentials_inside_of_a_url_are_hidden() -> None:
    assert masked("http://me:secret@host/a@b") == "http://***@host/a@b"
    assert shown("anything", registry_entries(0)[2]) == "***"


def test_a_value_is_shown_on_one_line_that_any_terminal_can_print() -> None:
    assert masked("a\nb\udcff é") == "a\\nb\\udcff é"
