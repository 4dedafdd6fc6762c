from __future__ import annotations

import base64
import json
import logging
import os
import uuid
from pathlib import Path

import pytest

from iexworker.compute import registry_auth
from iexworker.compute.engine import Engine, EngineRefused
from iexworker.compute.images import DEFAULT_REGISTRY, ImageReference
from iexworker.compute.pull import _Attempt
from iexworker.settings.model import RegistryCredentials


class Home:
    """The operator's Docker configuration and a helper of its name."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.name = uuid.uuid4().hex[:8]
        self._folder = folder
        patch.setenv("DOCKER_CONFIG", str(folder))
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def config(self, **content: object) -> None:
        (self._folder / "config.json").write_text(json.dumps(content))

    def helper(self, script: str) -> None:
        program = self._folder / f"docker-credential-{self.name}"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(tmp_path, monkeypatch)


def test_nothing_is_found_without_a_configuration(home: Home) -> None:
    assert registry_auth.find(DEFAULT_REGISTRY) == {}


def test_a_user_without_a_home_has_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert registry_auth.find(DEFAULT_REGISTRY) == {}


def test_a_helper_is_asked_for_the_registry_on_its_input(home: Home) -> None:
    home.config(credsStore=home.name)
    home.helper('read server; echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"$server\\"}"')
    index = "https://index.docker.io/v1/"
    assert registry_auth.find(DEFAULT_REGISTRY) == {
        "username": "u",
        "password": index,
        "serveraddress": index,
    }
    assert registry_auth.find("h:5000")["password"] == "h:5000"


@pytest.mark.parametrize("name", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_the_default_registry_has_three_names_for_a_helper(home: Home, name: str) -> None:
    home.config(credHelpers={name: home.name}, credsStore="none")
    home.helper('echo \'{"Username":"<token>","Secret":"t"}\'')
    assert registry_auth.find(DEFAULT_REGISTRY)["identitytoken"] == "t"


@pytest.mark.parametrize(
    ("name", "registry"),
    [
        ("https://index.docker.io/v1/", DEFAULT_REGISTRY),
        ("index.docker.io", DEFAULT_REGISTRY),
        ("docker.io", DEFAULT_REGISTRY),
        ("h:5000", "h:5000"),
        ("http://h:5000/v2/", "h:5000"),
    ],
)
def test_an_entry_is_found_by_its_host(home: Home, name: str, registry: str) -> None:
    home.config(auths={"other": {}, name: {"auth": base64.b64encode(b"u:p:q\0").decode()}})
    found = registry_auth.find(registry)
    assert found == {"username": "u", "password": "p:q", "serveraddress": name}


def test_an_identity_token_of_an_entry_is_sent(home: Home) -> None:
    home.config(auths={"h": {"auth": "", "identitytoken": "t"}})
    assert registry_auth.find("h") == {"identitytoken": "t", "serveraddress": "h"}


def test_a_helper_that_fails_leaves_the_entries(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    home.config(credsStore=home.name, auths={"h": {"auth": base64.b64encode(b"u:p").decode()}})
    with caplog.at_level(logging.WARNING):
        assert registry_auth.find("h")["username"] == "u"
        assert registry_auth.find("h")["username"] == "u"
    [record] = caplog.records
    assert record.__dict__["error"] == (
        f"docker-credential-{home.name}: not installed, or not in PATH"
    )


def test_a_helper_that_does_not_answer_is_ended_with_all_that_it_started(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry_auth, "HELPER_TIMEOUT_S", 0.2)
    home.config(credsStore=home.name)
    home.helper("sleep 600 & sleep 600")
    assert registry_auth.find("h") == {}
    assert "no answer" in caplog.records[0].__dict__["error"]


@pytest.mark.parametrize("name", ["../x", "a/b", "x\0y"])
def test_a_helpers_name_is_a_name(home: Home, name: str) -> None:
    home.config(credsStore=name)
    assert registry_auth.find("h") == {}


class Registry(Engine):
    """An engine whose registry refuses what it is sent; no daemon is asked."""

    def __init__(self, refuses: dict[str, bool]) -> None:
        super().__init__("unix:///nowhere")
        self.refuses = refuses
        self.sent: list[dict[str, str]] = []

    @property
    def client(self) -> Registry:  # type: ignore[override]  # as much of the client as is used
        return self

    def pull(
        self, repository: str, auth_config: dict[str, str], **_: object
    ) -> list[dict[str, str]]:
        self.sent.append(auth_config)
        kind = "with" if auth_config else "without"
        return [{"error": "unauthorized: bad credentials"}] if self.refuses[kind] else []


REFERENCE = ImageReference.parse("h:5000/app:1")


def test_credentials_that_are_refused_are_left_out_at_a_second_try(home: Home) -> None:
    home.config(auths={"h:5000": {"auth": base64.b64encode(b"u:old").decode()}})
    engine = Registry({"with": True, "without": False})
    _Attempt(REFERENCE, None).pull(engine)
    assert [bool(sent) for sent in engine.sent] == [True, False]


def test_a_denial_after_credentials_were_refused_may_be_our_fault(home: Home) -> None:
    home.config(auths={"h:5000": {"auth": base64.b64encode(b"u:old").decode()}})
    attempt = _Attempt(REFERENCE, None)
    with pytest.raises(EngineRefused):
        attempt.pull(Registry({"with": True, "without": True}))
    assert attempt.with_credentials


def test_a_denial_without_credentials_is_not(home: Home) -> None:
    home.config(credsStore="none")
    attempt = _Attempt(REFERENCE, None)
    with pytest.raises(EngineRefused):
        attempt.pull(Registry({"with": True, "without": True}))
    assert not attempt.with_credentials


def test_credentials_of_the_settings_go_before_those_of_the_configuration(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.config(auths={"h:5000": {"auth": base64.b64encode(b"u:p").decode()}})
    monkeypatch.setattr(
        "iexworker.compute.pull._login",
        lambda engine, given: {"username": given.username, "password": given.password},
    )
    engine = Registry({"with": True, "without": False})
    with pytest.raises(EngineRefused):
        _Attempt(REFERENCE, RegistryCredentials("h:5000", "me", "mine")).pull(engine)
    assert engine.sent == [{"username": "me", "password": "mine"}]
