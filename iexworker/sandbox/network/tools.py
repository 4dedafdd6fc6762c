"""Programs and files that the sandbox is made of, and that `scripts/setup` fetches."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from iexworker.errors import SandboxError

ENVIRONMENT = "IEXWORKER_SANDBOX_TOOLS"
ANVIL_VERSION = "1.7.1"
POCO_VERSIONS = {"9": "6.1.0", "8": "5.5.0"}
"""The contracts that each profile's scheduler was run with (docs/spec/10, Packages)."""


def folder() -> Path:
    """Give the folder that `scripts/setup` fills: the checkout's `.cache`, or the variable's."""
    chosen = os.environ.get(ENVIRONMENT)
    return Path(chosen) if chosen else Path(__file__).parents[3] / ".cache"


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
        raise SandboxError(
            f"{name} is not installed: run scripts/setup, or install the package {package}"
        )
    return Path(found)


def _found(path: Path) -> Path:
    if path.exists():
        return path
    raise SandboxError(
        f"{path} is missing: run scripts/setup in a checkout of iexworker, "
        f"or let {ENVIRONMENT} name the .cache folder of one"
    )
