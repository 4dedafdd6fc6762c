"""Why a file or folder that an operator named cannot be used, and what helps: words for `OSError`.

One error number has many causes: a missing file may be a link that leads nowhere, a refusal may
come from a folder far above. So the path is looked at again, from its top.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
"""Errors that go by themselves when somebody makes room."""


def why(path: Path, error: OSError, *, given: bool = False) -> str:
    """Return a clause about `path`, "it": what is wrong, and what to do where that is known.

    `given`: the file is the operator's, who may have mounted it.
    """
    number = error.errno
    if number == errno.ENOENT:
        return _missing(path)
    if number in (errno.ENOTDIR, errno.EEXIST):
        return _in_the_way(path)
    if number in (errno.EACCES, errno.EPERM):
        return _denied(path)
    known = {
        errno.EISDIR: "it is a folder: "
        + ("Docker makes one where the file to mount is missing; " if given else "")
        + "remove it"
        + (" and put the file there" if given else ""),
        errno.ELOOP: "its path has links that lead in a circle",
        errno.ENAMETOOLONG: "its path is too long",
        errno.ENOSPC: "its file system is full: make room, for files too (df -h, df -i)",
        errno.EDQUOT: "its file system is full for this user: raise the quota, or make room",
        errno.EROFS: "its file system is read-only: mount it for writing, or name another folder",
    }
    return known.get(
        number or 0, f"{error.strerror or error}: look at the disk, or at the network share"
    )


def _from_the_top(path: Path) -> Iterator[Path]:
    yield from reversed(path.parents)
    yield path


def _said_of(item: Path, path: Path) -> str:
    return "it" if item == path else str(item)


def _missing(path: Path) -> str:
    for item in _from_the_top(path):
        if os.path.lexists(item):
            if item.exists():
                continue
            return (
                f"{_said_of(item, path)} is a link to {item.readlink()}, and there is nothing there"
            )
        if item != path:
            return f"there is no folder {item}"
    return "there is no such file"


def _in_the_way(path: Path) -> str:
    for item in _from_the_top(path):
        if item.is_symlink() and not item.exists():
            return _missing(item).replace("it ", f"{_said_of(item, path)} ", 1)
        if item.exists() and not item.is_dir():
            return f"{_said_of(item, path)} is a file, not a folder"
    return "something else has its name"


def _denied(path: Path) -> str:
    for folder in reversed(path.parents):
        if folder.exists() and not _allowed(folder, os.X_OK):
            return _refused(folder, "entered", "x")
    if not path.exists():
        nearest = next(folder for folder in path.parents if folder.exists())
        return _refused(nearest, "written to", "w")
    if not _allowed(path, os.R_OK):
        return _refused(path, "read", "r").replace(f"{path} ", "it ", 1)
    if not _allowed(path, os.W_OK):
        return _refused(path, "written to", "w").replace(f"{path} ", "it ", 1)
    return (
        f"user {os.geteuid()} is refused although its permissions allow it: look at SELinux or "
        "AppArmor, or at the network share"
    )


def _allowed(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


def _refused(path: Path, done: str, letter: str) -> str:
    try:
        status = path.stat()
    except OSError:
        whose = ""
    else:
        whose = f" (of user {status.st_uid}, mode {stat.S_IMODE(status.st_mode):o})"
    return (
        f"{path} may not be {done} by user {os.geteuid()}{whose}: chown it, or chmod +{letter} it, "
        "for the worker's user"
    )
