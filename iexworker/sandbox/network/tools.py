"""What the sandbox is made of and does not bring along: anvil and the PoCo contracts, from npm.

Both are fetched once, into the user's cache, by whoever needs them first.
`python -m iexworker.sandbox.network.tools` fetches all of it ahead, as `scripts/setup` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from iexworker.errors import EXIT_OK, SandboxError
from iexworker.sandbox.network import npm
from iexworker.sandbox.network.npm import Package

Say = Callable[[str], None]
"""Tells the user one line about what is going on."""

ENVIRONMENT = "IEXWORKER_SANDBOX_CACHE"
ANVIL_VERSION = "1.7.1"

_ANVIL = {
    "x86_64": Package(
        "@foundry-rs/anvil-linux-amd64",
        ANVIL_VERSION,
        "sha512-+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/"
        "ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg==",
        18.9,
    ),
    "aarch64": Package(
        "@foundry-rs/anvil-linux-arm64",
        ANVIL_VERSION,
        "sha512-ykHJmFOGdBR8+9smOKBm9ZZDCCCkLQctiHOAddLvmYx9mPeBDMfq6jP51hKYsO5MG8ClPLSlWe+"
        "JpiXPjoXgBQ==",
        18.0,
    ),
}
_POCO = {
    "9": Package(
        "@iexec/poco",
        "6.1.0",
        "sha512-BPbDtf2fgQuotr6rf74ACVdwlKqkErEZ8qLbTWM+2CIBj2EX3+"
        "6KBGWsFoudoOGjgT7vUJ3jeNX8SWvHzSHg6A==",
        0.4,
    ),
    "8": Package(
        "@iexec/poco",
        "5.5.0",
        "sha512-F2Jlhhc4CuTM2nghFQVjK+HGkasvX0OApyPGCB5VDm8XizfHPliw4rL9ABnrVcSl4XXc2FQaoWQfo9T6KpRNLQ==",
        2.1,
    ),
}
POCO_VERSIONS = {profile: package.version for profile, package in _POCO.items()}
"""The contracts that each profile's scheduler was run with (docs/spec/10, Packages)."""

_DRAFT = "draft-npm"
_LOCK = "npm.lock"


@dataclass(frozen=True, slots=True)
class _Part:
    """Something to fetch: `inner` is the folder of its package that becomes `folder`."""

    label: str
    package: Package
    inner: str
    folder: Path
    proof: Path
    """What shows that it is there."""


def folder() -> Path:
    """Give the folder of what is fetched: the variable's, or one in the user's XDG cache."""
    if chosen := os.environ.get(ENVIRONMENT):
        return Path(chosen).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).absolute() / "iexworker"


def anvil() -> Path:
    """Find the development node."""
    return _found(folder() / f"anvil-{ANVIL_VERSION}" / "anvil")


def contracts_folder(profile: str) -> Path:
    """Find the unpacked `@iexec/poco` that goes with a profile."""
    return _found(folder() / f"poco-{POCO_VERSIONS[profile]}")


def program(name: str, package: str) -> Path:
    """Find a program that one of Debian's packages brings."""
    found = shutil.which(name)
    if found is None:
        raise SandboxError(f"{name} is not installed; as root: apt-get install {package}")
    return Path(found)


def complete(profiles: Iterable[str]) -> bool:
    """Tell whether nothing is left to fetch for these profiles."""
    return not list(_missing(profiles))


def fetch(profiles: Iterable[str], say: Say) -> None:
    """Fetch what is not there yet; what has its final name is whole.

    Several processes may ask at once: one fetches, the others wait for it.

    Raises:
        SandboxError: npm is missing or fails, the folder cannot be written.

    """
    profiles = tuple(profiles)
    if complete(profiles):
        return
    cache = folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache, say):
            for part in _missing(profiles):
                _fetch(part, cache / _DRAFT, say)
    except OSError as error:
        raise SandboxError(
            f"{cache} cannot be written ({error}): let {ENVIRONMENT} name another folder"
        ) from error


def _missing(profiles: Iterable[str]) -> Iterator[_Part]:
    node = folder() / f"anvil-{ANVIL_VERSION}"
    if not (node / "anvil").exists():
        yield _Part(f"anvil {ANVIL_VERSION}", _anvil_package(), "bin", node, node / "anvil")
    for profile in profiles:
        package = _POCO[profile]
        place = folder() / f"poco-{package.version}"
        if not place.exists():
            yield _Part(f"the PoCo contracts {package.version}", package, "", place, place)


def _anvil_package() -> Package:
    machine = platform.machine()
    if machine not in _ANVIL:
        raise SandboxError(f"npm has no anvil {ANVIL_VERSION} for this kind of machine ({machine})")
    return _ANVIL[machine]


def _fetch(part: _Part, draft: Path, say: Say) -> None:
    """Fetch into a draft folder first; one that is left there was interrupted."""
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    say(f"fetching {part.label} with npm ({part.package.megabytes:g} MB) into {part.folder}")
    try:
        files = npm.fetch(program("npm", "npm"), part.package, draft) / part.inner
        os.sync()  # or a power cut might leave empty files under the final name
        shutil.rmtree(part.folder, ignore_errors=True)
        files.rename(part.folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def _locked(cache: Path, say: Say) -> Iterator[None]:
    """Let one process at a time fetch."""
    with (cache / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that fetches into {cache}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _found(path: Path) -> Path:
    if path.exists():
        return path
    raise SandboxError(
        f"{path} is missing: `iexworker sandbox up` fetches it (in a checkout: scripts/setup)"
    )


def main() -> int:
    """Fetch everything; returns the exit code."""
    try:
        fetch(_POCO, lambda line: print(line, flush=True))  # noqa: T201 - the terminal is ours
    except SandboxError as error:
        print(error, file=sys.stderr)  # noqa: T201 - as above
        return error.exit_code
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
