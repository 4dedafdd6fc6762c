"""The chain's state on disk, from which the next start of its node goes on.

Two files, because the node overwrites the one that it dumps to in place: killed meanwhile it leaves
a part of it, and the state that it was started with is still whole.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_WHOLE_END = b'"historical_states":null}'
"""What a dump of this node ends with; reading all of it would take seconds after a day."""


@dataclass(frozen=True, slots=True)
class ChainState:
    """The state files of one chain in a folder of their own."""

    folder: Path

    @property
    def dumped(self) -> Path:
        """What the node writes, at intervals and when it is stopped."""
        return self.folder / "state.json"

    @property
    def started(self) -> Path:
        """What the node was started with last."""
        return self.folder / "started.json"

    def begin(self, snapshot: Path) -> None:
        """Begin a new chain with a snapshot; forget the one that was there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.dumped.unlink(missing_ok=True)
        shutil.copy(snapshot, self.started)

    def latest(self) -> Path:
        """Give the newest whole state, to start the node with."""
        if self.is_torn():
            self.dumped.unlink()
        elif self.dumped.exists():
            self.dumped.replace(self.started)
        return self.started

    def is_torn(self) -> bool:
        """Whether the last dump was written in part only."""
        if not self.dumped.exists():
            return False
        with self.dumped.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_WHOLE_END)))
            return file.read() != _WHOLE_END
