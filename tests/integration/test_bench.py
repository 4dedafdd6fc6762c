"""`scripts/bench` prints figures beside their bars, as a table and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("unmeasured")

REPOSITORY = Path(__file__).parents[2]


def test_the_ring_is_measured_beside_its_bars(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "ring", "--json", str(file)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "a duration recorded in the ring" in done.stdout
    assert "<= 1" in done.stdout
    document = json.loads(file.read_text())
    assert [figure["name"] for figure in document["figures"]] == [
        "record",
        "statistics",
        "cold_read",
    ]
    assert all(figure["value"] > 0 for figure in document["figures"])
    assert document["machine"]["cpus"] >= 1


def test_a_missed_bar_fails_only_a_strict_run() -> None:
    program = (
        "from benchmarks import __main__, rings\n"
        "rings.measure = lambda: {'record': 2.0}\n"
        "print([__main__.main(['--only', 'ring', *more]) for more in ([], ['--strict'])])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[0, 1]\n")
    assert "missed" in done.stdout
