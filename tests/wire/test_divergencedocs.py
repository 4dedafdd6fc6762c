"""What readers see of the divergences is what the replays and vectors allow."""

from __future__ import annotations

from pathlib import Path

import divergencedocs
from divergence import divergences


def test_the_divergences_that_readers_see_are_those_of_the_tests(tmp_path: Path) -> None:
    (tmp_path / "docs" / "spec").mkdir(parents=True)
    divergencedocs.write(tmp_path)

    stale = "stale: run python tests/wire/divergencedocs.py"
    shown = (divergencedocs.ROOT / divergencedocs.TARGET).read_bytes()
    assert shown == (tmp_path / divergencedocs.TARGET).read_bytes(), stale


def test_every_divergence_is_shown_with_its_reason() -> None:
    shown = divergencedocs.markdown()

    for entry in divergences():
        assert f"### {entry.recording}: " in shown
        assert f"| {entry.instead} | {entry.why} |" in shown
    for case in divergencedocs.vector_cases():
        assert f"| {case.case} | {case.reason} |" in shown
