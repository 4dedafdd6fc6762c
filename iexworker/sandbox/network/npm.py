"""Packages of npm's registry, each known by its version and by the hash of its archive."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from iexworker.errors import SandboxError

LINES_SHOWN = 8

_TOP = "package"
"""The folder in which an archive of npm's has all its files."""


@dataclass(frozen=True, slots=True)
class Package:
    """One published archive."""

    name: str
    version: str
    integrity: str
    """Its SHA-512, as `npm view NAME@VERSION dist.integrity` prints it."""
    megabytes: float
    """The size of the archive, for those who wait for it."""

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def fetch(npm: Path, package: Package, folder: Path) -> Path:
    """Download a package into an empty folder and unpack it; give the folder with its files.

    It is downloaded by `npm pack`: `npm install` would also bring what the package depends on.
    The user's settings of npm count, such as a mirror.

    Raises:
        SandboxError: npm fails, or the archive is not the one that is known.

    """
    options = ["--ignore-scripts", "--no-update-notifier", "--loglevel=error"]
    done = subprocess.run(
        [str(npm), "pack", *options, str(package)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    archives = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        lines = (done.stderr or done.stdout).decode(errors="replace").splitlines()
        said = "\n".join(lines[-LINES_SHOWN:])
        raise SandboxError(f"npm does not fetch {package} (exit code {done.returncode}):\n{said}")
    _require_integrity(archives[0], package)
    with tarfile.open(archives[0]) as archive:
        _safely(archive).extractall(folder)  # noqa: S202 - an archive whose hash is known
    return folder / _TOP


def _require_integrity(archive: Path, package: Package) -> None:
    digest = hashlib.sha512(archive.read_bytes()).digest()
    found = "sha512-" + base64.b64encode(digest).decode()
    if found != package.integrity:
        raise SandboxError(
            f"npm has fetched another {package} than the one that is known: its integrity is "
            f"{found}, not {package.integrity}"
        )


def _safely(archive: tarfile.TarFile) -> tarfile.TarFile:
    """Choose how to unpack; the first releases of Python 3.11 know one way only."""
    if hasattr(tarfile, "data_filter"):
        archive.extraction_filter = tarfile.data_filter
    return archive
