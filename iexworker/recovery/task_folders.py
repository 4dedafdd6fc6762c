"""Reads what task folders still hold when the journal is gone.

A Java worker's folder is as good as ours: it has `output/computed.json`, `output/iexec_out` and
the archive (docs/spec/06, section 2).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iexworker.compute.folders import TaskFolder
from iexworker.poco.hashing import result_hash
from iexworker.poco.models import TaskDescription
from iexworker.results import computed
from iexworker.results.digest import NoDigest
from iexworker.shared import handoff

_TASK_ID = re.compile(r"0x[0-9a-f]{64}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left of a result; a digest only if it is the contributed one."""

    digest: str | None = None
    callback_data: str | None = None
    """Where the deal has a callback."""
    uploadable: bool = False
    """There is what the upload needs: the archive, or the data for the callback."""


def task_folders(root: Path) -> list[str]:
    """Return the tasks that have a folder in `root`."""
    return sorted(
        item.name for item in root.iterdir() if _TASK_ID.fullmatch(item.name) and item.is_dir()
    )


def kept(folder: Path, description: TaskDescription, contributed: str) -> Kept:
    """Look for the result whose hash was `contributed`; reads, and may hash, the whole output."""
    files = TaskFolder(folder)
    found = next(
        (
            result
            for result in _results(files, description)
            if result_hash(description.task_id, result[0]) == contributed
        ),
        None,
    )
    if found is None:
        return Kept()
    digest, callback_data = found
    if description.has_callback:
        return Kept(digest, callback_data, bool(callback_data))
    return Kept(digest, None, files.archive.is_file())


def _results(files: TaskFolder, description: TaskDescription) -> Iterator[tuple[str, str | None]]:
    """Yield digests with their callback data, those that are merely read first."""
    for step in reversed(handoff.STEPS):
        outcome = handoff.read_outcome(files.root, step)
        if outcome is not None and outcome.digest is not None:
            yield outcome.digest, outcome.callback_data
    try:
        file = computed.read(files.computed_file, description.task_id)
        yield computed.result_digest(file, description, files.output), file.callback_data
    except (computed.NoComputedFile, NoDigest) as error:
        log.info("no digest", extra={"task": description.task_id, "error": str(error)})
