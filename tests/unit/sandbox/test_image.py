from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import docker
import pytest
from docker.errors import ImageNotFound

from iexworker.errors import SandboxError
from iexworker.sandbox import image
from iexworker.sandbox.network.registry import Registry


class Pushed(BaseHTTPRequestHandler):
    """A registry that has one image."""

    def do_HEAD(self) -> None:
        there = self.path == "/v2/team/app/manifests/1"
        self.send_response(200 if there else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with HTTPServer(("127.0.0.1", 0), Pushed) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Registry(tmp_path, int(server.server_address[1]))
        server.shutdown()
        thread.join()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """An engine whose images have these digests of registries."""
    images: dict[str, list[str]] = {}

    def get(name: str) -> SimpleNamespace:
        if name not in images:
            raise ImageNotFound(name)
        return SimpleNamespace(attrs={"RepoDigests": images[name]})

    client = SimpleNamespace(images=SimpleNamespace(get=get), close=lambda: None)
    monkeypatch.setattr(image, "engine", lambda: client)
    return images


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("team/app:1", ""),
        ("team/app:2", "the registry has no {full}, push it: docker push {full}"),
        ("team/app", "the registry has no {full}, push it"),
    ],
)
def test_an_image_named_after_our_registry_must_be_there(
    registry: Registry, name: str, words: str
) -> None:
    full = f"{registry.address}/{name}"

    assert image.unpushed(registry, full).startswith(words.format(full=full))
    assert bool(image.unpushed(registry, full)) is bool(words)


def test_an_image_that_was_only_built_here_is_warned_of(
    registry: Registry, engine: dict[str, list[str]]
) -> None:
    engine |= {"mine:1": [], "host.test/mine": [], "theirs:1": ["theirs@sha256:12"]}

    ours = f"{registry.address}/mine:1"
    assert f"docker tag mine:1 {ours}; docker push {ours}" in image.unpushed(registry, "mine:1")
    assert f" {registry.address}/mine;" in image.unpushed(registry, "host.test/mine")
    assert image.unpushed(registry, "theirs:1") == ""
    assert image.unpushed(registry, "nowhere:1") == ""


def test_without_registry_or_engine_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise SandboxError("no engine")

    monkeypatch.setattr(image, "engine", fail)
    silent = Registry(tmp_path, 1)

    assert image.unpushed(silent, "mine:1") == ""
    assert image.unpushed(silent, f"{silent.address}/mine:1") == ""


def test_an_engine_that_is_not_there_is_told_without_pythons_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")

    with pytest.raises(SandboxError) as caught:
        image.engine()

    assert str(caught.value) == (
        "no Docker engine answers at DOCKER_HOST=unix:///nowhere (No such file or directory)"
    )
    assert docker.errors.DockerException in type(caught.value.__cause__).__mro__
