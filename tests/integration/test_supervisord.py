"""deploy/supervisord/iexworker.conf under a real supervisord."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.errors import EXIT_CONFIG
from tests.helpers.live_worker import LiveSandbox, alive, eventually
from tests.integration.helpers.deployed_worker import DEPLOY, DeployedWorker

pytestmark = [
    pytest.mark.docker,
    pytest.mark.chain,
    pytest.mark.usefixtures("unmeasured"),
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("supervisord"),
]

_SERVER = """\
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}

[unix_http_server]
file={folder}/supervisor.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{folder}/supervisor.sock

"""


class Supervisord:
    """A supervisord of the test's own, with the shipped program section."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.env_file = folder / "worker.env"
        self._config = folder / "supervisord.conf"
        program = (DEPLOY / "supervisord" / "iexworker.conf").read_text(encoding="utf-8")
        installed = {
            "/opt/iexworker/bin/iexworker": str(Path(sys.executable).with_name("iexworker")),
            "/etc/iexworker/worker.env": str(self.env_file),
            "/var/log/iexworker.log": str(log),
        }
        for ours, theirs in installed.items():
            assert ours in program
            program = program.replace(ours, theirs)
        self._config.write_text(_SERVER.format(folder=folder) + program, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = Path(sys.executable).with_name("supervisord")
        self._process = subprocess.Popen(
            [str(program), "--configuration", str(self._config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: "iexworker" in self.ask("status"), "supervisord", 20)

    def ask(self, *words: str) -> str:
        """Run supervisorctl; return its words."""
        program = Path(sys.executable).with_name("supervisorctl")
        done = subprocess.run(
            [str(program), "--configuration", str(self._config), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[LiveSandbox]:
    sandbox = LiveSandbox(tmp_path / "net", "9")
    yield sandbox
    sandbox.close()


@pytest.fixture
def worker(sandbox: LiveSandbox) -> DeployedWorker:
    return DeployedWorker(sandbox, "supervised")


@pytest.fixture
def supervisord(worker: DeployedWorker, short_folder: Path) -> Iterator[Supervisord]:
    supervisord = Supervisord(short_folder, worker.log)
    worker.write_variables(supervisord.env_file)
    yield supervisord
    supervisord.stop()


@pytest.fixture
def short_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    # The path of a socket takes 107 bytes, and supervisord makes a longer one of it at first.
    folder = tmp_path_factory.mktemp("s")
    yield folder
    shutil.rmtree(folder)


def test_a_killed_parent_is_started_again_and_its_task_completes(
    sandbox: LiveSandbox, worker: DeployedWorker, supervisord: Supervisord
) -> None:
    supervisord.start()
    worker.ready()
    (task,) = sandbox.buy("sleep=4")
    eventually(lambda: sandbox.containers(task), "the app's container")
    tree, parent = worker.tree(), worker.parent()

    os.kill(parent, signal.SIGKILL)

    eventually(lambda: not any(map(alive, tree)), "no orphan process", 10)
    eventually(lambda: worker.parent() not in (0, parent), "another parent", 30)
    sandbox.completed(task)
    worker.at_rest()
    last = worker.tree()
    supervisord.ask("stop", "iexworker")
    assert "STOPPED" in supervisord.ask("status")
    assert not any(map(alive, last))
    assert worker.lines("worker stopped", "orderly=True")


def test_a_worker_whose_settings_have_problems_is_not_started_again(
    sandbox: LiveSandbox, worker: DeployedWorker, supervisord: Supervisord
) -> None:
    with supervisord.env_file.open("a", encoding="utf-8") as variables:
        variables.write("IEXEC_WORKER_PORT=many\n")
    supervisord.start()
    eventually(lambda: "EXITED" in supervisord.ask("status"), "EXITED", 20)
    report = (supervisord.env_file.parent / "supervisord.log").read_text()
    assert f"exit status {EXIT_CONFIG}; expected" in report
    assert report.count("spawned: 'iexworker'") == 1
    assert worker.lines("IEXEC_WORKER_PORT")
