"""The demonstration's worker: a process of this checkout, or a container of the worker's image."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import docker
import docker.errors

from iexworker import control
from iexworker.errors import SandboxError
from iexworker.sandbox import image
from iexworker.sandbox.network import worker_env
from iexworker.sandbox.network.network import Network

STOP_S = 30
PORT = 13100
"""Where a worker in a container listens: its address is its own."""
LOG_LINES_SHOWN = 25

_SOCKET = "/var/run/docker.sock"


class Worker(Protocol):
    """A worker that runs."""

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""

    @property
    def url(self) -> str:
        """The address of its HTTP server."""

    def log_tail(self) -> str:
        """Return the last lines that it wrote."""


def environment(network: Network, slots: int, **more: str) -> dict[str, str]:
    """Return the variables of a worker that joins the network and leaves quickly."""
    return {
        **worker_env.variables(network),
        "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": str(slots),
        "IEXWORKER_SHUTDOWN_GRACE": "PT5S",
        **more,
    }


class ProcessWorker:
    """`iexworker run` of this checkout, on a free port."""

    def __init__(self, network: Network, slots: int) -> None:
        self._network = network
        self._log = network.logs_path / "worker.log"
        ours: Mapping[str, str] = environment(network, slots, IEXEC_WORKER_PORT="0")
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "iexworker", "run"],
                env={**os.environ, **ours},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    @property
    def url(self) -> str:
        """The address of its HTTP server."""
        root = self._network.path / "workers" / worker_env.WORKERS[0]
        return f"http://127.0.0.1:{control.ask(root, 'status')['facts']['http_port']}"

    def log_tail(self) -> str:
        """Return the last lines that it wrote."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])

    def stop(self) -> None:
        """Stop it in order, or at once when it does not obey."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ContainerWorker:
    """The image as its operators run it (docs/operators.md), in a Docker network of its own."""

    def __init__(
        self, client: docker.DockerClient, network: Network, slots: int, image_name: str, lan: str
    ) -> None:
        base = network.path / "workers"
        wallet = network.keystore_path(worker_env.WORKERS[0])
        variables = environment(
            network, slots, IEXEC_WORKER_PORT=str(PORT), IEXEC_WORKER_DOCKER_NETWORK_NAME=lan
        )
        endpoint = client.api.create_endpoint_config(aliases=["worker"])
        try:
            self._container: Any = client.containers.run(
                image_name,
                detach=True,
                name=f"{lan}-worker",
                environment=variables,
                network=lan,
                networking_config={lan: endpoint},
                # The task folders at the same path: the engine binds them by the host's path.
                volumes=[
                    f"{base}:{base}",
                    f"{wallet}:{wallet}:ro",
                    f"{_engine_socket()}:{_SOCKET}",
                ],
                labels={image.LABEL: "worker"},
            )
        except docker.errors.DockerException as error:
            raise SandboxError(f"the worker's container does not start: {error}") from error
        self._lan = lan

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        self._container.reload()
        return self._container.status not in ("created", "running")

    @property
    def url(self) -> str:
        """The address of its HTTP server."""
        self._container.reload()
        address = self._container.attrs["NetworkSettings"]["Networks"][self._lan]["IPAddress"]
        return f"http://{address}:{PORT}"

    def log_tail(self) -> str:
        """Return the last lines that it wrote."""
        text: bytes = self._container.logs(tail=LOG_LINES_SHOWN)
        return text.decode(errors="replace").rstrip()

    def stop(self) -> None:
        """Stop it in order, and remove it."""
        self._container.stop(timeout=STOP_S)
        self._container.remove(force=True)


@contextlib.contextmanager
def docker_network(client: docker.DockerClient) -> Iterator[tuple[str, str]]:
    """Make a Docker network; give its name, and the address that this host has in it."""
    name = f"iexworker-demo-{secrets.token_hex(4)}"
    made = client.networks.create(name, driver="bridge", labels={image.LABEL: "network"})
    try:
        made.reload()
        yield name, made.attrs["IPAM"]["Config"][0]["Gateway"]
    finally:
        made.remove()


def _engine_socket() -> str:
    """Return the engine's socket on this host."""
    address = os.environ.get("DOCKER_HOST") or f"unix://{_SOCKET}"
    if not address.startswith("unix://"):
        raise SandboxError(f"DOCKER_HOST={address}: the image is shown on a local engine only")
    return address.removeprefix("unix://")
