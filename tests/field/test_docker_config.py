"""A Docker configuration of somebody else keeps no worker from a public image."""

from __future__ import annotations

import base64
import json
import logging
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.compute import registry_auth
from iexworker.compute.engine import Engine
from iexworker.sandbox.network import ports
from iexworker.sandbox.network.registry import HOST, LOGIN, Registry
from iexworker.settings.model import RegistryCredentials
from tests.helpers.docker_harness import ADDRESS
from tests.integration.helpers.step_harness import V8, StepHarness

pytest_plugins = ["tests.helpers.docker_harness", "tests.integration.helpers.step_harness"]
pytestmark = pytest.mark.docker


def running_registry(folder: Path, *, with_login: bool) -> Iterator[Registry]:
    made = Registry(folder, ports.free(HOST), with_login)
    child = made.start(folder / "log")
    yield made
    child.stop()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from running_registry(tmp_path_factory.mktemp("registry"), with_login=False)


@pytest.fixture(scope="module")
def closed_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from running_registry(tmp_path_factory.mktemp("closed"), with_login=True)


def push(engine: Engine, image: str, registry: Registry) -> str:
    """Put the image into the registry and take it off the engine; return its reference."""
    repository, tag = f"{registry.address}/app", uuid.uuid4().hex[:8]
    username, password = LOGIN
    engine.client.tag(image, repository, tag)
    answers = engine.client.push(
        repository,
        tag,
        stream=True,
        decode=True,
        auth_config={"username": username, "password": password},
    )
    assert not [answer for answer in answers if "error" in answer]
    engine.client.remove_image(f"{repository}:{tag}")
    return f"{repository}:{tag}"


def forget(engine: Engine, reference: str) -> None:
    if engine.image_tags(reference) is not None:
        engine.client.remove_image(reference)


@pytest.fixture
def public(engine: Engine, image: str, registry: Registry) -> Iterator[str]:
    reference = push(engine, image, registry)
    yield reference
    forget(engine, reference)


@pytest.fixture
def private(engine: Engine, image: str, closed_registry: Registry) -> Iterator[str]:
    reference = push(engine, image, closed_registry)
    yield reference
    forget(engine, reference)


class Home:
    """A folder that DOCKER_CONFIG names, and one in PATH for credential helpers."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder / "docker"
        self._programs = folder / "programs"
        self._folder.mkdir()
        self._programs.mkdir()
        monkeypatch.setenv("DOCKER_CONFIG", str(self._folder))
        monkeypatch.setenv("PATH", f"{self._programs}{os.pathsep}{os.environ['PATH']}")

    def config(self, text: object) -> None:
        """Write the configuration: a text as it is, else as JSON."""
        content = text if isinstance(text, str) else json.dumps(text)
        (self._folder / "config.json").write_text(content)

    def helper(self, name: str, script: str) -> None:
        program = self._programs / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(tmp_path, monkeypatch)


def pulled(steps: StepHarness, reference: str) -> bool:
    """Do the step `app` in profile 8, where only a pull counts, for at most two seconds."""
    task = steps.docker_harness.task("true", app_image=reference, max_execution_time_s=2)
    return steps.do("app", task, V8).ok


NOT_OURS: dict[str, object] = {
    "the credential store of Docker Desktop": {"credsStore": "desktop"},
    "a store, and a context": {"credsStore": "desktop", "currentContext": "desktop-linux"},
    "a context that is not here": {"currentContext": "no-such-context"},
    "no JSON": "{",
    "a list": [],
    "auths of another shape": {"auths": ["x"]},
    "an entry of another shape": {"auths": {"example.org": "x"}},
    "an entry that is no Base64": {"auths": {"example.org": {"auth": "%"}}},
    "an entry without a colon": {"auths": {"example.org": {"auth": "eA=="}}},
    "helpers of another shape": {"credHelpers": ["x"]},
    "a store that is no name": {"credsStore": ["desktop"]},
    "proxies of another shape": {"proxies": ["x"]},
    "headers of another shape": {"HttpHeaders": "x"},
}


@pytest.mark.parametrize("kind", NOT_OURS)
def test_the_engine_is_asked_and_nothing_is_sent_whatever_the_configuration_holds(
    home: Home, kind: str
) -> None:
    home.config(NOT_OURS[kind])
    engine = Engine(ADDRESS)
    engine.ping()
    engine.close()
    assert registry_auth.find("example.org") == {}


@pytest.mark.parametrize("kind", ["a store, and a context", "an entry that is no Base64"])
def test_a_public_image_is_pulled_whatever_the_configuration_holds(
    steps: StepHarness, public: str, home: Home, kind: str
) -> None:
    home.config(NOT_OURS[kind])
    assert pulled(steps, public)


HELPERS = {
    "that fails": "echo 'the keychain is locked' >&2; exit 1",
    "that answers something else": "echo hello",
    "that keeps nothing": "echo 'credentials not found in native keychain'; exit 1",
}


@pytest.mark.parametrize("kind", HELPERS)
def test_a_helper_without_an_answer_leaves_a_pull_without_credentials(
    home: Home, kind: str
) -> None:
    home.config({"credHelpers": {"example.org": "mine"}})
    home.helper("mine", HELPERS[kind])
    assert registry_auth.find("example.org") == {}


def test_a_helper_that_fails_is_named_once(
    steps: StepHarness,
    engine: Engine,
    public: str,
    home: Home,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = f"locked-{uuid.uuid4().hex[:8]}"
    home.config({"credsStore": name})
    home.helper(name, HELPERS["that fails"])
    with caplog.at_level(logging.WARNING):
        assert pulled(steps, public)
        forget(engine, public)
        assert not pulled(steps, public + "-absent")
    told = [
        record.__dict__["error"]
        for record in caplog.records
        if name in record.__dict__.get("error", "")
    ]
    assert told == [f"docker-credential-{name}: exit code 1: the keychain is locked"]


def test_a_helper_that_works_gives_the_credentials(
    steps: StepHarness, closed_registry: Registry, private: str, home: Home
) -> None:
    username, password = LOGIN
    home.config({"credHelpers": {closed_registry.address: "mine"}})
    answer = {"ServerURL": closed_registry.address, "Username": username, "Secret": password}
    home.helper("mine", f"echo '{json.dumps(answer)}'")
    assert pulled(steps, private)


def test_an_entry_of_auths_gives_the_credentials_as_it_gives_them_to_java(
    steps: StepHarness, closed_registry: Registry, private: str, home: Home
) -> None:
    entry = base64.b64encode(":".join(LOGIN).encode()).decode()
    home.config({"auths": {f"https://{closed_registry.address}/v1/": {"auth": entry}}})
    assert pulled(steps, private)


def test_the_settings_credentials_work_beside_a_store_that_is_missing(
    steps: StepHarness,
    closed_registry: Registry,
    private: str,
    home: Home,
    caplog: pytest.LogCaptureFixture,
) -> None:
    home.config({"credsStore": "desktop"})
    steps.use(registries=(RegistryCredentials(closed_registry.address, *LOGIN),))
    assert pulled(steps, private)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
