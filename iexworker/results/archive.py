"""The archive of a result: every file of iexec_out, in one order, with bounded memory.

docs/spec/06, section 10: names are relative, folders have no entry, a link becomes an empty
entry and is not followed. Upstream's order and times vary; ours do not, so that the same result
gives the same bytes. A name that is no UTF-8 is written as Java reads it, and two that then are
alike are an error, as in Java.
"""

from __future__ import annotations

import os
import stat
import urllib.parse
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

from iexworker import durable_files, java_text

_CHUNK_BYTES = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o644 << 16
_ASIDE = "not-utf-8"


def write(folder: Path, target: Path, aside: Collection[Path] = ()) -> None:
    """Zip `folder` to `target`, which is on the disk at return; raises `OSError`.

    A file beyond 2 GiB, or many, make it a zip64 archive. The files `aside`, whose names are no
    UTF-8, go to a folder of their own, where they change no digest of another folder.
    """
    draft = target.with_name(target.name + ".new")
    try:
        paths = sorted(entries(folder), key=lambda path: os.fsencode(path))
        names = _names(folder, paths, aside)
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            for path, name in zip(paths, names, strict=True):
                _add(archive, path, name)
        durable_files.sync(draft)
        draft.replace(target)
    except ValueError as error:
        # A name or a size that the format cannot hold.
        raise OSError(str(error)) from error
    finally:
        draft.unlink(missing_ok=True)
    durable_files.sync(target.parent)


def entries(folder: Path) -> Iterator[Path]:
    """Return all below `folder` that is no folder itself, links unfollowed; raises `OSError`."""
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    yield Path(entry.path)


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = _FILE_MODE
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        archive.writestr(entry, b"")
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    entry.file_size = status.st_size
    with os.fdopen(descriptor, "rb") as source, archive.open(entry, "w") as packed:
        while chunk := source.read(_CHUNK_BYTES):
            packed.write(chunk)


def _names(folder: Path, paths: list[Path], aside: Collection[Path]) -> list[str]:
    """Return the name of each path in the archive; raises `OSError` for two that are alike."""
    relative = [java_text.decode(os.fsencode(os.path.relpath(path, folder))) for path in paths]
    if len(set(relative)) < len(relative):
        twice = next(name for name in relative if relative.count(name) > 1)
        raise OSError(f"duplicate entry: {twice!r}")
    place = _ASIDE
    while os.path.lexists(folder / place):
        place += "_"
    return [
        f"{place}/{urllib.parse.quote_from_bytes(os.fsencode(path.name))}"
        if path in aside
        else name
        for path, name in zip(paths, relative, strict=True)
    ]
