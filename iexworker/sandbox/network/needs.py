"""What the sandbox needs of the machine: looked at before anything is started, all at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from iexworker.errors import SandboxError
from iexworker.sandbox import image
from iexworker.sandbox.network import tools
from iexworker.sandbox.network.tools import Say


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that is not there; `package` is the one of Debian's that brings it, or empty."""

    what: str
    package: str = ""


def provide(profile: str, say: Say) -> None:
    """Fetch what npm has for a profile, unless it is there or the machine lacks something else.

    Raises:
        SandboxError: with all that is missing, and the command that brings it.

    """
    if lacking := list(missing(profile)):
        raise SandboxError(_told(lacking))
    tools.fetch([profile], say)


def missing(profile: str) -> Iterator[Missing]:
    """Look for the programs and the engine; npm is missed only while something is to fetch."""
    if shutil.which("npm") is None and not tools.complete([profile]):
        yield Missing("npm, which fetches anvil and the PoCo contracts", "npm")
    if shutil.which("docker-registry") is None:
        yield Missing("docker-registry, which keeps the apps' images", "docker-registry")
    try:
        image.busybox()
    except SandboxError:
        what = "a static busybox, of which the demo app's image is made"
        yield Missing(what, image.BUSYBOX_PACKAGE)
    try:
        image.engine().close()
    except SandboxError as error:
        yield Missing(str(error), image.engine_package())


def _told(lacking: list[Missing]) -> str:
    lines = ["the sandbox needs what this machine lacks:"]
    lines += [f"  {one.what}" for one in lacking]
    packages = [one.package for one in lacking if one.package]
    if packages:
        lines.append("as root, on Debian and its relatives:")
        lines.append(f"  apt-get install --no-install-recommends {' '.join(packages)}")
        if image.engine_package() and os.getuid() != 0:
            lines.append("  adduser NAME docker   # your name; then log in anew")
    return "\n".join(lines)
