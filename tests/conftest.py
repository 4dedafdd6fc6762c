"""What every test relies on, and what some need of the machine.

Tests marked `docker` or `chain` are skipped on a laptop without either. In CI a skip is a failure.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import eth_account  # noqa: F401 - imported here, once, so that no test's import raises the limit again
import pytest

from iexworker import error_words, outage
from iexworker.chain.lean_web3 import restore_limit

restore_limit()

# What scripts/setup fetches is in the checkout.
os.environ.setdefault("IEXWORKER_SANDBOX_CACHE", str(Path(__file__).parents[1] / ".cache"))

# What these modules assert is to be explained like what a test asserts.
pytest.register_assert_rewrite(
    "tests.helpers",
    *(
        f"tests.{suite}.helpers"
        for suite in ("unit", "wire", "hazards", "field", "integration", "arbitrum")
    ),
)


@pytest.fixture(scope="module")
def unmeasured() -> Iterator[None]:
    """Measure no coverage in the processes that the module starts: it makes them slow."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS_")]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _peers_unknown() -> None:
    """Have no peer known to be out of service, nor any port to speak what it does not now."""
    outage.forget()
    error_words.forget()


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
    from iexworker.sandbox.network import tools

    try:
        tools.anvil()
        for profile in tools.POCO_VERSIONS:
            tools.contracts_folder(profile)
    except SandboxError as error:
        return str(error)
    return ""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say how to try the same chaos tests again; a quiet pytest has no header for it."""
    from tests.helpers import seed

    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and any("chaos" in argument for argument in session.config.args):
        reporter.write_line(f"chaos tests of seed {seed.SEED} ({seed.VARIABLE} sets it)")


def pytest_runtest_setup(item: pytest.Item) -> None:
    grouped = getattr(item.config.option, "loadgroup", False)
    if grouped and item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
        # pytest-xdist names the group in the test's id, which pytest 9.2 does not let it do.
        pytest.fail("not kept with its group: each lane would start every network")
    for mark, problem in (("docker", _docker_problem), ("chain", _chain_problem)):
        if item.get_closest_marker(mark) and (reason := problem()):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"CI must have what it takes: {report.longreprtext}"
    return report
