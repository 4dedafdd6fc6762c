"""The entries of divergences.toml, and the recordings that they amend."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.wire.helpers.divergences import Divergence, amend, divergences
from tests.wire.helpers.run_script import RUNS, WIRE, recorded, script


def test_every_standard_recording_is_replayed() -> None:
    names = {path.stem for path in WIRE.glob("*.json")}
    standard = {name for name in names if "-tee-" not in name and "-return-" not in name}

    assert standard == {name for run in RUNS.values() for name in run}


@pytest.mark.parametrize("run", RUNS)
def test_every_recorded_event_is_due_once(run: str) -> None:
    recordings = recorded(run)
    due = list(script(run, recordings).events())
    places = [event.where for event in due]

    assert len(set(places)) == len(places)
    for name, offset_s in RUNS[run].items():
        for event in recordings[name]:
            moved = replace(event, at_s=event.at_s + offset_s)
            assert event.where in places or any(map(moved.same_as, due)), event.where


def test_every_divergence_says_why() -> None:
    for entry in divergences():
        assert re.search(r"\b(H\d+|0[2-9] section [\d.]+, \w+)", entry.why), entry
        assert len(entry.instead) >= len("nothing"), entry


def test_a_divergence_that_changes_nothing_is_refused() -> None:
    idle = Divergence("9.2-standard", (3,), "no reason", "the same", fields={"success": True})

    with pytest.raises(ValueError, match="changes nothing"):
        amend(idle, recorded("9.2"))


def test_a_divergence_from_what_no_worker_sent_is_refused() -> None:
    pushed = Divergence("9.2-standard", (2, 12), "no reason", "nothing", unsent=True)

    with pytest.raises(ValueError, match=r"no request of a worker: 9.2-standard\[12\]"):
        amend(pushed, recorded("9.2"))
