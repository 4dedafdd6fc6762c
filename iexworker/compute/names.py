"""Names that others rely on: of containers, and of input files inside the app's folder."""

from __future__ import annotations

import hashlib
import re

from iexworker.poco.models import Profile

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
