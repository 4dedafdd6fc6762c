from __future__ import annotations

import shutil
from pathlib import Path
from typing import NoReturn

import docker
import pytest
from docker.errors import DockerException

from iexworker.errors import SandboxError
from iexworker.sandbox import image
from iexworker.sandbox.network import needs, tools


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without anything; gives the one folder of its PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine")
    monkeypatch.setenv(tools.ENVIRONMENT, str(tmp_path / "cache"))
    return tmp_path / "bin"


def refusal(profile: str = "9") -> list[str]:
    with pytest.raises(SandboxError) as caught:
        needs.provide(profile, lambda _: None)
    return str(caught.value).splitlines()


def test_all_that_is_missing_is_said_at_once_with_what_brings_it(bare: Path) -> None:
    lines = refusal()

    assert lines[0] == "the sandbox needs what this machine lacks:"
    assert lines[1].startswith("  npm, ")
    assert lines[2].startswith("  docker-registry, ")
    assert lines[3].startswith("  a static busybox, ")
    assert lines[4].startswith(f"  no Docker engine answers at DOCKER_HOST=unix://{bare.parent}/")
    assert lines[5:] == [
        "as root, on Debian and its relatives:",
        "  apt-get install --no-install-recommends npm docker-registry busybox-static",
    ]


def test_npm_is_not_missed_where_nothing_is_to_fetch(bare: Path) -> None:
    cache = bare.parent / "cache"
    for name in ("anvil-1.7.1/anvil", "poco-6.1.0/package.json"):
        (cache / name).parent.mkdir(parents=True)
        (cache / name).touch()

    assert not any(line.startswith("  npm, ") for line in refusal("9"))
    assert any(line.startswith("  npm, ") for line in refusal("8"))


def test_a_busybox_that_needs_libraries_does_not_do(bare: Path) -> None:
    dynamic = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    assert dynamic is not None
    (bare / "busybox").symlink_to(dynamic)

    with pytest.raises(SandboxError, match=r"not a static one; .* apt-get install busybox-static"):
        image.busybox()
    assert any("static busybox" in line for line in refusal())


def test_an_engine_is_brought_by_its_package_where_there_is_none(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert image.engine_package() == ""

    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setattr(image, "ROOTS_PROGRAMS", str(bare))
    monkeypatch.setattr(image, "ENGINE_SOCKET", bare / "socket")
    assert image.engine_package() == "docker.io"

    (bare / "dockerd").touch(mode=0o755)
    assert image.engine_package() == ""


@pytest.mark.parametrize(
    ("user", "last"),
    [(0, "npm docker-registry busybox-static docker.io"), (1000, "then log in anew")],
)
def test_another_user_than_root_is_told_of_the_group(
    bare: Path, monkeypatch: pytest.MonkeyPatch, user: int, last: str
) -> None:
    monkeypatch.setattr(image, "engine_package", lambda: "docker.io")
    monkeypatch.setattr("os.getuid", lambda: user)

    lines = refusal()

    assert lines[-1].endswith(last)
    assert any(line.endswith("busybox-static docker.io") for line in lines)


@pytest.mark.parametrize(
    ("said", "package", "words"),
    [
        ("Permission denied", "", "adduser NAME docker"),
        ("No such file", "docker.io", "apt-get install docker.io"),
        ("Connection refused", "", "systemctl start docker"),
    ],
)
def test_an_engine_that_does_not_answer_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, said: str, package: str, words: str
) -> None:
    def fail() -> NoReturn:
        raise DockerException(said)

    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(docker, "from_env", fail)
    monkeypatch.setattr(image, "engine_package", lambda: package)

    with pytest.raises(SandboxError, match=f"as root: {words}.*{said}"):
        image.engine()
