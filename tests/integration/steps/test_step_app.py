"""The step `app`: images from a real registry."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.compute.cancellation import Cancelled
from iexworker.compute.engine import Engine
from iexworker.poco.models import Profile
from iexworker.sandbox.network import ports
from iexworker.sandbox.network.registry import HOST, LOGIN, Registry
from iexworker.settings.model import RegistryCredentials
from iexworker.shared.handoff import StepOutcome
from tests.helpers.docker_harness import DIGEST_OF_A, PROFILES, WRITE_RESULT
from tests.integration.helpers.step_harness import NO_IMAGE, V8, V9, StepHarness

pytest_plugins = ["tests.helpers.docker_harness", "tests.integration.helpers.step_harness"]
pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from running_registry(tmp_path_factory.mktemp("registry"), with_login=False)


@pytest.fixture(scope="module")
def closed_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from running_registry(tmp_path_factory.mktemp("closed"), with_login=True)


def running_registry(folder: Path, *, with_login: bool) -> Iterator[Registry]:
    made = Registry(folder, ports.free(HOST), with_login)
    child = made.start(folder / "log")
    yield made
    child.stop()


def push(engine: Engine, image: str, registry: Registry) -> str:
    """Put the image into the registry and take it off the engine; return its reference."""
    repository = f"{registry.address}/app"
    username, password = LOGIN
    engine.client.tag(image, repository, "1")
    answers = engine.client.push(
        repository,
        "1",
        stream=True,
        decode=True,
        auth_config={"username": username, "password": password},
    )
    assert not [answer for answer in answers if "error" in answer]
    engine.client.remove_image(f"{repository}:1")
    return f"{repository}:1"


@pytest.fixture
def pushed(engine: Engine, image: str, registry: Registry) -> Iterator[str]:
    reference = push(engine, image, registry)
    yield reference
    forget(engine, reference)


@pytest.fixture
def pushed_closed(engine: Engine, image: str, closed_registry: Registry) -> Iterator[str]:
    reference = push(engine, image, closed_registry)
    yield reference
    forget(engine, reference)


def forget(engine: Engine, reference: str) -> None:
    if engine.image_tags(reference) is not None:
        engine.client.remove_image(reference)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_image_is_pulled(steps: StepHarness, pushed: str, profile: Profile) -> None:
    task = steps.docker_harness.task("true", app_image=pushed)
    assert steps.do("app", task, profile) == StepOutcome(task.task_id, "app", 1, ok=True)
    assert steps.engine.image_tags(pushed) is not None


@pytest.mark.parametrize("profile", PROFILES)
def test_an_image_that_was_removed_since_is_pulled_again(
    steps: StepHarness, pushed: str, profile: Profile
) -> None:
    outcome = steps.compute(WRITE_RESULT, profile, app_image=pushed)
    assert (outcome.ok, outcome.digest) == (True, DIGEST_OF_A)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_image_that_is_gone_everywhere_is_said_so(
    steps: StepHarness, registry: Registry, profile: Profile
) -> None:
    outcome = steps.compute("true", profile, app_image=f"{registry.address}/absent:1")
    assert (outcome.ok, outcome.cause) == (False, "APP_NOT_FOUND_LOCALLY")
    assert outcome.with_logs is False


@pytest.mark.parametrize("profile", PROFILES)
def test_an_image_that_the_registry_does_not_have_becomes_a_result(
    steps: StepHarness, registry: Registry, profile: Profile
) -> None:
    task = steps.docker_harness.task("true", app_image=f"{registry.address}/absent:1")
    outcome = steps.do("app", task, profile)
    assert (outcome.ok, outcome.cause) == (False, "APP_IMAGE_DOWNLOAD_FAILED")
    assert outcome.digest == NO_IMAGE[profile]


@pytest.mark.parametrize("changes", [{"app_image": "no-tag"}, {"app_type": "OTHER"}])
def test_an_image_that_every_worker_refuses_becomes_a_result(
    steps: StepHarness, changes: dict[str, str]
) -> None:
    task = steps.docker_harness.task("true", **changes)
    if "app_type" in changes:
        outcome = steps.do("app", task, V8)
        assert outcome.digest == NO_IMAGE[V8]
    else:
        assert steps.do("app", task).digest == NO_IMAGE[V9]


def test_profile_9_takes_a_local_image_when_the_registry_is_down(
    steps: StepHarness, engine: Engine, image: str
) -> None:
    reference = f"127.0.0.1:{ports.free(HOST)}/app:1"
    engine.client.tag(image, reference.removesuffix(":1"), "1")
    try:
        assert steps.do("app", steps.docker_harness.task("true", app_image=reference), V9).ok
        outcome = steps.do("app", steps.docker_harness.task("true", app_image=reference), V8)
        assert (outcome.cause, outcome.digest) == ("APP_IMAGE_DOWNLOAD_FAILED", NO_IMAGE[V8])
    finally:
        forget(engine, reference)


def test_a_registry_that_is_down_while_nobody_hears_us_is_our_fault(steps: StepHarness) -> None:
    steps.scheduler_answers = False
    reference = f"127.0.0.1:{ports.free(HOST)}/app:1"
    task = steps.docker_harness.task("true", app_image=reference, max_execution_time_s=2)
    outcome = steps.do("app", task)
    assert (outcome.ok, outcome.cause, outcome.digest) == (False, "UNKNOWN", None)


def test_an_image_is_pulled_with_the_credentials_of_its_registry(
    steps: StepHarness, closed_registry: Registry, pushed_closed: str
) -> None:
    steps.use(registries=(RegistryCredentials(closed_registry.address, *LOGIN),))
    assert steps.do("app", steps.docker_harness.task("true", app_image=pushed_closed)).ok


def test_a_denied_image_is_the_requesters_fault_only_without_credentials(
    steps: StepHarness, closed_registry: Registry, pushed_closed: str
) -> None:
    task = steps.docker_harness.task("true", app_image=pushed_closed, max_execution_time_s=2)
    assert steps.do("app", task).digest == NO_IMAGE[V9]
    steps.use(registries=(RegistryCredentials(closed_registry.address, "sandbox", "wrong"),))
    outcome = steps.do("app", task)
    assert (outcome.ok, outcome.cause, outcome.digest) == (False, "UNKNOWN", None)


def test_a_refused_login_is_followed_by_a_pull_without(
    steps: StepHarness, closed_registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    address = closed_registry.address
    steps.use(registries=(RegistryCredentials(address, "user", "s3cret"),))
    task = steps.docker_harness.task("true", app_image=f"{address}/app:1", max_execution_time_s=1)
    outcome = steps.do("app", task)
    assert "registry login refused" in caplog.text
    assert "s3cret" not in caplog.text + outcome.message
    assert "no basic auth credentials" in outcome.message


def test_a_pull_that_takes_too_long_is_our_fault(steps: StepHarness) -> None:
    with silent_server() as port:
        image = f"127.0.0.1:{port}/app:1"
        task = steps.docker_harness.task(
            "true",
            app_image=image,
            max_execution_time_s=2,
            contribution_deadline_s=int(time.time()) + 2,
        )
        outcome = steps.do("app", task)
    assert (outcome.ok, outcome.cause) == (False, "UNKNOWN")
    assert "not pulled within" in outcome.message


def test_a_pull_is_cancelled_at_once(steps: StepHarness) -> None:
    with silent_server() as port:
        threading.Timer(0.5, steps.cancellation.cancel).start()
        started_s = time.monotonic()
        with pytest.raises(Cancelled):
            steps.do("app", steps.docker_harness.task("true", app_image=f"127.0.0.1:{port}/app:1"))
        assert time.monotonic() - started_s < 5


class silent_server:
    """Take connections and never answer."""

    def __enter__(self) -> int:
        self._socket = socket.create_server(("127.0.0.1", 0))
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *args: object) -> None:
        self._socket.close()


def test_the_json_of_an_error_result_names_its_text(steps: StepHarness) -> None:
    task = steps.docker_harness.task("true", app_image="no-tag")
    steps.do("app", task)
    data = json.loads(steps.folder(task).computed_file.read_text())
    assert data["deterministic-output-path"] == "/iexec_out/error.txt"
    assert data["callback-data"] is None
