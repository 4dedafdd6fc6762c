from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from iexworker.settings import docs
from iexworker.settings.model import load
from iexworker.settings.table import TABLE

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["docs/settings.md", "config/settings.toml"])
def test_what_readers_see_is_printed_from_the_table(name: str, tmp_path: Path) -> None:
    for folder in ("docs", "config"):
        (tmp_path / folder).mkdir()
    docs.write(tmp_path)

    stale = "stale: run python -m iexworker.settings.docs"
    assert (ROOT / name).read_bytes() == (tmp_path / name).read_bytes(), stale


def test_the_example_file_with_every_line_in_effect_is_valid(tmp_path: Path) -> None:
    text = docs.toml()
    keys = {entry.key for entry in TABLE}
    lines = (line.removeprefix("# ") for line in text.splitlines())
    active = [line for line in lines if line.partition(" = ")[0] in keys]
    (tmp_path / "settings.toml").write_text("[default]\n" + "\n".join(active), encoding="utf-8")

    found = load({}, config_dirs=[tmp_path])

    assert set(tomllib.loads(text)) == {"default"}
    assert len(active) == len([entry for entry in TABLE if not entry.secret])
    assert found.sources["name"] == f"{tmp_path}/settings.toml [default]: name"
