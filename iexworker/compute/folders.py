"""The folder of one task, and what the worker does in it (docs/spec/06, section 2).

Apps own what is in `input` and `output/iexec_out` while they run and may leave anything there:
links that lead out, trees too deep for a path, pipes. Nothing here follows a link of theirs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PUBLIC = 0o755
"""As the engine creates missing bind sources: what an app may write must not differ by worker."""


@dataclass(frozen=True, slots=True)
class TaskFolder:
    """The places of one task; `root` is `<base>/<worker>/<task id>`."""

    root: Path

    @property
    def input(self) -> Path:
        """Bound to /iexec_in."""
        return self.root / "input"

    @property
    def output(self) -> Path:
        """What a `deterministic-output-path` is relative to; itself never seen by the app."""
        return self.root / "output"

    @property
    def iexec_out(self) -> Path:
        """Bound to /iexec_out."""
        return self.output / "iexec_out"

    @property
    def archive(self) -> Path:
        """The result as it is uploaded; its presence means that a result is available."""
        return self.output / "iexec_out.zip"

    @property
    def computed_file(self) -> Path:
        """Our copy of what the app wrote to /iexec_out/computed.json."""
        return self.output / "computed.json"

    @property
    def download(self) -> Path:
        """Where a download grows before it is an input."""
        return self.root / "download.part"

    @property
    def input_used(self) -> Path:
        """There from the first start of an app on: it may have changed its inputs."""
        return self.root / "input-used"

    def stream(self, name: str) -> Path:
        """Return where the app's `stdout` or `stderr` is kept, outside of what it sees."""
        return self.root / f"app.{name}"

    def prepare_input(self) -> None:
        """Make an empty input folder; raises `OSError`."""
        remove_tree(self.input)
        self.input_used.unlink(missing_ok=True)
        make_folder(self.input)

    def prepare_output(self) -> None:
        """Make an empty output folder, so that nothing of an earlier run is taken for a result."""
        remove_tree(self.output)
        make_folder(self.iexec_out)

    def prepare_run(self) -> None:
        """Make both folders ready for a new app container; raises `OSError`."""
        make_folder(self.input)
        self.prepare_output()


def make_folder(path: Path) -> None:
    """Create a folder and its parents with the mode that apps expect, whatever the umask."""
    path.mkdir(mode=_PUBLIC, parents=True, exist_ok=True)
    path.chmod(_PUBLIC)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, however deep; a missing one is fine.

    Sub-folders are moved to the top and emptied there, so that no path grows longer than the
    system takes and no recursion deeper than Python's; links are removed, not followed. What
    cannot be removed stays, and all else goes; then the first `OSError` is raised.
    """
    if not os.path.lexists(path):
        return
    removal = _Removal()
    serial = 0
    stubborn: set[Path] = set()
    while folders := set(removal.without_files(path)) - stubborn:
        for folder in folders:
            for child in removal.without_files(folder):
                serial = _free_serial(path, serial)
                removal.attempt(child.rename, path / str(serial))
            if not removal.attempt(folder.rmdir):
                stubborn.add(folder)
    if removal.failure is not None:
        raise removal.failure
    path.rmdir()


class _Removal:
    """Goes on past what it cannot remove, and remembers the first failure."""

    def __init__(self) -> None:
        self.failure: OSError | None = None

    def attempt(self, action: Callable[..., object], *arguments: object) -> bool:
        """Return whether it was done."""
        try:
            action(*arguments)
        except OSError as error:
            self.failure = self.failure or error
            return False
        return True

    def without_files(self, folder: Path) -> list[Path]:
        """Remove what is no folder, and return the folders."""
        found: list[Path] = []
        self.attempt(self._sweep, folder, found)
        return found

    def _sweep(self, folder: Path, found: list[Path]) -> None:
        with os.scandir(folder) as entries:
            inside = [(Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries]
        for path, is_folder in inside:
            if is_folder:
                found.append(path)
            else:
                self.attempt(path.unlink)


def _free_serial(folder: Path, serial: int) -> int:
    serial += 1
    while os.path.lexists(folder / str(serial)):
        serial += 1
    return serial
