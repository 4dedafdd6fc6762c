"""An app whose image cannot be run has failed at once; an engine in trouble is tried again."""

from __future__ import annotations

import dataclasses
import io
import logging
import tarfile
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from iexworker.compute.blame import Blame, Patience, Trouble
from iexworker.compute.cancellation import Cancelled
from iexworker.compute.engine import Engine, EngineRefused
from iexworker.errors import DockerError
from iexworker.poco.models import DealParams, Profile, TaskDescription
from tests.helpers.docker_harness import ADDRESS, PROFILES
from tests.integration.helpers.step_harness import StepHarness

pytest_plugins = ["tests.helpers.docker_harness", "tests.integration.helpers.step_harness"]

RUNS = 'ENTRYPOINT ["/bin/true"]'
A_FILE = {"etc/f": b"x"}
MISCONFIGURED: dict[str, tuple[tuple[str, ...], dict[str, bytes]]] = {
    "unknown user": (("USER nosuchuser", RUNS), {}),
    "unknown group": (("USER 0:nosuchgroup", RUNS), {}),
    "user out of range": (("USER 99999999999", RUNS), {}),
    "working directory is a file": (("WORKDIR /etc/f", RUNS), A_FILE),
    "volume over a file": (("VOLUME /etc/f", RUNS), A_FILE),
    "volume over the root": (("VOLUME /", RUNS), {}),
    "entry point that is not there": (('ENTRYPOINT ["/no"]',), {}),
    "entry point that is a folder": (('ENTRYPOINT ["/bin"]',), {}),
    "a user named like a fault of the engine": (("USER no space left on device", RUNS), {}),
}


def make_image(engine: Engine, changes: tuple[str, ...], files: dict[str, bytes]) -> str:
    """Import busybox with a configuration; return its reference."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add("/usr/bin/busybox", "bin/busybox")
        link = tarfile.TarInfo("bin/true")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(link)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    repository = f"iexworker-test-{uuid.uuid4().hex[:12]}"
    engine.client.import_image_from_data(
        content.getvalue(), repository=repository, tag="1", changes=list(changes)
    )
    return f"{repository}:1"


def task(steps: StepHarness, image: str) -> TaskDescription:
    """Return a task whose app is run as its image has it."""
    plain = steps.docker_harness.task("", app_image=image)
    return dataclasses.replace(plain, params=DealParams())


@pytest.fixture(params=MISCONFIGURED, ids=list(MISCONFIGURED))
def misconfigured(engine: Engine, request: pytest.FixtureRequest) -> Iterator[str]:
    changes, files = MISCONFIGURED[request.param]
    reference = make_image(engine, changes, files)
    yield reference
    engine.client.remove_image(reference, force=True)


@pytest.fixture
def no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """End a step that is tried again."""

    def refuse(seconds: float) -> None:
        raise Cancelled(f"tried again after {seconds} s")

    monkeypatch.setattr("iexworker.compute.cancellation.Cancellation.pause", lambda _, s: refuse(s))


@pytest.mark.docker
def test_what_the_image_asks_for_and_has_not_is_the_apps_failure_at_once(
    steps: StepHarness, misconfigured: str, no_second_try: None
) -> None:
    made = task(steps, misconfigured)
    outcome = steps.do("compute", made, Profile.V8)
    assert (outcome.ok, outcome.cause, outcome.exit_code) == (False, "APP_COMPUTE_FAILED", -1)
    assert steps.containers() == 0
    label = {"label": f"iexworker.task={made.task_id}"}
    assert steps.engine.client.images(all=True, filters=label) == []


@pytest.mark.docker
@pytest.mark.parametrize("profile", PROFILES)
def test_profile_9_tells_the_exit_code_and_no_cause_as_for_exit_codes(
    steps: StepHarness, engine: Engine, profile: Profile, no_second_try: None
) -> None:
    reference = make_image(engine, *MISCONFIGURED["unknown user"])
    outcome = steps.do("compute", task(steps, reference), profile)
    engine.client.remove_image(reference, force=True)
    assert outcome.ok is (profile is Profile.V9)
    assert outcome.exit_code == -1 and "nosuchuser" in outcome.message


OPERATORS: dict[str, dict[str, Any]] = {
    "a runtime that the engine has not": {"app_runtime": "no-such-runtime"},
    "a network that the engine has not": {"app_network": "no-such-network"},
    "memory below what a container takes": {"app_memory_bytes": 1},
}


@pytest.mark.docker
@pytest.mark.parametrize("setting", OPERATORS)
def test_what_the_operator_asks_of_the_engine_in_vain_is_no_fault_of_the_app(
    steps: StepHarness, image: str, setting: str, no_second_try: None
) -> None:
    steps.use(**OPERATORS[setting])
    with pytest.raises(Cancelled):
        steps.do("compute", steps.docker_harness.task("true"), Profile.V8)


class Troubled(Engine):
    """A real engine that refuses as moby does when its own parts fail."""

    def __init__(self, refusals: int, reason: str, *, any_container: bool) -> None:
        super().__init__(ADDRESS)
        self._left = refusals
        self._reason = reason
        self._any = any_container

    def start(self, container: str) -> None:
        state = self.state(container)
        assert state is not None
        if self._left and (self._any or not state.name.endswith("-probe")):
            self._left -= 1
            raise EngineRefused(f"Docker, start: {self._reason}", 500, self._reason)
        super().start(container)


def trouble(steps: StepHarness, engine: Troubled) -> None:
    """Have the slot work with this engine."""
    steps.engine.close()
    steps.engine = engine
    runner = type(steps.tools.runner)(engine, steps.tools.deaths)
    steps.tools = dataclasses.replace(steps.tools, engine=engine, runner=runner)


RUNC_GONE = "failed to create shim task: exec: runc: executable file not found in $PATH: unknown"


@pytest.mark.docker
def test_an_engine_that_starts_nothing_is_tried_again_with_the_task_named(
    steps: StepHarness, caplog: pytest.LogCaptureFixture
) -> None:
    trouble(steps, Troubled(2, RUNC_GONE, any_container=True))
    made = steps.docker_harness.task("true")
    with caplog.at_level(logging.WARNING):
        outcome = steps.do("compute", made, Profile.V9)
    assert outcome.exit_code == 0
    [told] = [record for record in caplog.records if "runc" in record.__dict__.get("error", "")]
    assert told.__dict__["task"] == made.task_id


@pytest.mark.docker
def test_an_engine_that_has_got_over_it_runs_the_app(
    steps: StepHarness, no_second_try: None
) -> None:
    trouble(steps, Troubled(1, RUNC_GONE, any_container=False))
    outcome = steps.do("compute", steps.docker_harness.task("true"), Profile.V9)
    assert outcome.exit_code == 0


@pytest.mark.docker
def test_a_full_disk_of_ours_is_no_fault_of_the_app(
    steps: StepHarness, no_second_try: None
) -> None:
    full = "copy volume: write /var/lib/docker/x: no space left on device"
    trouble(steps, Troubled(100, full, any_container=False))
    with pytest.raises(Cancelled):
        steps.do("compute", steps.docker_harness.task("true"), Profile.V8)


def test_each_line_of_a_step_that_is_tried_again_names_its_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise DockerError("Docker, ping: out of reach")

    pauses: list[float] = []
    patience = Patience(
        deadline_s=2e9,
        longest_s=3.0,
        pause=pauses.append,
        scheduler_answers=lambda: True,
        task="0x01",
        elapsed=lambda: sum(pauses),
    )
    with pytest.raises(Trouble) as caught:
        patience.persist(fail, "compute")
    assert caught.value.blame is Blame.OURS
    assert pauses and {record.__dict__["task"] for record in caplog.records} == {"0x01"}
