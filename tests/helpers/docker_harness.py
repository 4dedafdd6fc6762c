"""A small image, a wallet of one's own and tasks for tests on a real Docker engine.

Containers are labelled with a wallet that no other test has, and only those are removed.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from iexworker.compute import names
from iexworker.compute.engine import ContainerSpec, Engine
from iexworker.poco.models import DealParams, Profile, TaskDescription
from iexworker.settings import model as settings
from iexworker.settings.model import Settings
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.task_descriptions import description

ADDRESS = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
_APPLETS = "sh cat cp dd echo env head kill ln ls mkdir mkfifo printf sleep test touch true yes"
_BUSYBOX = Path("/usr/bin/busybox")
RESULT = 'echo -n A > /iexec_out/r; echo "{\\"deterministic-output-path\\":\\"/iexec_out/r\\"}"'
WRITE_RESULT = f"{RESULT} > /iexec_out/computed.json"
DIGEST_OF_A = "0x" + hashlib.sha256(b"A").hexdigest()


def make_image(engine: Engine) -> str:
    """Import busybox as an image of this run; return its reference."""
    repository, tag = f"iexworker-test-{uuid.uuid4().hex[:12]}", "1"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(_BUSYBOX, "bin/busybox")
        for applet in _APPLETS.split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    engine.client.import_image_from_data(content.getvalue(), repository=repository, tag=tag)
    return f"{repository}:{tag}"


@contextmanager
def image_of_this_run(engine: Engine) -> Iterator[str]:
    """Have the image for the length of a module."""
    reference = make_image(engine)
    yield reference
    engine.client.remove_image(reference, force=True)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine(ADDRESS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def image(engine: Engine) -> Iterator[str]:
    with image_of_this_run(engine) as reference:
        yield reference


@pytest.fixture
def docker_proxy(tmp_path: Path) -> Iterator[FaultProxy]:
    """An engine that can go away and come back, without being touched itself."""
    proxy = FaultProxy(ADDRESS.removeprefix("unix://"), tmp_path / "docker.sock").open()
    yield proxy
    proxy.close()


def new_wallet() -> str:
    """Return a wallet address that nobody else uses."""
    return "0x" + uuid.uuid4().hex + "00000000"


def new_task() -> str:
    """Return a task id that nobody else uses."""
    return "0x" + uuid.uuid4().hex * 2


def remove_containers(engine: Engine, wallet: str) -> None:
    """Remove what a test has left."""
    for found in engine.find({names.LABEL_WALLET: wallet}):
        engine.remove(found.id)


@dataclass(frozen=True, slots=True)
class DockerHarness:
    """Settings of one test's worker and the wallet that it uses."""

    settings: Settings
    wallet: str
    image: str

    @property
    def owner(self) -> names.Owner:
        return names.Owner(self.wallet, self.settings.name, "boot")

    def spec(self, script: str, task_id: str | None = None, attempt: int = 1) -> ContainerSpec:
        """Return a container that runs a shell script."""
        task = task_id or new_task()
        return ContainerSpec(
            name=f"{self.settings.name}-{task}",
            image=self.image,
            labels=names.labels(self.owner, task, "app", attempt),
            command=("/bin/sh", "-c", script),
        )

    def task(self, script: str, **changes: Any) -> TaskDescription:
        """Return a standard task whose app runs a shell script, written without quotes of '."""
        params = DealParams(args=f"/bin/sh -c '{script}'")
        plain = replace(_TASK, task_id=new_task(), app_image=self.image, params=params)
        return replace(plain, **changes)


def make_settings(base_dir: Path, **changes: Any) -> Settings:
    """Return the defaults, in a folder of the test's own."""
    plain = settings.load({}, config_dirs=()).settings
    name = f"test-{uuid.uuid4().hex[:8]}"
    return replace(
        plain,
        base_dir=base_dir,
        name=name,
        docker_host=ADDRESS,
        private_urls_allowed=True,
        developer_logger=False,
        **changes,
    )


_TASK = description(
    task_id="",
    app_image="",
    contribution_deadline_s=int(time.time()) + 3600,
    final_deadline_s=int(time.time()) + 7200,
    params=DealParams(),
)

PROFILES = (Profile.V8, Profile.V9)


def eventually(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for something that another process does."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.02)
