from __future__ import annotations

import pytest

from iexworker.compute.images import (
    BadReference,
    ImageReference,
    credentials_for,
    local_name,
    pull_timeout_s,
)
from iexworker.settings.model import RegistryCredentials


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag"),
    [
        ("app:1", "docker.io", "app", "1"),
        ("org/app:1.0-x", "docker.io", "org/app", "1.0-x"),
        ("docker.io/org/app:1", "docker.io", "docker.io/org/app", "1"),
        ("registry.example.com/app:1", "registry.example.com", "registry.example.com/app", "1"),
        ("localhost/app:1", "localhost", "localhost/app", "1"),
        ("localhost:5000/a/b:1", "localhost:5000", "localhost:5000/a/b", "1"),
        ("host:5000/app:1", "host:5000", "host:5000/app", "1"),
    ],
)
def test_a_reference_names_registry_repository_and_tag(
    text: str, registry: str, repository: str, tag: str
) -> None:
    assert ImageReference.parse(text) == ImageReference(registry, repository, tag)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app",
        "app:",
        "org/app",
        "host:5000/app",
        "app@sha256:" + "0" * 64,
        "app:1@sha256:" + "0" * 64,
        "https://host/app:1",
        "index.docker.io/app:1",
        "registry.example.com/:1",
    ],
)
def test_what_every_worker_refuses_is_refused(text: str) -> None:
    with pytest.raises(BadReference):
        ImageReference.parse(text)


def test_credentials_go_to_exactly_their_registry() -> None:
    entry = RegistryCredentials("host:5000", "user", "password")
    half = RegistryCredentials("docker.io", "user", " ")
    assert credentials_for((half, entry), "host:5000") is entry
    assert credentials_for((half, entry), "host") is None
    assert credentials_for((half, entry), "docker.io") is None


@pytest.mark.parametrize(
    ("stored", "minutes"),
    [(3000, 7), (12000, 13), (36000, 18), (108000, 23), (360000, 28)],
)
def test_the_timeout_has_upstreams_figures_for_seconds(stored: int, minutes: int) -> None:
    """Upstream's own tests feed the formula these values, which it takes for milliseconds."""
    assert pull_timeout_s(stored / 1000, 300, 1800) == minutes * 60


@pytest.mark.parametrize(
    ("execution_s", "minutes"), [(60, 20), (300, 27), (1200, 30), (36000, 30), (0, 5), (0.05, 5)]
)
def test_the_timeout_has_upstreams_figures_at_run_time(execution_s: float, minutes: int) -> None:
    assert pull_timeout_s(execution_s, 300, 1800) == minutes * 60


def test_the_bounds_of_the_timeout_count_in_whole_minutes_and_the_upper_one_wins() -> None:
    assert pull_timeout_s(60, 90, 119) == 60
    assert pull_timeout_s(60, 3600, 120) == 120


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("docker.io/library/app:1", "app:1"),
        ("library/app:1", "app:1"),
        ("docker.io/org/app:1", "org/app:1"),
        ("org/app:1", "org/app:1"),
        ("org/mylibrary/app:1", "org/mylibrary/app:1"),
        ("host/docker.io/app:1", "host/docker.io/app:1"),
    ],
)
def test_local_images_are_looked_for_by_their_short_name(reference: str, name: str) -> None:
    assert local_name(reference) == name
