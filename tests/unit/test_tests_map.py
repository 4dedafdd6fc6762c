"""tests/README.md leads to every helper, and to nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
MAP = (TESTS / "README.md").read_text(encoding="utf-8")


def helpers() -> list[Path]:
    """Return the modules of all folders of helpers."""
    found = TESTS.glob("**/helpers/*.py")
    return sorted(path for path in found if path.name != "__init__.py")


def test_the_map_names_every_helper() -> None:
    missing = [path for path in helpers() if f"{path.name}`" not in MAP]
    assert helpers() and not missing


def test_all_that_the_map_names_is_there() -> None:
    named = re.findall(r"`((?:\w+/)+[\w-]+\.(?:py|toml))`", MAP)
    places = (TESTS, TESTS.parent / "iexworker")
    missing = [path for path in named if not any((place / path).exists() for place in places)]
    assert named and not missing
