"""Image references, the credentials and the time for a pull, and what is there locally.

docs/spec/06, section 4: the rules decide whether peers pull the same image, so they are kept to
the letter, also where they refuse what the engine would take (no tag, a digest).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iexworker.compute.engine import Engine

if TYPE_CHECKING:
    from iexworker.settings.model import RegistryCredentials

DEFAULT_REGISTRY = "docker.io"

_LOCAL_PREFIXES = ("docker.io/library/", "library/", "docker.io/")


class BadReference(ValueError):
    """The reference names no image that a worker pulls; every worker refuses it."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A reference that can be pulled."""

    registry: str
    """`docker.io`, or the host (and port) as the reference has it."""
    repository: str
    """All before the tag, registry included when it was given."""
    tag: str

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Read `[registry/]path:tag` (section 4.1); raises `BadReference`."""
        repository, colon, tag = text.rpartition(":")
        if not colon or not tag or "/" in tag or "@sha256:" in text:
            raise BadReference(f"image {text!r}: expected a tag, such as in org/app:1.0")
        if "://" in repository:
            raise BadReference(f"image {text!r}: expected no scheme")
        return cls(_registry_of(repository), repository, tag)


def _registry_of(repository: str) -> str:
    host, slash, path = repository.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        return DEFAULT_REGISTRY
    if "index.docker.io" in host or not path:
        raise BadReference(f"image {repository!r}: expected another registry or a path")
    return host


def credentials_for(
    registries: Iterable[RegistryCredentials], registry: str
) -> RegistryCredentials | None:
    """Return the first entry for exactly that registry with user name and password (4.2)."""
    for entry in registries:
        if entry.address == registry and entry.username.strip() and entry.password.strip():
            return entry
    return None


def pull_timeout_s(max_execution_time_s: float, least_s: float, most_s: float) -> float:
    """Return the time for the pull of an app's image (4.3); bounds count in whole minutes.

    Upstream's formula was made for seconds and is fed milliseconds; kept, since peers wait so.
    """
    scale = int(max_execution_time_s * 1000) // 60
    least, most = int(least_s // 60), int(most_s // 60)
    raw = math.floor(10 * math.log10(scale / 10) + 0.5) if scale > 0 else least
    return 60.0 * min(max(raw, least), most)


def local_name(reference: str) -> str:
    """Return the reference as the engine prints it among local tags (4.5)."""
    for prefix in _LOCAL_PREFIXES:
        if reference.startswith(prefix):
            return reference.removeprefix(prefix)
    return reference


def is_present(engine: Engine, reference: str) -> bool:
    """Whether a local image has exactly this tag; raises `DockerError`."""
    name = local_name(reference)
    return name in (engine.image_tags(reference) or ())
