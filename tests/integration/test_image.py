"""The worker's image, built without any registry, and run by deploy/compose/compose.yaml."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from iexworker.sandbox import image
from iexworker.sandbox.demo.worker import docker_network
from tests.helpers.live_worker import LiveSandbox, eventually
from tests.integration.helpers.deployed_worker import (
    CHECKOUT,
    DEPLOY,
    DeployedWorker,
    compose_command,
)

MOST_BYTES = 220_000_000
"""With Debian's Python below; what it really has, scripts/image prints."""

pytestmark = [
    pytest.mark.docker,
    pytest.mark.chain,
    pytest.mark.timeout(540),
    pytest.mark.xdist_group("image"),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    engine = image.engine()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def reference(unmeasured: None, engine: docker.DockerClient) -> Iterator[str]:
    reference = f"iexworker-test:{uuid.uuid4().hex[:12]}"
    built = subprocess.run(
        [str(CHECKOUT / "scripts" / "image"), "--tag", reference], capture_output=True, text=True
    )
    if built.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"the image cannot be built here: {built.stderr}")
    assert built.returncode == 0, built.stdout + built.stderr
    assert f"{reference} has " in built.stdout
    yield reference
    engine.images.remove(reference)


class ComposedWorker(DeployedWorker):
    """The worker of compose.yaml, in a project of its own."""

    def __init__(self, sandbox: LiveSandbox, reference: str, folder: Path) -> None:
        name = f"iexworker-test-{uuid.uuid4().hex[:8]}"
        super().__init__(
            sandbox,
            name,
            IEXEC_WORKER_PORT="13100",
            IEXEC_WORKER_DOCKER_NETWORK_NAME=name,
            COMPOSE_PROJECT_NAME=name,
            WORKER_IMAGE=reference,
            WALLET_FILE=str(sandbox.network.keystore_path("worker1")),
        )
        self.folder = folder
        compose = (DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8")
        # Any port of this host: a test does not own 13100.
        published = "${IEXEC_WORKER_PORT:-13100}:${IEXEC_WORKER_PORT:-13100}"
        assert published in compose
        folder.joinpath("compose.yaml").write_text(compose.replace(published, "13100"))
        self.write_variables(folder / ".env")

    def compose(self, *words: str) -> None:
        command = compose_command()
        assert command is not None, "neither `docker compose` nor docker-compose is installed"
        done = subprocess.run([*command, *words], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def container(self) -> Any:
        return self.sandbox.engine.containers.get(self.name)

    def inside(self, *command: str) -> tuple[int, str]:
        """Run a command in the container; return its exit code and words."""
        code, words = self.container().exec_run(list(command))
        return code, words.decode()

    def processes(self) -> str:
        """Return the state lines of all processes inside, zombies among them."""
        return self.inside("sh", "-c", "cat /proc/[0-9]*/stat")[1]

    def tail(self) -> str:
        text: bytes = self.container().logs(tail=40)
        return text.decode()


@pytest.fixture
def sandbox(tmp_path: Path, engine: docker.DockerClient) -> Iterator[LiveSandbox]:
    with docker_network(engine) as (_, address):  # an address of this host, for containers to call
        sandbox = LiveSandbox(tmp_path / "net", "9", listen=address)
        yield sandbox
        sandbox.close()


@pytest.fixture
def worker(sandbox: LiveSandbox, reference: str, tmp_path: Path) -> Iterator[ComposedWorker]:
    folder = tmp_path / "compose"
    folder.mkdir()
    worker = ComposedWorker(sandbox, reference, folder)
    worker.compose("up", "-d")
    yield worker
    worker.compose("down")


def test_the_image_holds_no_compiler_and_nothing_that_installs(
    engine: docker.DockerClient, reference: str
) -> None:
    tools = "as cc gcc g++ clang ld make apt apt-get pip pip3 perl curl wget"
    found = engine.containers.run(
        reference,
        ["-c", f"for tool in {tools}; do command -v $tool; done; true"],
        entrypoint="sh",
        remove=True,
    )
    assert found == b""
    made: Any = engine.images.get(reference)
    assert made.attrs["Size"] <= MOST_BYTES
    assert made.attrs["Config"]["Healthcheck"]["Test"] == ["CMD", "iexworker", "healthcheck"]


def test_a_worker_in_its_image_computes_reaps_and_is_started_again_by_docker(
    sandbox: LiveSandbox, worker: ComposedWorker
) -> None:
    worker.ready()
    assert worker.inside("iexworker", "healthcheck") == (0, "alive\n")
    (task,) = sandbox.buy("sleep=4")
    eventually(lambda: sandbox.containers(task), "the app's container")

    # As a crash would end it; `docker kill` would count as an operator's wish.
    os.kill(worker.container().attrs["State"]["Pid"], signal.SIGKILL)

    eventually(lambda: worker.container().attrs["RestartCount"] == 1, "a restart by Docker")
    worker.ready()
    sandbox.completed(task)
    worker.at_rest()
    worker.inside("sh", "-c", "sleep 0.2 & true")  # an orphan at once: PID 1 inherits it
    eventually(lambda: "(sleep)" not in worker.processes(), "the orphan reaped")
    eventually(
        lambda: worker.container().attrs["State"]["Health"]["Status"] == "healthy",
        "the engine's own health check",
    )
    worker.compose("stop")
    assert worker.container().attrs["State"]["ExitCode"] == 0
    assert "worker stopped" in worker.tail()


def test_the_demonstration_runs_the_worker_in_its_image(reference: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iexworker.sandbox.demo", "--image", reference],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"in the image {reference}" in done.stdout
    assert "everything is stopped" in done.stdout
