"""Files that are on the disk when the call returns, whole or not at all.

A file is written beside its place, flushed, renamed over it, and its folder flushed: a power cut
leaves the old content or the new one, never a part.
"""

from __future__ import annotations

import os
from pathlib import Path

_PRIVATE = 0o600


def write(path: Path, data: bytes) -> None:
    """Replace the content of `path` by `data`; raises `OSError`, and then nothing has changed."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's list of names, to the disk; raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
