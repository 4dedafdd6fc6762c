"""The wheel, installed into an empty environment: the sandbox must need nothing of a checkout."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import docker
import pytest

from iexworker.errors import EXIT_UNAVAILABLE
from iexworker.sandbox import image
from tests.helpers.live_worker import eventually

CHECKOUT = Path(__file__).parents[2]
BUILT_FROM = ("iexworker", "setup.py", "pyproject.toml", "README.md", "LICENSE")
OURS = ("IEXEC_", "IEXWORKER_", "XDG_", "COVERAGE_", "PYTHON")
"""What variables of the test run's own begin with."""

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("installed")]


@pytest.fixture(scope="module")
def wheel(unmeasured: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools would pack what is stale in a build folder."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in BUILT_FROM:
        path = CHECKOUT / name
        if path.is_dir():
            shutil.copytree(path, folder / "source" / name)
        else:
            shutil.copy(path, folder / "source")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "source"))
    shutil.rmtree(folder / "source")
    return next(folder.glob("iexworker-*.whl"))


def pip(python: str, *arguments: str) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def npm_config(key: str) -> str:
    done = subprocess.run(["npm", "config", "get", key], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass(frozen=True)
class Installed:
    """`iexworker` of an empty environment, for a user without any files, in a folder of theirs."""

    programs: Path
    home: Path
    cwd: Path
    environment: Mapping[str, str]

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.programs / words[0]), *words[1:]],
            cwd=self.cwd,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, code: int = 0, **more: str) -> str:
        """Run a command to its end; give what it printed."""
        process = self.start(*words, **more)
        printed = process.communicate()[0]
        assert process.returncode == code, printed
        return printed

    def sandbox(self, *words: str, code: int = 0, **more: str) -> str:
        return self.run("iexworker", "sandbox", *words, code=code, **more)

    @property
    def state(self) -> Path:
        return self.home / ".local" / "state" / "iexworker" / "sandbox"

    def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.sandbox("tasks", "--json"))
        return found

    def processes(self) -> list[str]:
        """Give the command lines of the processes that run for this user."""
        found = []
        mark = f"HOME={self.home}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile, or is another user's
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
        return found


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    constraints = str(CHECKOUT / "constraints.txt")
    pip(str(folder / "bin" / "python"), "install", "-c", constraints, str(wheel))
    return folder / "bin"


@pytest.fixture
def installed(programs: Path, tmp_path: Path) -> Iterator[Installed]:
    home, cwd = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    cwd.mkdir()
    plain = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    environment = {
        **plain,
        "HOME": str(home),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        # npm's own settings and downloads are the machine's, as pip's are.
        "NPM_CONFIG_CACHE": npm_config("cache"),
        "NPM_CONFIG_USERCONFIG": npm_config("userconfig"),
    }
    made = Installed(programs, home, cwd, environment)
    yield made
    made.sandbox("down", "--delete")


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = image.engine()
    yield client
    client.close()


def sourced(path: Path) -> dict[str, str]:
    """Read the variables of a worker.env."""
    words = shlex.split(path.read_text(encoding="utf-8").replace("export ", ""))
    return dict(word.split("=", 1) for word in words)


def left(engine: docker.DockerClient, registry: str) -> list[str]:
    """Name the images and containers that came from a registry."""
    tags = [tag for one in engine.api.images() for tag in one.get("RepoTags") or ()]
    containers = engine.api.containers(all=True)
    images = [one["Image"] for one in containers]
    return [name for name in tags + images if name.startswith(registry)]


# --- what the wheel holds ------------------------------------------------------------------------


def test_the_wheel_holds_the_package_as_it_is_here(wheel: Path) -> None:
    here = {
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / "iexworker").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = set(zipfile.ZipFile(wheel).namelist())

    assert {name for name in held if ".dist-info/" not in name} == here
    assert {"iexworker/py.typed", "iexworker/sandbox/app/run.sh"} <= held
    about = {name.partition(".dist-info/")[2] for name in held if ".dist-info/" in name}
    assert {"METADATA", "entry_points.txt"} <= about
    assert any(name.endswith("LICENSE") for name in about)


def test_every_folder_with_modules_is_a_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {PurePosixPath(name).parent for name in names if name.endswith(".py")}

    assert [one for one in folders if f"{one}/__init__.py" not in names] == []


def test_the_packages_data_are_files_that_exist() -> None:
    tree = ast.parse((CHECKOUT / "setup.py").read_text(encoding="utf-8"))
    given = (one for one in ast.walk(tree) if isinstance(one, ast.keyword))
    value = next(one.value for one in given if one.arg == "package_data")
    data: dict[str, list[str]] = ast.literal_eval(value)

    assert data
    for package, patterns in data.items():
        folder = CHECKOUT / package.replace(".", "/")
        assert [pattern for pattern in patterns if not list(folder.glob(pattern))] == []


# --- what it does --------------------------------------------------------------------------------


@pytest.mark.chain
@pytest.mark.docker
def test_a_task_is_completed_far_from_any_checkout(
    installed: Installed, engine: docker.DockerClient
) -> None:
    # Whose folder it is must not matter, not even with modules like those that we import.
    for name in ("random.py", "docker.py", "requests.py"):
        (installed.cwd / name).write_text("raise SystemExit('a module of the user')")

    told = installed.sandbox("up")

    cache = installed.home / ".cache" / "iexworker"
    assert f"fetching anvil 1.7.1 with npm (18.9 MB) into {cache}/anvil-1.7.1\n" in told
    assert f"fetching the PoCo contracts 6.1.0 with npm (0.4 MB) into {cache}/" in told
    assert "up: profile 9 in" in told
    network = json.loads((installed.state / "network.json").read_text())
    registry = f"127.0.0.1:{network['registry_port']}"
    installed.sandbox("deal", "--args", "hello there")
    # Any port: another worker of this machine may have the usual one.
    variables = sourced(installed.state / "worker.env") | {"IEXEC_WORKER_PORT": "0"}
    worker = installed.start("iexworker", "run", **variables)
    try:
        eventually(
            lambda: worker.poll() is not None or installed.tasks()[0]["status"] == "COMPLETED",
            "the task is COMPLETED",
            120,
        )
    finally:
        worker.send_signal(signal.SIGTERM)
        log = worker.communicate()[0]
    assert worker.returncode == 0, log
    task = installed.tasks()[0]
    assert (task["status"], task["winners"]) == ("COMPLETED", ["worker1"]), log
    assert "arguments: hello there" in installed.sandbox("result", task["taskId"])

    assert "stopped: server, registry, anvil" in installed.sandbox("down")
    assert installed.processes() == []
    assert left(engine, registry) == []

    # What was fetched is there: npm is not asked again.
    broken = installed.home.parent / "broken"
    broken.mkdir()
    (broken / "npm").write_text("#!/bin/sh\nexit 1\n")
    (broken / "npm").chmod(0o755)
    path = f"{broken}{os.pathsep}{installed.environment['PATH']}"
    assert "fetching" not in installed.sandbox("up", PATH=path)
    assert "fetching" not in installed.sandbox("up", "--fresh", PATH=path)
    installed.sandbox("down", "--delete")

    assert installed.processes() == []
    assert not installed.state.exists()
    assert not list(cache.glob("*draft*"))
    assert {path.name for path in installed.cwd.iterdir()} == {
        "random.py",
        "docker.py",
        "requests.py",
    }


def test_all_that_is_missing_is_named_before_anything_is_started(installed: Installed) -> None:
    where = installed.home / "engine"
    told = installed.sandbox(
        "up", code=EXIT_UNAVAILABLE, PATH=str(installed.programs), DOCKER_HOST=f"unix://{where}"
    )

    assert "iexworker: the sandbox needs what this machine lacks:\n" in told
    assert "  npm, which fetches" in told
    assert f"no Docker engine answers at DOCKER_HOST=unix://{where}" in told
    assert "install --no-install-recommends npm docker-registry busybox-static\n" in told
    assert installed.processes() == []


@pytest.mark.chain
def test_two_that_fetch_at_once_fetch_each_thing_once(installed: Installed) -> None:
    words = ("python", "-m", "iexworker.sandbox.network.tools")
    both = [installed.start(*words), installed.start(*words)]

    told = "".join(one.communicate()[0] for one in both)

    assert [one.returncode for one in both] == [0, 0], told
    assert told.count("fetching anvil") == 1
    assert told.count("fetching the PoCo contracts 6.1.0") == 1
    assert told.count("fetching the PoCo contracts 5.5.0") == 1
    cache = installed.home / ".cache" / "iexworker"
    found = {path.name for path in cache.iterdir()}
    assert found == {"anvil-1.7.1", "poco-6.1.0", "poco-5.5.0", "npm.lock"}
    version = subprocess.run([cache / "anvil-1.7.1" / "anvil", "--version"], capture_output=True)
    assert b"1.7.1" in version.stdout
