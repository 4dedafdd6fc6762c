"""The sandbox's registry and demo app, on a real Docker engine."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound

from iexworker.errors import SandboxError
from iexworker.sandbox import image
from iexworker.sandbox.network import ports
from iexworker.sandbox.network.registry import HOST, LOGIN, Registry

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = image.engine()
    yield client
    client.close()


@pytest.fixture(scope="module")
def registry(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    made = Registry(folder, ports.free(HOST))
    child = made.start(folder / "log")
    yield made
    image.remove_pulled(engine, made)
    child.stop()


@pytest.fixture(scope="module")
def app(engine: docker.DockerClient, registry: Registry) -> str:
    return image.publish(engine, registry)


def run(engine: docker.DockerClient, app: str, out: Path, *arguments: str) -> str:
    output: bytes = engine.containers.run(
        app,
        list(arguments),
        environment={"IEXEC_OUT": "/iexec_out", "IEXEC_BOT_TASK_INDEX": "1", "IEXEC_BOT_SIZE": "3"},
        volumes={str(out): {"bind": "/iexec_out"}},
        remove=True,
        stderr=True,
    )
    return output.decode()


def computed(out: Path) -> object:
    return json.loads((out / "computed.json").read_text())


def test_the_engine_has_to_pull_the_app(engine: docker.DockerClient, registry: Registry) -> None:
    full = image.publish(engine, registry, "pulled")

    with pytest.raises(ImageNotFound):
        engine.images.get(full)
    assert engine.images.pull(full).labels[image.LABEL] == "demo"


def test_an_app_that_is_there_is_not_pushed_again(
    engine: docker.DockerClient, registry: Registry, app: str
) -> None:
    digest = engine.images.get_registry_data(app).id

    assert image.publish(engine, registry) == app
    assert engine.images.get_registry_data(app).id == digest


def test_the_app_tells_what_it_was_given(
    engine: docker.DockerClient, app: str, tmp_path: Path
) -> None:
    said = run(engine, app, tmp_path, "some", "words")

    assert "Hello from task 1 of 3\narguments: some words\n" in said
    assert (tmp_path / "result.txt").read_text() == said
    assert computed(tmp_path) == {"deterministic-output-path": "/iexec_out/result.txt"}


def test_the_app_fails_with_the_code_it_is_told(
    engine: docker.DockerClient, app: str, tmp_path: Path
) -> None:
    with pytest.raises(ContainerError) as caught:
        run(engine, app, tmp_path, "fail=7", "sleep=60")

    assert caught.value.exit_status == 7
    assert not (tmp_path / "computed.json").exists()


@pytest.mark.parametrize(
    ("argument", "content"),
    [
        ("brokencomputed", '{"deterministic-output-path":'),
        ("outside", '{"deterministic-output-path":"/etc/passwd"}'),
        ("callback=0xca11", '{"callback-data":"0xca11"}'),
    ],
)
def test_the_app_writes_the_computed_json_it_is_told(
    engine: docker.DockerClient, app: str, tmp_path: Path, argument: str, content: str
) -> None:
    run(engine, app, tmp_path, argument)

    assert (tmp_path / "computed.json").read_text() == content


def test_the_app_can_leave_out_its_computed_json_and_write_much(
    engine: docker.DockerClient, app: str, tmp_path: Path
) -> None:
    said = run(engine, app, tmp_path, "nocomputed", "big=2", "print=500", "sleep=0")

    assert not (tmp_path / "computed.json").exists()
    assert (tmp_path / "big.bin").stat().st_size == 2 << 20
    assert said.endswith("499\n500\n")


def test_a_registry_with_login_gives_its_images_to_who_logs_in(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    registry = Registry(tmp_path, ports.free(HOST), with_login=True)
    child = registry.start(tmp_path / "log")
    full = image.publish(engine, registry)
    username, password = LOGIN

    with pytest.raises(APIError, match="no basic auth credentials"):
        engine.images.pull(full)
    with pytest.raises(APIError, match="unauthorized"):
        engine.images.pull(full, auth_config={"username": username, "password": "wrong"})
    engine.images.pull(full, auth_config={"username": username, "password": password})

    image.remove_pulled(engine, registry)
    child.stop()
    with pytest.raises(ImageNotFound):
        engine.images.get(full)


def test_a_registry_refuses_a_port_that_is_taken(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=f"{registry.port} is taken"):
        Registry(tmp_path, registry.port).start(tmp_path / "log")


def test_a_registry_listens_on_loopback(registry: Registry) -> None:
    connection = http.client.HTTPConnection(HOST, registry.port, timeout=5)
    connection.request("GET", "/v2/")

    assert connection.getresponse().status == http.HTTPStatus.OK
    connection.close()
    assert registry.address.startswith("127.0.0.1:")


def test_a_refused_push_is_said(engine: docker.DockerClient, tmp_path: Path) -> None:
    nobody = Registry(tmp_path, ports.free(HOST), with_login=True)

    with pytest.raises(SandboxError, match="could not be pushed"):
        image.publish(engine, nobody)


def test_a_missing_engine_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{ports.free(HOST)}")

    with pytest.raises(SandboxError, match="no Docker engine answers"):
        image.engine()


def test_a_busybox_that_needs_libraries_is_refused(
    engine: docker.DockerClient,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "busybox").symlink_to("/bin/ls")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SandboxError, match="not a static one"):
        image.publish(engine, registry, "never")
