"""What several processes judge by: one number and one sentence for each fact, whoever looks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

PING_FRESH_S = 30.0
"""A scheduler that answered a ping within this time is there."""
HEAD_FRESH_S = 60.0
"""A chain that gave a new block within this time goes on."""

_MIB = 1024 * 1024
_GUARD_BYTES = 1024 * _MIB
_GUARD_PART = 0.05


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Room on the file system of a folder, in bytes."""

    directory: Path
    total: int
    free: int

    @property
    def guard(self) -> int:
        """Below this, what fills the disk has to be stopped: 1 GiB, or 5 % of a small disk."""
        return min(_GUARD_BYTES, int(self.total * _GUARD_PART))

    @property
    def needed(self) -> int:
        """Below this no work is asked for: twice the guard."""
        return 2 * self.guard

    @property
    def problem(self) -> str:
        """Why no work is asked for, empty when there is room."""
        if self.free >= self.needed:
            return ""
        return (
            f"{self.free // _MIB} MiB free under {self.directory}, work is asked for from "
            f"{self.needed // _MIB} MiB on: make room"
        )


def free_space(directory: Path) -> FreeSpace:
    """Look at the folder, or at the nearest above it that exists; raises `OSError`."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    usage = shutil.disk_usage(existing)
    return FreeSpace(directory, usage.total, usage.free)


def head_problem(seen_s: float | None, now_s: float) -> str:
    """Say why the chain does not go on, empty when it does; both instants are of one clock."""
    if seen_s is None:
        return "no block seen yet"
    age_s = now_s - seen_s
    return (
        f"the chain node has given no new block for {age_s:.0f} s" if age_s > HEAD_FRESH_S else ""
    )
