"""One table of free space: the judge, readiness, demand, downloads and the guide agree."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from pathlib import Path

import pytest

from iexworker.compute.blame import Trouble
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.download import Download
from iexworker.scheduling.probes import HostProbe
from iexworker.shared.thresholds import FreeSpace
from tests.unit.helpers.web_worker import WebWorker

GUIDE = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
GIB = 1024**3
ROW = re.compile(r"\| (?:(\d+) GiB|(\d+) GiB or more) \| (\d+) MiB \| (\d+) MiB \|")


def rows() -> list[tuple[int, int, int]]:
    """Return size in GiB, guard and limit in MiB of each row of the guide's table."""
    return [
        (int(size or least), int(guard), int(needed))
        for size, least, guard, needed in ROW.findall(GUIDE)
    ]


def test_the_guide_has_the_table() -> None:
    assert len(rows()) >= 4
    assert any("or more" in line for line in GUIDE.splitlines() if ROW.search(line))


@pytest.mark.parametrize("row", rows() or [(0, 0, 0)])
def test_each_row_of_the_guide_is_what_the_judge_says(row: tuple[int, int, int]) -> None:
    size, guard, needed = row
    space = FreeSpace(Path("/b"), size * GIB, 0)
    assert (space.guard >> 20, space.needed >> 20) == (guard, needed)
    assert FreeSpace(Path("/b"), size * GIB, space.needed).problem == ""
    assert f"{needed} MiB" in FreeSpace(Path("/b"), size * GIB, space.needed - 1).problem


def test_no_other_number_stands_in_the_guide() -> None:
    assert "512 MiB" not in re.sub(ROW, "", GUIDE)


def test_readiness_and_demand_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = 100 * GIB
    for free, full in ((2 * GIB, False), (2 * GIB - 1, True)):
        usage = (total, total - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, usage=usage: _Usage(*usage))
        worker = WebWorker(tmp_path)
        worker.be_ready()
        probe = HostProbe(worker.board.facts, tmp_path, None, gpu=False, fail_fast=False)  # type: ignore[arg-type]  # disk alone
        demand = probe._look_at_disk()
        answer = worker.get("/actuator/health/readiness").json["components"]["disk"]
        assert bool(demand) is full
        assert answer["details"].get("reason", "") == demand


@pytest.mark.parametrize(("size_gib", "guard_gib"), [(100, 1.0), (10, 0.5)])
def test_a_download_is_ended_at_the_guard(
    size_gib: int, guard_gib: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = int(guard_gib * GIB)
    total = size_gib * GIB
    usage = [_Usage(total, total - free, free)]
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage[0])
    with contextlib.closing(Cancellation()) as cancellation:
        download = Download(time.time() + 60, cancellation, private_allowed=True)
        download._check_room(1, tmp_path / "file")
        usage[0] = _Usage(total, total - free + 1, free - 1)
        with pytest.raises(Trouble, match=f"less than {free} bytes left"):
            download._check_room(1, tmp_path / "file")


class _Usage(tuple[int, int, int]):
    """What `shutil.disk_usage` gives."""

    def __new__(cls, *values: int) -> _Usage:
        return super().__new__(cls, values)

    @property
    def total(self) -> int:
        return self[0]

    @property
    def free(self) -> int:
        return self[2]
