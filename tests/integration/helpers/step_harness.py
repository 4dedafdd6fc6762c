"""One worker's slot on a real engine, whose steps a test does one by one."""

from __future__ import annotations

import dataclasses
import gc
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iexworker.compute import names
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.container import ContainerRunner
from iexworker.compute.die_events import DieEvents
from iexworker.compute.engine import Engine
from iexworker.compute.folders import TaskFolder
from iexworker.compute.steps import StepResult, Steps, Tools
from iexworker.poco.models import Profile, TaskDescription
from iexworker.shared.handoff import StepOutcome, TaskOrder
from tests.helpers.docker_harness import (
    ADDRESS,
    PROFILES,
    DockerHarness,
    make_settings,
    new_wallet,
    remove_containers,
)

V8, V9 = PROFILES
NO_IMAGE = {
    V9: "0x6b234cc858ad3404f912dd7f119afe2178251bec64cb25e5cbeba61dd764fc5d",
    V8: "0xb46b470f39c43c347a858b3953dbca528abb5d5faf0c60f6895b4835e7f34993",
}


class StepHarness:
    """One worker's slot, and tasks for it."""

    def __init__(self, engine: Engine, docker_harness: DockerHarness) -> None:
        self.engine = engine
        self.docker_harness = docker_harness
        self.cancellation = Cancellation()
        self.scheduler_answers = True
        deaths = DieEvents(engine.address, docker_harness.wallet)
        self.tools = Tools(
            settings=docker_harness.settings,
            owner=docker_harness.owner,
            engine=engine,
            deaths=deaths,
            runner=ContainerRunner(engine, deaths),
            scheduler_answers=lambda: self.scheduler_answers,
            network_patience_s=1.0,
        )

    def close(self) -> None:
        self.tools.deaths.close()
        self.tools.engine.close()
        self.cancellation.close()
        gc.collect()

    def use(self, **changes: Any) -> None:
        """Change settings of the worker."""
        self.docker_harness = dataclasses.replace(
            self.docker_harness,
            settings=dataclasses.replace(self.docker_harness.settings, **changes),
        )
        self.tools = dataclasses.replace(self.tools, settings=self.docker_harness.settings)

    def perform(
        self, step: str, task: TaskDescription, profile: Profile = V9, attempt: int = 1
    ) -> StepResult:
        steps = Steps(self.tools, TaskOrder(task, profile), attempt, self.cancellation)
        return steps.perform(step)

    def do(self, step: str, task: TaskDescription, profile: Profile = V9) -> StepOutcome:
        return self.perform(step, task, profile).outcome

    def compute(self, script: str, profile: Profile = V9, **changes: Any) -> StepOutcome:
        return self.do("compute", self.docker_harness.task(script, **changes), profile)

    def folder(self, task: TaskDescription) -> TaskFolder:
        return TaskFolder(self.docker_harness.settings.task_dir(task.task_id))

    def containers(self) -> int:
        return len(self.engine.find({names.LABEL_WALLET: self.docker_harness.wallet}))


@pytest.fixture
def steps(engine: Engine, image: str, tmp_path: Path) -> Iterator[StepHarness]:
    made = StepHarness(Engine(ADDRESS), DockerHarness(make_settings(tmp_path), new_wallet(), image))
    yield made
    remove_containers(engine, made.docker_harness.wallet)
    made.close()


class http_server:
    """Answer every request with one body, on a free port."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
