from __future__ import annotations

import os
from pathlib import Path

import pytest

from iexworker.errors import SandboxError
from iexworker.sandbox.network import npm
from iexworker.sandbox.network.npm import Package
from tests.unit.helpers import fake_npm


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    (tmp_path / "draft").mkdir()
    return tmp_path / "draft"


def test_a_package_is_packed_and_unpacked(tmp_path: Path, draft: Path) -> None:
    integrity = fake_npm.archive(tmp_path / "it.tgz", {"bin/tool": b"run me"}, mode=0o755)
    asked = tmp_path / "asked"
    program = fake_npm.npm(tmp_path / "bin", f'echo "$@" >{asked}; cp {tmp_path}/it.tgz .')

    files = npm.fetch(program, Package("@of/it", "1.2", integrity, 0.1), draft)

    assert (files / "bin" / "tool").read_bytes() == b"run me"
    assert os.access(files / "bin" / "tool", os.X_OK)
    words = asked.read_text().split()
    assert words[0] == "pack"
    assert words[-1] == "@of/it@1.2"
    assert "--ignore-scripts" in words


def test_another_archive_than_the_known_one_is_refused(tmp_path: Path, draft: Path) -> None:
    known = fake_npm.archive(tmp_path / "known.tgz", {"a": b"good"})
    found = fake_npm.archive(tmp_path / "other.tgz", {"a": b"evil"})
    program = fake_npm.npm(tmp_path / "bin", f"cp {tmp_path}/other.tgz .")

    with pytest.raises(SandboxError) as caught:
        npm.fetch(program, Package("@of/it", "1.2", known, 0.1), draft)

    assert "another @of/it@1.2 than the one that is known" in str(caught.value)
    assert f"{found}, not {known}" in str(caught.value)
    assert not (draft / "package").exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo no such version >&2; exit 3", r"@of/it@1.2 \(exit code 3\):\nno such version"),
        ("echo nothing to do", r"\(exit code 0\):\nnothing to do"),
    ],
)
def test_a_failure_of_npm_is_told_in_its_words(
    tmp_path: Path, draft: Path, script: str, words: str
) -> None:
    program = fake_npm.npm(tmp_path / "bin", script)

    with pytest.raises(SandboxError, match=words):
        npm.fetch(program, Package("@of/it", "1.2", "sha512-", 0.1), draft)
