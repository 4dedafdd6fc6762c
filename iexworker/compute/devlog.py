"""The developer log: what a container got, left and said (docs/spec/08, section 7.3)."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from iexworker.compute.folders import TaskFolder

log = logging.getLogger(__name__)

_FRAME = f"{'#' * 20} DEV MODE {'#' * 20}\n"
_RULE = f"{'-' * 20}\n"
_MOST_BYTES = 16 << 20
_MOST_ENTRIES = 10_000


def write(folder: TaskFolder) -> None:
    """Log the folders and the output of a container that has run for the task of `folder`."""
    log.info(
        "developer log [chainTaskId:%s]",
        folder.root.name,
        extra={"text_block": "\n" + block(folder)},
    )


def block(folder: TaskFolder) -> str:
    """Return the framed block of four sections."""
    sections = (
        ("iexec_in folder", tree(folder.input, "iexec_in")),
        ("iexec_out folder", tree(folder.iexec_out, "iexec_out")),
        ("stdout", _content(folder.stream("stdout"))),
        ("stderr", _content(folder.stream("stderr"))),
    )
    texts = (f"{title}\n{_RULE}{content}\n" for title, content in sections)
    return _FRAME + "\n".join(texts) + _FRAME


def tree(root: Path, title: str) -> str:
    """Return a folder's tree, one entry a line; empty for a missing folder."""
    if not root.is_dir():
        return ""
    lines: list[str] = []
    waiting = [(title, root, 0, True)]
    while waiting and len(lines) < _MOST_ENTRIES:
        name, path, depth, is_folder = waiting.pop()
        lines.append(f"{'│   ' * depth}├── {_shown(name)}{'/' if is_folder else ''}\n")
        if is_folder:
            waiting.extend(_children(path, depth + 1))
    return "".join(lines)


def _children(folder: Path, depth: int) -> list[tuple[str, Path, int, bool]]:
    try:
        with os.scandir(folder) as entries:
            return [
                (item.name, Path(item.path), depth, item.is_dir(follow_symlinks=False))
                for item in entries
            ]
    except OSError:
        return []


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace").replace("\n", "\\n")


def _content(path: Path) -> str:
    """Return a stream's text; beyond `_MOST_BYTES` only its end."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _MOST_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
