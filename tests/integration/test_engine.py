"""Containers on a real engine: run, taken up, ended, cleared away."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.compute import names
from iexworker.compute.cancellation import Cancellation, Cancelled
from iexworker.compute.container import NO_EXIT, ContainerRunner, Run, RunStatus
from iexworker.compute.die_events import DieEvents
from iexworker.compute.engine import ContainerSpec, Engine, EngineRefused
from iexworker.compute.streams import Capture
from iexworker.errors import DockerError
from tests.helpers.docker_harness import (
    ADDRESS,
    DockerHarness,
    eventually,
    make_settings,
    new_task,
    new_wallet,
    remove_containers,
)
from tests.helpers.fault_proxy import FaultProxy, Mood

pytest_plugins = ["tests.helpers.docker_harness"]
pytestmark = pytest.mark.docker


class World:
    """What runs containers, and what they said."""

    def __init__(self, engine: Engine, harness: DockerHarness, folder: Path) -> None:
        self.engine = engine
        self.harness = harness
        self.folder = folder
        self.cancellation = Cancellation()
        self.deaths = DieEvents(engine.address, harness.wallet)
        self.runner = ContainerRunner(engine, self.deaths)

    def use(self, address: str) -> None:
        """Go to the engine by another way."""
        self.close()
        self.engine = Engine(address)
        self.deaths = DieEvents(address, self.harness.wallet)
        self.runner = ContainerRunner(self.engine, self.deaths)

    def close(self) -> None:
        self.deaths.close()
        self.engine.close()

    def capture(self) -> Capture:
        return Capture(self.folder / "out", self.folder / "err")

    def run(self, script: str | ContainerSpec, limit_s: float = 30.0) -> Run:
        spec = self.harness.spec(script) if isinstance(script, str) else script
        self.runner.clear(spec)
        with self.capture() as capture:
            return self.runner.run(spec, limit_s, capture, self.cancellation)

    def adopt(self, spec: ContainerSpec, limit_s: float = 30.0) -> Run:
        found = self.runner.adoptable(spec)
        assert found is not None
        with self.capture() as capture:
            return self.runner.adopt(found, limit_s, capture, self.cancellation)

    def begin(self, spec: ContainerSpec) -> str:
        """Start a container as a process would that is then killed."""
        container = self.engine.create(spec)
        self.engine.start(container)
        return container

    def ended(self, container: str) -> bool:
        state = self.engine.state(container)
        return state is not None and state.ended

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    def left(self) -> int:
        return len(self.engine.find({names.LABEL_WALLET: self.harness.wallet}))


@pytest.fixture
def world(engine: Engine, image: str, tmp_path: Path) -> Iterator[World]:
    harness = DockerHarness(make_settings(tmp_path), new_wallet(), image)
    made = World(Engine(ADDRESS), harness, tmp_path)
    yield made
    remove_containers(engine, harness.wallet)
    made.close()
    made.cancellation.close()
    gc.collect()


def test_both_streams_and_the_exit_code_are_received(world: World) -> None:
    run = world.run("echo out; echo err >&2; exit 3")
    assert (run.status, run.exit_code) == (RunStatus.FAILED, 3)
    assert (world.out, world.err) == ("out\n", "err\n")
    assert run.container is not None and world.left() == 1
    world.engine.remove(run.container)
    world.engine.remove(run.container)
    assert world.left() == 0


def test_an_app_that_exits_with_0_has_succeeded(world: World) -> None:
    run = world.run("true")
    assert (run.status, run.exit_code) == (RunStatus.SUCCESS, 0)


def test_an_app_that_ends_as_by_a_signal_has_failed(world: World) -> None:
    run = world.run("exit 137")
    assert (run.status, run.exit_code) == (RunStatus.FAILED, 137)


def test_much_output_is_received_whole(world: World) -> None:
    world.run("yes 0123456789abcdef | head -c 8000000")
    assert len(world.out) == 8_000_000


def test_a_command_that_is_not_in_the_image_fails_without_an_exit(world: World) -> None:
    spec = world.harness.spec("")
    missing = ContainerSpec(spec.name, spec.image, spec.labels, command=("/no/such", "command"))
    run = world.run(missing)
    assert (run.status, run.exit_code, run.container) == (RunStatus.FAILED, NO_EXIT, None)
    assert "no such file" in run.reason
    assert world.left() == 0


def test_no_command_at_all_fails_without_an_exit(world: World) -> None:
    spec = world.harness.spec("")
    run = world.run(ContainerSpec(spec.name, spec.image, spec.labels))
    assert (run.status, run.exit_code) == (RunStatus.FAILED, NO_EXIT)


def test_an_app_at_its_time_limit_is_ended_and_its_output_kept(world: World) -> None:
    started_s = time.monotonic()
    run = world.run("echo begun; sleep 60", limit_s=1.0)
    assert (run.status, run.exit_code) == (RunStatus.TIMEOUT, NO_EXIT)
    assert world.out == "begun\n"
    assert time.monotonic() - started_s < 15
    assert run.container is not None and world.ended(run.container)


def test_an_app_that_closes_its_streams_is_waited_for(world: World) -> None:
    run = world.run("echo out; exec >&- 2>&-; sleep 2; exit 4")
    assert (run.exit_code, world.out) == (4, "out\n")


def test_a_cancel_ends_the_container_at_once(world: World) -> None:
    threading.Timer(1.0, world.cancellation.cancel).start()
    started_s = time.monotonic()
    with pytest.raises(Cancelled):
        world.run("sleep 60")
    assert time.monotonic() - started_s < 15
    assert world.left() == 0


def test_only_the_documented_options_are_sent(world: World) -> None:
    """Compared with a container of which nothing but name, image and command is said."""
    spec = world.harness.spec("true")
    ours = world.engine.create(spec)
    client = world.engine.client
    bare = client.create_container(
        spec.image,
        list(spec.command),
        labels=dict(spec.labels),
        host_config=client.create_host_config(),
    )["Id"]
    mine, plain = (world.engine.client.inspect_container(item) for item in (ours, bare))
    assert mine["HostConfig"] == plain["HostConfig"]
    for key in ("Env", "Cmd", "Entrypoint", "User", "WorkingDir", "Tty", "OpenStdin"):
        assert mine["Config"][key] == plain["Config"][key]


def test_a_container_that_runs_on_is_taken_up_with_all_its_output(world: World) -> None:
    spec = world.harness.spec("echo first; sleep 2; echo second; echo err >&2; exit 5")
    container = world.begin(spec)
    run = world.adopt(spec)
    assert (run.container, run.exit_code) == (container, 5)
    assert (world.out, world.err) == ("first\nsecond\n", "err\n")
    state = world.engine.state(container)
    assert state is not None and state.duration_ms is not None and state.duration_ms >= 1900


def test_a_container_that_has_ended_meanwhile_is_taken_up(world: World) -> None:
    spec = world.harness.spec("echo done; exit 6")
    container = world.begin(spec)
    eventually(lambda: world.ended(container), "its end")
    run = world.adopt(spec)
    assert (run.exit_code, world.out) == (6, "done\n")


def test_a_container_past_its_limit_is_ended_when_it_is_taken_up(world: World) -> None:
    spec = world.harness.spec("echo begun; sleep 60")
    world.begin(spec)
    run = world.adopt(spec, limit_s=0.0)
    assert (run.status, run.exit_code) == (RunStatus.TIMEOUT, NO_EXIT)
    assert world.out == "begun\n"


def test_what_an_engine_or_a_host_ended_is_not_taken_up(world: World) -> None:
    spec = world.harness.spec("sleep 60")
    container = world.begin(spec)
    world.engine.kill(container)
    eventually(lambda: world.ended(container), "its end")
    assert world.runner.adoptable(spec) is None


def test_another_attempt_another_task_and_a_created_one_are_not_taken_up(world: World) -> None:
    task = new_task()
    spec = world.harness.spec("sleep 60", task, attempt=1)
    world.engine.create(spec)
    assert world.runner.adoptable(spec) is None
    world.engine.start(spec.name)
    assert world.runner.adoptable(spec) is not None
    assert world.runner.adoptable(world.harness.spec("", task, attempt=2)) is None
    assert world.runner.adoptable(world.harness.spec("")) is None


def test_leftovers_of_the_task_are_removed_before_a_run(world: World) -> None:
    task = new_task()
    world.begin(world.harness.spec("sleep 60", task))
    assert world.run(world.harness.spec("echo new", task, attempt=2)).exit_code == 0
    assert (world.out, world.left()) == ("new\n", 1)


def test_a_java_workers_leftover_of_that_name_is_removed(world: World) -> None:
    spec = world.harness.spec("echo new")
    other = ContainerSpec(spec.name, spec.image, {}, command=("/bin/sleep", "60"))
    leftover = world.begin(other)
    assert world.run(spec).exit_code == 0
    assert world.engine.state(leftover) is None


def test_a_container_of_another_worker_is_left_alone(world: World) -> None:
    spec = world.harness.spec("true")
    owner = names.Owner(new_wallet(), "other", "boot")
    other = ContainerSpec(
        spec.name, spec.image, names.labels(owner, new_task(), "app", 1), command=("/bin/true",)
    )
    container = world.engine.create(other)
    try:
        with pytest.raises(DockerError, match="different names"):
            world.run(spec)
        assert world.engine.state(container) is not None
    finally:
        world.engine.remove(container)


def test_a_container_removed_by_others_has_failed(world: World) -> None:
    spec = world.harness.spec("sleep 60")
    other = Engine(ADDRESS)
    timer = threading.Timer(1.5, lambda: other.remove(spec.name))
    timer.start()
    run = world.run(spec)
    timer.join()
    other.close()
    assert run.status is RunStatus.FAILED


def test_without_a_stream_of_events_the_engine_is_asked(world: World, tmp_path: Path) -> None:
    nowhere = DieEvents(f"unix://{tmp_path}/absent.sock", world.harness.wallet)
    world.runner = ContainerRunner(world.engine, nowhere)
    run = world.run("echo out; sleep 1; exit 3")
    nowhere.close()
    assert (run.exit_code, world.out) == (3, "out\n")


def test_an_engine_that_comes_back_gives_the_whole_output(
    world: World, docker_proxy: FaultProxy
) -> None:
    world.use(docker_proxy.url)

    def outage() -> None:
        docker_proxy.turn(Mood.GONE)
        time.sleep(2.5)
        docker_proxy.turn(Mood.WELL)

    timer = threading.Timer(1.0, outage)
    timer.start()
    run = world.run("echo first; sleep 2; echo second; sleep 3; echo third; exit 7")
    timer.join()
    assert (run.exit_code, world.out) == (7, "first\nsecond\nthird\n")


def test_an_engine_out_of_reach_is_an_error_in_words(tmp_path: Path) -> None:
    gone = Engine(f"unix://{tmp_path}/absent.sock")
    with pytest.raises(DockerError, match=r"connect: there is no such socket"):
        gone.ping()


def test_a_missing_container_has_no_state_and_ending_it_is_fine(engine: Engine) -> None:
    assert engine.state("absent") is None
    engine.kill("absent")
    engine.remove("absent")
    with pytest.raises(EngineRefused) as caught:
        engine.start("absent")
    assert caught.value.status == 404


def test_images_are_found_by_their_exact_tag(engine: Engine, image: str) -> None:
    assert engine.image_tags(image) == [image]
    assert engine.image_tags("iexworker-test-absent:1") is None
    assert engine.image_tags("NO GOOD") is None


def test_a_tasks_containers_are_removed_together(world: World) -> None:
    task = new_task()
    world.begin(world.harness.spec("sleep 60", task))
    assert world.engine.remove_labelled(world.harness.wallet, task) == 1
    assert world.engine.remove_labelled(world.harness.wallet, task) == 0


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_runs_leave_no_descriptor_behind(world: World) -> None:
    world.run("true")
    for _ in range(3):
        world.run("true")
    before = _descriptors()
    for _ in range(12):
        world.run("true")
    # The SDK keeps up to ten idle connections.
    assert _descriptors() <= before + 10
