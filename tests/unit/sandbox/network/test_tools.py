from __future__ import annotations

import fcntl
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from iexworker.errors import SandboxError
from iexworker.sandbox.network import tools
from tests.unit.helpers import fake_npm

FETCH = [sys.executable, "-m", "iexworker.sandbox.network.tools"]


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache that does not exist yet."""
    monkeypatch.setenv(tools.ENVIRONMENT, str(tmp_path / "cache"))
    return tmp_path / "cache"


def use(monkeypatch: pytest.MonkeyPatch, program: Path) -> None:
    """Put a program before all others of its name."""
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def fill(cache: Path) -> None:
    """Put into the cache what looks like all that is fetched."""
    for name in ("anvil-1.7.1/anvil", "poco-6.1.0/package.json", "poco-5.5.0/package.json"):
        (cache / name).parent.mkdir(parents=True)
        (cache / name).touch()


def test_what_is_fetched_lies_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(tools.ENVIRONMENT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tools.folder() == tmp_path / "iexworker"

    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert tools.folder() == Path("/home/me/.cache/iexworker")


def test_a_variable_names_another_folder(cache: Path) -> None:
    fill(cache)

    assert tools.anvil() == cache / "anvil-1.7.1" / "anvil"
    assert tools.contracts_folder("8") == cache / "poco-5.5.0"


def test_a_relative_folder_does_not_move_with_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(tools.ENVIRONMENT, "here")

    assert tools.folder() == tmp_path / "here"


def test_what_is_missing_is_said_with_what_to_do(cache: Path) -> None:
    with pytest.raises(SandboxError, match=r"poco-5.5.0 is missing: `iexworker sandbox up`"):
        tools.contracts_folder("8")
    with pytest.raises(SandboxError, match=r"no-such-program is not .* apt-get install such"):
        tools.program("no-such-program", "such")


def test_what_is_there_is_not_fetched_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cache)
    monkeypatch.setenv("PATH", "")
    told: list[str] = []

    tools.fetch(tools.POCO_VERSIONS, told.append)

    assert told == []


def test_only_the_contracts_of_the_profile_are_missed(cache: Path) -> None:
    fill(cache)
    (cache / "poco-5.5.0" / "package.json").unlink()
    (cache / "poco-5.5.0").rmdir()

    assert tools.complete(["9"])
    assert not tools.complete(["8"])


def test_a_failed_fetch_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, fake_npm.npm(tmp_path / "bin", "echo half >it.tgz; exit 1"))

    with pytest.raises(SandboxError, match="npm does not fetch @foundry-rs/anvil"):
        tools.fetch(["9"], lambda _: None)

    assert [path.name for path in cache.iterdir()] == ["npm.lock"]


def test_a_folder_that_cannot_be_written_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(tools.ENVIRONMENT, str(tmp_path / "file" / "cache"))

    with pytest.raises(SandboxError, match=f"cannot be written .*{tools.ENVIRONMENT} name another"):
        tools.fetch(["9"], lambda _: None)


def test_a_machine_without_anvil_is_told_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "vax")

    with pytest.raises(SandboxError, match=r"no anvil 1.7.1 for this kind of machine \(vax\)"):
        tools.fetch(["9"], lambda _: None)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_fetch_leaves_no_half_thing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sent: signal.Signals
) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    hanging = f"echo half >it.tgz; echo $$ >{begun}; exec sleep 60"
    use(monkeypatch, fake_npm.npm(tmp_path / "bin", hanging))
    # Who runs tests side by side ignores SIGINT, and so would what is started here.
    command = ("env", "--default-signal=INT", *FETCH)
    fetching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    npm = int(begun.read_text())

    fetching.send_signal(sent)
    fetching.communicate()
    if sent is not signal.SIGINT:  # nobody was left to stop it
        os.kill(npm, signal.SIGKILL)

    assert {path.name for path in cache.iterdir()} <= {"npm.lock", "draft-npm"}
    assert not tools.complete(["9"])
    use(monkeypatch, fake_npm.npm(tmp_path / "bin", "ls -A; exit 1"))
    with pytest.raises(SandboxError, match=r"\(exit code 1\):\n$"):  # the old draft is gone
        tools.fetch(["9"], lambda _: None)
    assert [path.name for path in cache.iterdir()] == ["npm.lock"]


def test_a_second_process_waits_for_the_one_that_fetches(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, fake_npm.npm(tmp_path / "bin", "echo fetched twice >&2; exit 1"))
    cache.mkdir()
    with (cache / "npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen(FETCH, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert second.stdout is not None
        assert second.stdout.readline() == (
            f"waiting for another process that fetches into {cache}\n"
        )
        fill(cache)

    assert second.communicate() == ("", "")
    assert second.returncode == 0
