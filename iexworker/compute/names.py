"""Names and labels of containers, and names of input files inside the app's folder.

Whose container it is, is read from its labels and never guessed from a name. Apps cannot see them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from iexworker.poco.models import Profile

LABEL_WALLET = "iexworker.wallet"
LABEL_WORKER = "iexworker.worker"
LABEL_TASK = "iexworker.task"
LABEL_STAGE = "iexworker.stage"
LABEL_BOOT = "iexworker.boot"
"""The start of the tree under which the container was made."""
LABEL_ATTEMPT = "iexworker.attempt"
"""The attempt at the compute step that it belongs to: no other attempt takes it up."""

_NOT_IN_CONTAINER_NAMES = re.compile(r"[^a-zA-Z0-9_.-]")
_MOST_BYTES = 255


class BadInputName(ValueError):
    """An input file's location gives no name that a file can have."""


def container_name(worker: str, task_id: str, stage: str = "app") -> str:
    """Return `<worker>-<task>`, or `<worker>-<task>-tee-<stage>-compute` (docs/spec/02, 5.4).

    Characters that the engine refuses become dashes: upstream, such a worker computes nothing.
    """
    name = f"{worker}-{task_id}" + ("" if stage == "app" else f"-tee-{stage}-compute")
    name = _NOT_IN_CONTAINER_NAMES.sub("-", name)
    return name if name[0].isalnum() else f"w{name}"


def input_file_name(uri: str | None, profile: Profile) -> str:
    """Return an input file's name in `/iexec_in` (docs/spec/06, section 5.2).

    Profile 9: 0x and the SHA-256 of the location's text. Profile 8: the last component of that
    text read as a path, query included. Raises `BadInputName`.
    """
    if uri is None:
        raise BadInputName("an input file's location is null")
    if profile is Profile.V9:
        return "0x" + hashlib.sha256(uri.encode("utf-8", "replace")).hexdigest()
    return _last_component(uri)


def _last_component(uri: str) -> str:
    name = uri.rstrip("/").rpartition("/")[2]
    if name in ("", ".", "..") or "\0" in name:
        raise BadInputName("an input file's location ends without a file name")
    if len(name.encode("utf-8", "surrogatepass")) > _MOST_BYTES:
        raise BadInputName(f"an input file's name has more than {_MOST_BYTES} bytes")
    return name


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose containers these are."""

    wallet: str
    """Lower case; never empty, or the containers of all workers would be ours."""
    worker: str
    boot_id: str


def labels(owner: Owner, task_id: str, stage: str, attempt: int) -> dict[str, str]:
    """Return the labels of a container of `stage`: pre, app or post."""
    return {
        LABEL_WALLET: owner.wallet,
        LABEL_WORKER: owner.worker,
        LABEL_BOOT: owner.boot_id,
        LABEL_TASK: task_id,
        LABEL_STAGE: stage,
        LABEL_ATTEMPT: str(attempt),
    }
