"""What readers see of the divergences is what the replays and vectors allow."""

from __future__ import annotations

from pathlib import Path

from tests.wire import divergence_docs
from tests.wire.helpers.divergences import divergences


def test_the_divergences_that_readers_see_are_those_of_the_tests(tmp_path: Path) -> None:
    (tmp_path / "docs" / "spec").mkdir(parents=True)
    divergence_docs.write(tmp_path)

    stale = "stale: run python -m tests.wire.divergence_docs"
    shown = (divergence_docs.ROOT / divergence_docs.TARGET).read_bytes()
    assert shown == (tmp_path / divergence_docs.TARGET).read_bytes(), stale


def test_every_divergence_is_shown_with_its_reason() -> None:
    shown = divergence_docs.markdown()

    for entry in divergences():
        assert f"### {entry.recording}: " in shown
        assert f"| {entry.instead} | {entry.why} |" in shown
    for case in divergence_docs.vector_cases():
        assert f"| {case.case} | {case.reason} |" in shown
