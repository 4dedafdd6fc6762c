"""What tests of this folder need of the machine: skipped on a laptop without it, failed in CI."""

from __future__ import annotations

import functools
import os
import shutil

import pytest


@functools.cache
def _docker_problem() -> str:
    from iexworker.errors import SandboxError
    from iexworker.sandbox import image

    try:
        image.engine().close()
    except SandboxError as error:
        return str(error)
    return "" if shutil.which("docker-registry") else "docker-registry is not installed"


@functools.cache
def _chain_problem() -> str:
    from iexworker.errors import SandboxError
    from iexworker.sandbox import tools

    try:
        tools.anvil()
        for profile in tools.POCO_VERSIONS:
            tools.contracts_folder(profile)
    except SandboxError as error:
        return str(error)
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark, problem in (("docker", _docker_problem), ("chain", _chain_problem)):
        if item.get_closest_marker(mark) and (reason := problem()):
            if os.environ.get("CI"):
                pytest.fail(f"CI must have it: {reason}")
            pytest.skip(reason)
