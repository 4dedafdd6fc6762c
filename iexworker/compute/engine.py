"""The Docker engine as this worker uses it: one client, each call with a time limit.

Built on the SDK's low-level client. Every failure is a `DockerError`: `EngineRefused` when the
engine has answered no, else it is out of reach. A client belongs to the process and the thread
that made it; none is made before a fork.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import docker
import docker.errors
import docker.tls
import docker.utils.config
import requests
import urllib3.exceptions

from iexworker import http_environment, peers
from iexworker.compute import names
from iexworker.compute.log_text import PIECE_BYTES
from iexworker.errors import DockerError
from iexworker.http_session import EnvironmentSession

CALL_TIMEOUT_S = 60
"""For calls that answer when they are done: create, start, inspect, remove."""

# With each client the SDK reads the operator's Docker configuration, fails on what it does not
# understand, and runs credential helpers before each pull. It finds none: `registry_auth` reads it.
docker.utils.config.find_config_file = lambda config_path=None: None

_STDOUT, _STDERR = 1, 2
_NEVER = "0001-01-01"
_SHOWN_CHARACTERS = 200
_JSON_FILE = "json-file"


class EngineRefused(DockerError):
    """The engine answered with an error; `status` is HTTP's, `reason` the engine's words."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class OutputStream(Protocol):
    """The connection that carries a container's output."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def read(self, size: int, /) -> bytes | None:
        """Return what has come, empty at the end."""


class Sink(Protocol):
    """What takes pieces of a container's stream 1 (stdout) or 2 (stderr)."""

    def write(self, stream: int, piece: bytes) -> None:
        """Take a piece of what was written, cut anywhere."""

    def write_entry(self, stream: int, piece: bytes) -> None:
        """Take a piece of a json-file log, cut where the engine has cut it."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to be created (docs/spec/06, section 6.1); nothing else is sent."""

    name: str
    image: str
    labels: Mapping[str, str]
    command: Sequence[str] = ()
    """Empty: the image's own."""
    entrypoint: Sequence[str] | None = None
    """None: the image's own; empty: none at all."""
    environment: Mapping[str, str] = field(default_factory=dict)
    binds: Sequence[str] = ()
    """`host path:container path`, read-write."""
    host_options: Mapping[str, Any] = field(default_factory=dict)
    """As `compute.limits.host_options` gives them."""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What the engine knows of a container."""

    id: str
    name: str
    labels: Mapping[str, str]
    status: str
    """created, running, paused, restarting, removing, exited or dead."""
    exit_code: int
    started_s: float | None
    """Unix instant, None when it never started."""
    finished_s: float | None

    @property
    def running(self) -> bool:
        """It has started and not ended."""
        return self.status in ("running", "paused", "restarting")

    @property
    def ended(self) -> bool:
        """It has run and will not run again."""
        return self.status in ("exited", "dead")

    @property
    def duration_ms(self) -> int | None:
        """How long it ran, None when an instant is missing (docs/spec/08, section 5.1).

        The end of a short run is often recorded before its start: that counts as 0.
        """
        if self.started_s is None or self.finished_s is None:
            return None
        return max(0, int((self.finished_s - self.started_s) * 1000))


class _Client(EnvironmentSession, docker.APIClient):
    """The SDK's client, under the rule on proxies and authorities that all clients follow."""


class Engine:
    """The engine at one address; connects when first used and after each loss."""

    def __init__(self, address: str, timeout_s: int = CALL_TIMEOUT_S) -> None:
        self.address = address
        self.peer = peers.docker_engine(address)
        self._timeout_s = timeout_s
        self._client: docker.APIClient | None = None

    @property
    def client(self) -> docker.APIClient:
        """The SDK's client; raises `DockerError` while the engine is out of reach."""
        if self._client is None:
            with self.asking("connect"):
                self._client = _Client(
                    base_url=self.address,
                    version="auto",
                    timeout=self._timeout_s,
                    tls=_tls(self.address),
                )
        return self._client

    def close(self) -> None:
        """Drop the connections; the next call makes new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def ping(self) -> None:
        """Raise `DockerError` when the engine does not answer."""
        with self.asking("ping"):
            self.client.ping()

    def runtimes(self) -> tuple[str, ...]:
        """Return the names of the container runtimes that the engine knows."""
        with self.asking("info"):
            info: Mapping[str, Any] = self.client.info()
        return tuple(info.get("Runtimes") or ())

    def create(self, spec: ContainerSpec) -> str:
        """Create the container and return its id."""
        with self.asking("create", spec.name):
            options = self.client.create_host_config(
                binds=list(spec.binds) or None, **spec.host_options
            )
            answer = self.client.create_container(
                spec.image,
                command=list(spec.command) or None,
                entrypoint=None if spec.entrypoint is None else list(spec.entrypoint),
                environment=dict(spec.environment),
                labels=dict(spec.labels),
                host_config=options,
                name=spec.name,
                # The client's configured proxies would show in the app's environment.
                use_config_proxy=False,
            )
        return str(answer["Id"])

    @contextlib.contextmanager
    def attached(self, container: str) -> Iterator[OutputStream]:
        """Give the connection that carries the output of a container not yet started."""
        wanted = {"stdout": 1, "stderr": 1, "stream": 1}
        with self.asking("attach", container):
            stream: OutputStream = self.client.attach_socket(container, params=wanted)
        try:
            yield stream
        finally:
            # The SDK ties the answer to its socket: closing the answer closes both, closing the
            # socket alone leaves a circle, and its descriptor, to the garbage collector.
            stream._response.close()  # type: ignore[attr-defined]  # set by the SDK

    def start(self, container: str) -> None:
        """Start a created container; 400 is a command that the image cannot run."""
        with self.asking("start", container):
            self.client.start(container)

    def state(self, container: str) -> ContainerState | None:
        """Return what the engine knows of the container, by id or exact name; None: no such."""
        try:
            with self.asking("inspect", container):
                return _state(self.client.inspect_container(container))
        except EngineRefused as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise

    def kill(self, container: str) -> None:
        """End a container at once; one that has ended or is gone is fine."""
        with _unless(http.client.CONFLICT, http.client.NOT_FOUND), self.asking("kill", container):
            self.client.kill(container)

    def remove(self, container: str) -> None:
        """Remove a container, running or not, with its anonymous volumes; gone is fine."""
        # 409: somebody else is removing it, as `scheduling` does at an abort.
        with _unless(http.client.CONFLICT, http.client.NOT_FOUND), self.asking("remove", container):
            self.client.remove_container(container, v=True, force=True)

    def find(self, wanted: Mapping[str, str]) -> list[ContainerState]:
        """Return the containers that carry these labels, whatever their state."""
        texts = [f"{name}={value}" for name, value in wanted.items()]
        with self.asking("list", " ".join(texts)):
            found = self.client.containers(all=True, filters={"label": texts})
        states = (self.state(item["Id"]) for item in found)
        return [state for state in states if state is not None]

    def copy_logs(self, container: str, sink: Sink) -> None:
        """Give the whole output of a container, from the engine's own log, to `sink`."""
        with self.asking("inspect", container):
            driver = self.client.inspect_container(container)["HostConfig"]["LogConfig"]["Type"]
        as_json = driver == _JSON_FILE
        for stream in (_STDOUT, _STDERR):
            with self.asking("logs", container):
                chunks = self.client.logs(
                    container, stdout=stream == _STDOUT, stderr=stream == _STDERR, stream=True
                )
                if as_json:
                    for entry in chunks:
                        sink.write_entry(stream, entry)
                else:
                    for piece in _with_ends(chunks):
                        sink.write(stream, piece)

    def image_tags(self, reference: str) -> list[str] | None:
        """Return the tags of a local image as the engine prints them; None: no such image."""
        try:
            with self.asking("inspect image", reference):
                # The stubs leave this one untyped.
                image: dict[str, Any] = self.client.inspect_image(reference)  # type: ignore[no-untyped-call]
                return list(image.get("RepoTags") or ())
        except EngineRefused as error:
            if error.status in (http.client.NOT_FOUND, http.client.BAD_REQUEST):
                return None
            raise

    @contextlib.contextmanager
    def asking(self, action: str, subject: str = "") -> Iterator[None]:
        """Turn what the SDK and the libraries under it raise into `DockerError`."""
        what = f"{action} {subject}".strip()
        try:
            yield
        except docker.errors.APIError as error:
            raise self._refused(what, error) from None
        except docker.errors.DockerException as error:
            # What the first call of a client is answered comes wrapped.
            if isinstance(error.__cause__, docker.errors.APIError):
                raise self._refused(what, error.__cause__) from None
            raise DockerError(self.peer.failed(what, error)) from None
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
        ) as error:
            raise DockerError(self.peer.failed(what, error)) from None

    def _refused(self, what: str, error: docker.errors.APIError) -> DockerError:
        """Return the error for an answer; what is no answer of an engine, is one out of reach."""
        status, words = error.status_code or 500, " ".join(str(error.explanation or "").split())
        if what == "connect":
            return DockerError(self.peer.answered(what, status, words[:_SHOWN_CHARACTERS]))
        reason = str(error.explanation or error)
        return EngineRefused(f"Docker, {what}: {reason}", status, reason)

    def import_image(self, archive: bytes, labels: Mapping[str, str]) -> str:
        """Make an image without a name of a tar archive; return its identifier."""
        changes = [f"LABEL {name}={value}" for name, value in labels.items()]
        with self.asking("import image"):
            answer = self.client.import_image_from_data(archive, changes=changes)
            return str(json.loads(answer.splitlines()[-1])["status"])

    def remove_image(self, image: str) -> None:
        """Remove an image; gone is fine."""
        with _unless(http.client.NOT_FOUND), self.asking("remove image", image):
            self.client.remove_image(image)

    def remove_labelled(self, wallet: str, task_id: str) -> int:
        """Kill and remove all of a task's containers; return how many there were."""
        found = self.find({names.LABEL_WALLET: wallet, names.LABEL_TASK: task_id})
        for container in found:
            self.remove(container.id)
        return len(found)


def _tls(address: str) -> docker.tls.TLSConfig | bool:
    found = http_environment.docker_tls(address)
    if found is None:
        return False
    return docker.tls.TLSConfig(client_cert=found.client, ca_cert=found.authority, verify=True)


def _with_ends(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Return what was written, from a log that keeps it as it was but for ends of lines.

    The driver `local` loses the end of a line that it has cut: only the last entry has none, and
    a piece of a line that goes on, which is as long as moby's buffer.
    """
    lost = False
    for entry in entries:
        yield b"\n" + entry if lost else entry
        lost = len(entry) < PIECE_BYTES and not entry.endswith(b"\n")


@contextlib.contextmanager
def _unless(*statuses: int) -> Iterator[None]:
    try:
        yield
    except EngineRefused as error:
        if error.status not in statuses:
            raise


def _state(data: Mapping[str, Any]) -> ContainerState:
    state = data["State"]
    return ContainerState(
        id=data["Id"],
        name=data["Name"].lstrip("/"),
        labels=data["Config"].get("Labels") or {},
        status=state["Status"],
        exit_code=int(state["ExitCode"]),
        started_s=_instant(state["StartedAt"]),
        finished_s=_instant(state["FinishedAt"]),
    )


def _instant(text: str) -> float | None:
    """Read the engine's RFC 3339 instant with nanoseconds; the zero date is None."""
    if not text or text.startswith(_NEVER):
        return None
    return datetime.fromisoformat(text).timestamp()
