"""The three steps of a slot on a real engine, registry and HTTP server."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import http.server
import json
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from enginekit import (
    ADDRESS,
    PROFILES,
    Bench,
    Relay,
    eventually,
    image_of_this_run,
    make_settings,
    new_wallet,
    remove_containers,
)

from iexworker.chain.models import DealParams, TaskDescription
from iexworker.compute import labels
from iexworker.compute.cancellation import Cancellation, Cancelled
from iexworker.compute.container import Runner
from iexworker.compute.deaths import Deaths
from iexworker.compute.engine import Engine
from iexworker.compute.folders import TaskFolder
from iexworker.compute.steps import Done, Steps, Tools
from iexworker.core.messages import Profile
from iexworker.sandbox import ports
from iexworker.sandbox.registry import HOST, LOGIN, Registry
from iexworker.settings import RegistryCredentials
from iexworker.task.orders import StepOutcome, TaskOrder

pytestmark = pytest.mark.docker

V8, V9 = PROFILES
RESULT = 'echo -n A > /iexec_out/r; echo "{\\"deterministic-output-path\\":\\"/iexec_out/r\\"}"'
WRITE_RESULT = f"{RESULT} > /iexec_out/computed.json"
DIGEST_OF_A = "0x" + hashlib.sha256(b"A").hexdigest()
NO_IMAGE = {
    V9: "0x6b234cc858ad3404f912dd7f119afe2178251bec64cb25e5cbeba61dd764fc5d",
    V8: "0xb46b470f39c43c347a858b3953dbca528abb5d5faf0c60f6895b4835e7f34993",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine(ADDRESS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def image(engine: Engine) -> Iterator[str]:
    with image_of_this_run(engine) as reference:
        yield reference


class World:
    """One worker's slot, and tasks for it."""

    def __init__(self, engine: Engine, bench: Bench) -> None:
        self.engine = engine
        self.bench = bench
        self.cancellation = Cancellation()
        self.scheduler_answers = True
        deaths = Deaths(engine.address, bench.wallet)
        self.tools = Tools(
            settings=bench.settings,
            owner=bench.owner,
            engine=engine,
            deaths=deaths,
            runner=Runner(engine, deaths),
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
        self.bench = dataclasses.replace(
            self.bench, settings=dataclasses.replace(self.bench.settings, **changes)
        )
        self.tools = dataclasses.replace(self.tools, settings=self.bench.settings)

    def perform(
        self, step: str, task: TaskDescription, profile: Profile = V9, attempt: int = 1
    ) -> Done:
        steps = Steps(self.tools, TaskOrder(task, profile), attempt, self.cancellation)
        return steps.perform(step)

    def do(self, step: str, task: TaskDescription, profile: Profile = V9) -> StepOutcome:
        return self.perform(step, task, profile).outcome

    def compute(self, script: str, profile: Profile = V9, **changes: Any) -> StepOutcome:
        return self.do("compute", self.bench.task(script, **changes), profile)

    def folder(self, task: TaskDescription) -> TaskFolder:
        return TaskFolder(self.bench.settings.task_dir(task.task_id))

    def containers(self) -> int:
        return len(self.engine.find({labels.WALLET: self.bench.wallet}))


@pytest.fixture
def world(engine: Engine, image: str, tmp_path: Path) -> Iterator[World]:
    made = World(Engine(ADDRESS), Bench(make_settings(tmp_path), new_wallet(), image))
    yield made
    remove_containers(engine, made.bench.wallet)
    made.close()


# --- compute -------------------------------------------------------------------------------------


def test_profile_9_reports_logs_and_exit_code_of_an_app_that_succeeds(world: World) -> None:
    task = world.bench.task(f"echo out; echo err >&2; {WRITE_RESULT}")
    done = world.perform("compute", task)
    outcome = done.outcome
    assert outcome == StepOutcome(
        task.task_id,
        "compute",
        1,
        ok=True,
        exit_code=0,
        with_logs=True,
        stdout_tail="out\n",
        stderr_tail="err\n",
        digest=DIGEST_OF_A,
        container_ms=outcome.container_ms,
    )
    with zipfile.ZipFile(world.folder(task).archive) as archive:
        assert archive.namelist() == ["computed.json", "r", "stderr.txt", "stdout.txt"]
        assert archive.read("stdout.txt") == b"out\n"
    assert done.container is not None and world.containers() == 1


def test_profile_8_reports_logs_only_of_an_app_that_succeeds(world: World) -> None:
    outcome = world.compute(f"echo out; {WRITE_RESULT}", V8)
    assert (outcome.ok, outcome.exit_code, outcome.with_logs) == (True, None, True)
    assert (outcome.stdout_tail, outcome.digest) == ("out\n", DIGEST_OF_A)


def test_profile_9_contributes_what_a_failed_app_has_left(world: World) -> None:
    task = world.bench.task(f"echo out; {WRITE_RESULT}; exit 3")
    outcome = world.do("compute", task)
    assert (outcome.ok, outcome.cause, outcome.exit_code) == (True, None, 3)
    assert outcome.digest == DIGEST_OF_A
    assert "APP_COMPUTE_FAILED" in outcome.message
    assert not (world.folder(task).iexec_out / "stdout.txt").exists()


def test_profile_8_stops_at_an_app_that_fails(world: World) -> None:
    outcome = world.compute(f"echo out; {WRITE_RESULT}; exit 3", V8)
    assert (outcome.ok, outcome.cause, outcome.exit_code) == (False, "APP_COMPUTE_FAILED", 3)
    assert (outcome.with_logs, outcome.stdout_tail, outcome.digest) == (True, "out\n", None)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_app_that_never_ends_is_ended_at_its_time(world: World, profile: Profile) -> None:
    outcome = world.compute("echo out; sleep 60", profile, max_execution_time_s=2)
    assert (outcome.exit_code, outcome.stdout_tail) == (-1, "out\n")
    assert outcome.cause == (None if profile is V9 else "APP_COMPUTE_TIMEOUT")
    assert "APP_COMPUTE_TIMEOUT" in outcome.message


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("true", "POST_COMPUTE_SEND_COMPUTED_FILE_FAILED"),
        ("echo { > /iexec_out/computed.json", "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND"),
        (
            f"{WRITE_RESULT}; touch /iexec_out/01234567890123456789012345678901",
            "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME",
        ),
        (
            f"{RESULT.replace('/iexec_out/r', '/../../r')} > /iexec_out/computed.json",
            "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED",
        ),
    ],
)
def test_a_result_that_cannot_be_used_fails_profile_8_and_is_computed_in_profile_9(
    world: World, script: str, cause: str
) -> None:
    outcome = world.compute(f"echo out; {script}", V8)
    assert (outcome.ok, outcome.cause, outcome.exit_code) == (False, cause, None)
    assert (outcome.with_logs, outcome.stdout_tail, outcome.digest) == (True, "", None)
    outcome = world.compute(f"echo out; {script}", V9)
    assert (outcome.ok, outcome.cause, outcome.exit_code) == (True, None, 0)
    assert (outcome.stdout_tail, outcome.digest) == ("out\n", None)
    assert cause in outcome.message


@pytest.mark.parametrize("profile", PROFILES)
def test_a_command_that_cannot_be_run_has_no_exit(world: World, profile: Profile) -> None:
    task = dataclasses.replace(world.bench.task(""), params=DealParams(args="/no/such command"))
    outcome = world.do("compute", task, profile)
    assert (outcome.exit_code, outcome.stdout_tail) == (-1, "")
    assert outcome.cause == (None if profile is V9 else "APP_COMPUTE_FAILED")
    assert "no such file" in outcome.message


def test_the_app_sees_its_environment_and_its_inputs(world: World) -> None:
    task = world.bench.task("env; cat /iexec_in/*; ls -ld /iexec_in /iexec_out", bot_size=7)
    world.folder(task).prepare_input()
    (world.folder(task).input / "data").write_text("the input\n")
    outcome = world.do("compute", task)
    assert f"IEXEC_TASK_ID={task.task_id}\n" in outcome.stdout_tail
    assert "IEXEC_BOT_SIZE=7\n" in outcome.stdout_tail
    assert "the input\n" in outcome.stdout_tail
    assert outcome.stdout_tail.count("drwxr-xr-x") == 2


def test_a_callback_goes_with_the_outcome(world: World) -> None:
    script = 'echo "{\\"callback-data\\":\\"0x01\\"}" > /iexec_out/computed.json'
    outcome = world.compute(script, callback="0x" + "77" * 20)
    assert outcome.callback_data == "0x01"
    assert outcome.digest is not None


def test_only_the_end_of_a_long_output_is_reported_and_all_of_it_kept(world: World) -> None:
    task = world.bench.task(f"yes 0123456789 | head -c 300000; {WRITE_RESULT}")
    outcome = world.do("compute", task)
    assert len(outcome.stdout_tail) == 100_000
    assert (world.folder(task).iexec_out / "stdout.txt").stat().st_size == 300_000


def test_a_second_compute_finds_nothing_of_the_first(world: World) -> None:
    task = world.bench.task(f"ls /iexec_out; {WRITE_RESULT}")
    first = world.perform("compute", task)
    second = world.perform("compute", task, attempt=2).outcome
    assert first.outcome.digest == second.digest == DIGEST_OF_A
    assert second.stdout_tail == ""


def test_inputs_that_an_app_has_changed_are_fetched_again(world: World) -> None:
    with http_server(b"fresh") as url:
        task = world.bench.task(f"cat /iexec_in/*; echo old > /iexec_in/x; {WRITE_RESULT}")
        params = dataclasses.replace(task.params, input_files=(f"{url}/x",))
        task = dataclasses.replace(task, params=params)
        assert world.do("data", task, V8).ok
        first = world.perform("compute", task, V8, attempt=1).outcome
        second = world.perform("compute", task, V8, attempt=2).outcome
    assert first.stdout_tail == second.stdout_tail == "fresh"


def test_inputs_that_were_lost_with_their_folder_are_fetched_again(world: World) -> None:
    with http_server(b"fresh") as url:
        task = world.bench.task(f"cat /iexec_in/*; {WRITE_RESULT}")
        params = dataclasses.replace(task.params, input_files=(f"{url}/x",))
        outcome = world.do("compute", dataclasses.replace(task, params=params), V8)
    assert outcome.stdout_tail == "fresh"


def test_inputs_that_cannot_be_had_again_are_our_fault(world: World) -> None:
    task = world.bench.task("true", max_execution_time_s=1)
    params = dataclasses.replace(task.params, input_files=("no scheme",))
    task = dataclasses.replace(task, params=params)
    world.folder(task).prepare_run()
    world.folder(task).input_used.touch()
    outcome = world.do("compute", task)
    assert (outcome.ok, outcome.cause) == (False, "UNKNOWN")


def test_a_cancelled_compute_leaves_no_container_and_no_outcome(world: World) -> None:
    threading.Timer(1.0, world.cancellation.cancel).start()
    with pytest.raises(Cancelled):
        world.compute("sleep 60")
    assert world.containers() == 0


def test_a_compute_goes_on_where_a_dead_process_left_it(world: World) -> None:
    """The container is taken up: what it did before is in the result."""
    task = world.bench.task(f"echo once >> /iexec_out/count; sleep 2; {WRITE_RESULT}")
    first = World(Engine(ADDRESS), world.bench)
    thread = threading.Thread(target=lambda: first.perform("compute", task), daemon=True)
    thread.start()
    count = world.folder(task).iexec_out / "count"
    eventually(count.exists, "the app")
    outcome = world.do("compute", task)
    assert outcome.digest == DIGEST_OF_A
    assert count.read_text() == "once\n"
    thread.join()
    first.close()


def test_an_engine_out_of_reach_is_waited_for(world: World, tmp_path: Path) -> None:
    relay = Relay(tmp_path)
    behind = World(Engine(relay.address), world.bench)
    relay.cut()
    threading.Timer(1.5, relay.restore).start()
    outcome = behind.compute(WRITE_RESULT)
    behind.close()
    assert (outcome.ok, outcome.digest) == (True, DIGEST_OF_A)


def test_an_engine_that_stays_away_fails_the_step_by_our_fault(
    world: World, tmp_path: Path
) -> None:
    nowhere = World(Engine(f"unix://{tmp_path}/absent.sock"), world.bench)
    for step in ("app", "compute"):
        outcome = nowhere.do(step, world.bench.task("true", max_execution_time_s=1))
        assert (outcome.ok, outcome.cause, outcome.digest) == (False, "UNKNOWN", None)
    nowhere.close()


@pytest.fixture
def small_disk(world: World, tmp_path: Path) -> Iterator[Path]:
    """Put the world on a file system of its own, of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "iexworker-test", str(folder)]
    subprocess.run(mount, check=True)
    world.use(base_dir=folder)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_app_that_failed_on_our_full_disk_is_run_again(
    world: World, small_disk: Path, profile: Profile
) -> None:
    ballast = small_disk / "ballast"
    task = world.bench.task(f"sleep 0.5; {WRITE_RESULT}; test -s /iexec_out/r")
    folder = world.folder(task)

    def fill() -> None:
        eventually(folder.stream("stdout").exists, "the app runs")
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 20)):
                pass
        eventually(lambda: not world.containers(), "the failed app is removed")
        ballast.unlink()

    filler = threading.Thread(target=fill)
    filler.start()
    outcome = world.do("compute", task, profile)
    filler.join()
    assert (outcome.ok, outcome.digest) == (True, DIGEST_OF_A)


def test_any_surprise_is_an_outcome(world: World) -> None:
    task = world.bench.task("true", max_execution_time_s=1)
    folder = world.bench.settings.task_dir(task.task_id)
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the folder belongs")
    outcome = world.do("compute", task)
    assert (outcome.ok, outcome.cause) == (False, "UNKNOWN")
    assert "Not a directory" in outcome.message


def test_the_developer_log_shows_the_run(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.use(developer_logger=True)
    with caplog.at_level("INFO"):
        world.compute("echo said to developers")
    assert any("said to developers" in getattr(item, "text_block", "") for item in caplog.records)


def test_nothing_of_an_apps_output_reaches_the_log_otherwise(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", logger="iexworker"):
        world.compute("echo said to nobody; echo err to nobody >&2; exit 3")
    assert "to nobody" not in caplog.text
    assert not any("to nobody" in str(vars(item)) for item in caplog.records)


# --- data ----------------------------------------------------------------------------------------


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


def with_input(world: World, uri: str, **changes: Any) -> TaskDescription:
    return world.bench.task("true", params=DealParams(input_files=(uri,)), **changes)


@pytest.mark.parametrize("profile", PROFILES)
def test_inputs_are_fetched(world: World, profile: Profile) -> None:
    with http_server(b"data") as url:
        task = with_input(world, f"{url}/x")
        assert world.do("data", task, profile) == StepOutcome(task.task_id, "data", 1, ok=True)
    assert [path.read_bytes() for path in world.folder(task).input.iterdir()] == [b"data"]


@pytest.mark.parametrize("profile", PROFILES)
def test_an_input_that_is_not_there_becomes_a_result(world: World, profile: Profile) -> None:
    with http_server(b"", 404) as url:
        task = with_input(world, url)
        outcome = world.do("data", task, profile)
    assert (outcome.ok, outcome.cause) == (False, "INPUT_FILES_DOWNLOAD_FAILED")
    error = (world.folder(task).iexec_out / "error.txt").read_bytes()
    assert b"DATA_DOWNLOAD_FAILED" in error
    assert outcome.digest == "0x" + hashlib.sha256(error).hexdigest()
    assert world.folder(task).archive.exists()


def test_an_input_of_a_callback_task_becomes_no_result(world: World) -> None:
    with http_server(b"", 404) as url:
        outcome = world.do("data", with_input(world, url, callback="0x" + "77" * 20))
    assert (outcome.ok, outcome.cause) == (False, "POST_COMPUTE_FAILED_UNKNOWN_ISSUE")
    assert outcome.digest is None


def test_an_input_that_our_policy_refuses_is_never_a_result(world: World) -> None:
    outcome = world.do("data", with_input(world, "file:///etc/passwd", max_execution_time_s=1))
    assert (outcome.ok, outcome.cause, outcome.digest) == (False, "UNKNOWN", None)


def test_the_data_of_an_enclave_is_not_ours_to_fetch(world: World) -> None:
    task = with_input(world, "no scheme", tag="0x" + "00" * 31 + "03")
    assert world.do("data", task).ok


# --- app -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from running_registry(tmp_path_factory.mktemp("registry"), with_login=False)


@pytest.fixture(scope="module")
def closed_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from running_registry(tmp_path_factory.mktemp("closed"), with_login=True)


def running_registry(folder: Path, *, with_login: bool) -> Iterator[Registry]:
    made = Registry(folder, ports.free(HOST), with_login)
    child = made.start(folder / "log")
    yield made
    child.stop()


def push(engine: Engine, image: str, registry: Registry) -> str:
    """Put the image into the registry and take it off the engine; return its reference."""
    repository = f"{registry.address}/app"
    username, password = LOGIN
    engine.client.tag(image, repository, "1")
    answers = engine.client.push(
        repository,
        "1",
        stream=True,
        decode=True,
        auth_config={"username": username, "password": password},
    )
    assert not [answer for answer in answers if "error" in answer]
    engine.client.remove_image(f"{repository}:1")
    return f"{repository}:1"


@pytest.fixture
def pushed(engine: Engine, image: str, registry: Registry) -> Iterator[str]:
    reference = push(engine, image, registry)
    yield reference
    forget(engine, reference)


@pytest.fixture
def pushed_closed(engine: Engine, image: str, closed_registry: Registry) -> Iterator[str]:
    reference = push(engine, image, closed_registry)
    yield reference
    forget(engine, reference)


def forget(engine: Engine, reference: str) -> None:
    if engine.image_tags(reference) is not None:
        engine.client.remove_image(reference)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_image_is_pulled(world: World, pushed: str, profile: Profile) -> None:
    task = world.bench.task("true", app_image=pushed)
    assert world.do("app", task, profile) == StepOutcome(task.task_id, "app", 1, ok=True)
    assert world.engine.image_tags(pushed) is not None


@pytest.mark.parametrize("profile", PROFILES)
def test_an_image_that_was_removed_since_is_pulled_again(
    world: World, pushed: str, profile: Profile
) -> None:
    outcome = world.compute(WRITE_RESULT, profile, app_image=pushed)
    assert (outcome.ok, outcome.digest) == (True, DIGEST_OF_A)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_image_that_is_gone_everywhere_is_said_so(
    world: World, registry: Registry, profile: Profile
) -> None:
    outcome = world.compute("true", profile, app_image=f"{registry.address}/absent:1")
    assert (outcome.ok, outcome.cause) == (False, "APP_NOT_FOUND_LOCALLY")
    assert outcome.with_logs is False


@pytest.mark.parametrize("profile", PROFILES)
def test_an_image_that_the_registry_does_not_have_becomes_a_result(
    world: World, registry: Registry, profile: Profile
) -> None:
    task = world.bench.task("true", app_image=f"{registry.address}/absent:1")
    outcome = world.do("app", task, profile)
    assert (outcome.ok, outcome.cause) == (False, "APP_IMAGE_DOWNLOAD_FAILED")
    assert outcome.digest == NO_IMAGE[profile]


@pytest.mark.parametrize("changes", [{"app_image": "no-tag"}, {"app_type": "OTHER"}])
def test_an_image_that_every_worker_refuses_becomes_a_result(
    world: World, changes: dict[str, str]
) -> None:
    task = world.bench.task("true", **changes)
    if "app_type" in changes:
        outcome = world.do("app", task, V8)
        assert outcome.digest == NO_IMAGE[V8]
    else:
        assert world.do("app", task).digest == NO_IMAGE[V9]


def test_profile_9_takes_a_local_image_when_the_registry_is_down(
    world: World, engine: Engine, image: str
) -> None:
    reference = f"127.0.0.1:{ports.free(HOST)}/app:1"
    engine.client.tag(image, reference.removesuffix(":1"), "1")
    try:
        assert world.do("app", world.bench.task("true", app_image=reference), V9).ok
        outcome = world.do("app", world.bench.task("true", app_image=reference), V8)
        assert (outcome.cause, outcome.digest) == ("APP_IMAGE_DOWNLOAD_FAILED", NO_IMAGE[V8])
    finally:
        forget(engine, reference)


def test_a_registry_that_is_down_while_nobody_hears_us_is_our_fault(world: World) -> None:
    world.scheduler_answers = False
    reference = f"127.0.0.1:{ports.free(HOST)}/app:1"
    task = world.bench.task("true", app_image=reference, max_execution_time_s=2)
    outcome = world.do("app", task)
    assert (outcome.ok, outcome.cause, outcome.digest) == (False, "UNKNOWN", None)


def test_an_image_is_pulled_with_the_credentials_of_its_registry(
    world: World, closed_registry: Registry, pushed_closed: str
) -> None:
    world.use(registries=(RegistryCredentials(closed_registry.address, *LOGIN),))
    assert world.do("app", world.bench.task("true", app_image=pushed_closed)).ok


def test_a_denied_image_is_the_requesters_fault_only_without_credentials(
    world: World, closed_registry: Registry, pushed_closed: str
) -> None:
    task = world.bench.task("true", app_image=pushed_closed, max_execution_time_s=2)
    assert world.do("app", task).digest == NO_IMAGE[V9]
    world.use(registries=(RegistryCredentials(closed_registry.address, "sandbox", "wrong"),))
    outcome = world.do("app", task)
    assert (outcome.ok, outcome.cause, outcome.digest) == (False, "UNKNOWN", None)


def test_a_refused_login_is_followed_by_a_pull_without(
    world: World, closed_registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    address = closed_registry.address
    world.use(registries=(RegistryCredentials(address, "user", "s3cret"),))
    task = world.bench.task("true", app_image=f"{address}/app:1", max_execution_time_s=1)
    outcome = world.do("app", task)
    assert "registry login refused" in caplog.text
    assert "s3cret" not in caplog.text + outcome.message
    assert "no basic auth credentials" in outcome.message


def test_a_pull_that_takes_too_long_is_our_fault(world: World) -> None:
    with silent_server() as port:
        image = f"127.0.0.1:{port}/app:1"
        task = world.bench.task(
            "true",
            app_image=image,
            max_execution_time_s=2,
            contribution_deadline_s=int(time.time()) + 2,
        )
        outcome = world.do("app", task)
    assert (outcome.ok, outcome.cause) == (False, "UNKNOWN")
    assert "not pulled within" in outcome.message


def test_a_pull_is_cancelled_at_once(world: World) -> None:
    with silent_server() as port:
        threading.Timer(0.5, world.cancellation.cancel).start()
        started_s = time.monotonic()
        with pytest.raises(Cancelled):
            world.do("app", world.bench.task("true", app_image=f"127.0.0.1:{port}/app:1"))
        assert time.monotonic() - started_s < 5


class silent_server:
    """Take connections and never answer."""

    def __enter__(self) -> int:
        self._socket = socket.create_server(("127.0.0.1", 0))
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *args: object) -> None:
        self._socket.close()


def test_the_json_of_an_error_result_names_its_text(world: World) -> None:
    task = world.bench.task("true", app_image="no-tag")
    world.do("app", task)
    data = json.loads(world.folder(task).computed_file.read_text())
    assert data["deterministic-output-path"] == "/iexec_out/error.txt"
    assert data["callback-data"] is None
