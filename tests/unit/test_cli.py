"""The verbs, as an operator types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iexworker import __version__, cli
from iexworker.control import NotRunning, ask
from tests.helpers import fake_tree

PYTHON = [sys.executable, "-m", "iexworker"]
FAKE_TREE = Path(fake_tree.__file__)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "IEXEC_WORKER_BASE_DIR": str(tmp_path / "base"),
        "IEXEC_WORKER_NAME": "w",
        "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": "1",
        "IEXEC_WORKER_WALLET_PATH": str(tmp_path / "wallet.json"),
        "IEXEC_WORKER_WALLET_PASSWORD": "hunter2",
        "IEXEC_WORKER_PORT": "0",
        **{name: value for name, value in os.environ.items() if name.startswith("COV")},
    }


def _run(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYTHON, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_version_is_told_without_heavy_imports(environ: dict[str, str]) -> None:
    done = _run(environ, "--version")
    assert (done.returncode, done.stdout) == (0, f"iexworker {__version__}\n")


@pytest.mark.parametrize("arguments", [("--version",), ("status",), ("healthcheck",)])
def test_quick_verbs_import_no_heavy_library(
    environ: dict[str, str], arguments: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "iexworker", *arguments],
        # Measuring coverage has imports of its own.
        env={name: value for name, value in environ.items() if not name.startswith("COV")},
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {"web3", "docker", "dynaconf", "falcon", "requests", "multiprocessing"}


def test_no_verb_is_an_error_that_names_them(environ: dict[str, str]) -> None:
    done = _run(environ)
    assert done.returncode == 2
    assert "VERB" in done.stderr


def test_help_names_the_exit_codes(environ: dict[str, str]) -> None:
    done = _run(environ, "--help")
    assert "77  wallet unusable" in done.stdout
    assert "sandbox" in done.stdout


def test_config_shows_values_sources_and_no_secret(environ: dict[str, str]) -> None:
    done = _run(environ, "config")
    assert done.returncode == 0
    assert "hunter2" not in done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("name ")]
    assert line.split() == ["name", "=", "w", "#", "IEXEC_WORKER_NAME"]
    assert "gas_price_multiplier = 1.3 " in " ".join(done.stdout.split())


@pytest.mark.parametrize("verb", ["run", "config"])
def test_every_problem_of_the_settings_is_told_at_once(environ: dict[str, str], verb: str) -> None:
    environ |= {"IEXEC_WORKER_PORT": "x", "IEXEC_WORKER_METRICS_WINDOW_SIZE": "0"}
    done = _run(environ, verb)
    assert done.returncode == 78
    first, *problems = done.stderr.splitlines()
    assert first == "iexworker: 2 problem(s) with the settings:"
    assert [problem.split("=")[0].strip() for problem in problems] == [
        "IEXEC_WORKER_PORT",
        "IEXEC_WORKER_METRICS_WINDOW_SIZE",
    ]


def test_status_of_no_worker_exits_3_with_one_line(environ: dict[str, str]) -> None:
    done = _run(environ, "status")
    assert done.returncode == 3
    assert done.stderr.startswith("iexworker: no worker has run in ")
    assert done.stderr.count("\n") == 1


def test_status_needs_no_other_setting_to_be_right(environ: dict[str, str]) -> None:
    assert _run({**environ, "IEXEC_WORKER_PORT": "x"}, "status").returncode == 3


def test_status_finds_the_folder_by_all_layers(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[default]\nname = "from-file"\n')
    del environ["IEXEC_WORKER_NAME"]
    done = _run({**environ, "IEXWORKER_CONFIG_DIR": str(tmp_path)}, "status")
    assert f"{tmp_path}/base/from-file" in done.stderr


def test_a_base_directory_that_is_a_file_exits_78(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "base").write_text("")
    done = _run(environ, "run")
    assert done.returncode == 78
    assert "IEXEC_WORKER_BASE_DIR" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_folder_in_use_exits_75_with_the_pid(environ: dict[str, str], tmp_path: Path) -> None:
    root = tmp_path / "base" / "w"
    with _FakeWorker(environ, root) as worker:
        done = _run(environ, "run")
        assert done.returncode == 75
        assert f"the worker with pid {worker.pid} uses this directory" in done.stdout


def test_status_of_a_running_worker_is_told_as_text_and_json(
    environ: dict[str, str], tmp_path: Path
) -> None:
    with _FakeWorker(environ, tmp_path / "base" / "w") as worker:
        text = _run(environ, "status")
        assert text.returncode == 1
        assert f"pid {worker.pid}" in text.stdout
        document = json.loads(_run(environ, "status", "--json").stdout)
        assert document["pid"] == worker.pid
        assert "hunter2" not in text.stdout + json.dumps(document)


def test_a_dead_worker_fails_the_health_check(environ: dict[str, str]) -> None:
    assert _run({**environ, "IEXEC_WORKER_PORT": "1"}, "healthcheck").returncode == 1
    assert _run(environ, "healthcheck").returncode == 3


def test_a_reader_that_leaves_early_is_no_traceback(environ: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*PYTHON, "config"], env=environ, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert b"Traceback" not in done.stderr


def test_the_sandbox_has_its_own_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["sandbox", "--help"])
    assert left.value.code == 0
    assert "deal" in capsys.readouterr().out


class _FakeWorker:
    """A parent with processes that pretend to work."""

    def __init__(self, environ: dict[str, str], root: Path) -> None:
        self._root = root
        self._process = subprocess.Popen(
            [sys.executable, str(FAKE_TREE), "{}"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pid = self._process.pid

    def __enter__(self) -> _FakeWorker:
        deadline = time.monotonic() + 20
        while True:
            try:
                ask(self._root, "status")
                return self
            except NotRunning:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
