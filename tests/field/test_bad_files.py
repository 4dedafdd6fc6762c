"""Files and folders that an operator names and that cannot be used: advice that fits each.

All of it is found before a process is forked.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iexworker import wallet as wallets
from iexworker.errors import EXIT_CONFIG, EXIT_REFUSED, SettingsError, WalletError
from iexworker.locks import Locks
from tests.helpers import fake_tree

WALLET = "IEXEC_WORKER_WALLET_PATH"
NOBODY = 65534

Make = Callable[[Path], object]


def run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the worker as an operator does; what this file gives it does not start."""
    environ = {
        "PATH": os.environ["PATH"],
        "IEXEC_CORE_URL": "http://127.0.0.1:1",
        "IEXEC_WORKER_BASE_DIR": str(folder / "base"),
        "IEXEC_WORKER_NAME": "w",
        "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": "1",
        WALLET: str(folder / "wallet.json"),
        "IEXEC_WORKER_WALLET_PASSWORD": "hunter2",
        "IEXEC_WORKER_PORT": "0",
        **{name: value for name, value in os.environ.items() if name.startswith("COV")},
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", "iexworker", "run"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Have the rights of nobody, whom permissions hold back, unlike root."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that everybody may look into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "gone" / "key.json")


def circle(path: Path) -> None:
    path.symlink_to(path)


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**31)


UNUSABLE: dict[str, tuple[Make, tuple[str, ...]]] = {
    "a folder": (Path.mkdir, ("is a folder", "Docker makes one")),
    "a link that leads nowhere": (dangling, ("is a link to", "gone/key.json", "there is nothing")),
    "a link in a circle": (circle, ("links that lead in a circle",)),
    "missing": (lambda _: None, ("there is no such file", WALLET)),
    "an empty file": (Path.touch, ("is empty",)),
    "a pipe": (os.mkfifo, ("is no regular file",)),
    "too large": (large, ("is too large for a keystore",)),
    "no JSON": (lambda path: path.write_text("{"), ("is not JSON", WALLET)),
    "no keystore": (lambda path: path.write_text('{"version": 3}'), ("has no crypto section",)),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_wallet_that_cannot_be_used_ends_the_start_before_any_process_with_fitting_advice(
    kind: str, tmp_path: Path
) -> None:
    make, words = UNUSABLE[kind]
    make(tmp_path / "wallet.json")

    done = run(tmp_path)

    assert done.returncode == EXIT_REFUSED, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "ERROR" in line or "CRITICAL" in line]
    assert f"wallet {tmp_path}/wallet.json" in line
    assert all(word in line for word in words), line
    assert "worker starts" not in done.stdout, "processes were forked"
    assert "permission" not in line
    assert "Traceback" not in done.stdout + done.stderr


def test_a_wallet_below_a_file_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    done = run(tmp_path, **{WALLET: str(tmp_path / "keys" / "wallet.json")})
    assert done.returncode == EXIT_REFUSED
    assert f"{tmp_path}/keys is a file, not a folder" in done.stdout


def test_a_wallet_in_a_folder_that_is_not_there_names_the_folder(tmp_path: Path) -> None:
    done = run(tmp_path, **{WALLET: str(tmp_path / "keys" / "wallet.json")})
    assert done.returncode == EXIT_REFUSED
    assert f"there is no folder {tmp_path}/keys" in done.stdout


def test_a_wallet_of_another_user_says_whose_it_is_and_who_we_are(open_folder: Path) -> None:
    path = open_folder / "wallet.json"
    path.write_text("{}")
    path.chmod(0o600)
    with as_nobody(), pytest.raises(WalletError) as caught:
        wallets.load(path, "x")
    assert f"may not be read by user {NOBODY}" in str(caught.value)
    assert "mode 600" in str(caught.value)


def test_a_folder_that_may_not_be_entered_is_named_not_the_wallet_in_it(open_folder: Path) -> None:
    folder = open_folder / "keys"
    folder.mkdir(mode=0o700)
    (folder / "wallet.json").write_text("{}")
    with as_nobody(), pytest.raises(WalletError) as caught:
        wallets.load(folder / "wallet.json", "x")
    assert f"{folder} may not be entered by user {NOBODY}" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text(""), "is a file, not a folder"),
        (dangling, "is a link to"),
        (circle, "links that lead in a circle"),
    ],
    ids=["a file", "a link that leads nowhere", "a link in a circle"],
)
def test_a_base_directory_that_cannot_be_one_exits_78_with_fitting_advice(
    make: Make, words: str, tmp_path: Path
) -> None:
    make(tmp_path / "base")
    done = run(tmp_path)
    assert done.returncode == EXIT_CONFIG
    assert "IEXEC_WORKER_BASE_DIR" in done.stdout
    assert words in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_base_directory_of_another_user_says_whose_it_is(open_folder: Path) -> None:
    with as_nobody(), pytest.raises(SettingsError) as caught:
        Locks().hold(open_folder / "base" / "w", open_folder / "none", 0)
    assert f"{open_folder} may not be written to by user {NOBODY}" in str(caught.value)


def test_a_base_directory_whose_lock_is_a_folder_exits_78(tmp_path: Path) -> None:
    (tmp_path / "base" / "w" / "worker.lock").mkdir(parents=True)
    done = run(tmp_path)
    assert done.returncode == EXIT_CONFIG
    assert "worker.lock cannot be used: it is a folder" in done.stdout


def test_a_base_directory_whose_control_socket_is_a_folder_exits_78(tmp_path: Path) -> None:
    (tmp_path / "wallet.json").write_text(json.dumps(fake_tree.KEYSTORE))
    (tmp_path / "base" / "w" / "control.sock").mkdir(parents=True)
    done = run(tmp_path)
    assert done.returncode == EXIT_CONFIG, done.stdout + done.stderr
    assert "control.sock cannot be made: it is a folder" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.mkdir, "is a folder: Docker makes one"),
        (dangling, "is a link to"),
        (lambda _: None, "there is no such file"),
    ],
    ids=["a folder", "a link that leads nowhere", "missing"],
)
def test_a_password_file_that_cannot_be_read_exits_78_with_fitting_advice(
    make: Make, words: str, tmp_path: Path
) -> None:
    make(tmp_path / "password")
    twin = "IEXEC_WORKER_WALLET_PASSWORD_FILE"
    done = run(tmp_path, **{"IEXEC_WORKER_WALLET_PASSWORD": "", twin: str(tmp_path / "password")})
    assert done.returncode == EXIT_CONFIG
    assert twin in done.stderr
    assert words in done.stderr


def test_a_settings_file_that_is_a_folder_exits_78_with_fitting_advice(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").mkdir()
    done = run(tmp_path, IEXWORKER_CONFIG_DIR=str(tmp_path))
    assert done.returncode == EXIT_CONFIG
    assert "settings.toml: cannot be read (it is a folder: Docker makes one" in done.stderr
