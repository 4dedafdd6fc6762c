"""The step `compute`: the app's run and what comes of it, on a real engine."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.compute.cancellation import Cancelled
from iexworker.compute.engine import Engine
from iexworker.poco.models import DealParams, Profile
from iexworker.shared.handoff import StepOutcome
from tests.helpers.docker_harness import (
    ADDRESS,
    DIGEST_OF_A,
    PROFILES,
    RESULT,
    WRITE_RESULT,
    eventually,
)
from tests.helpers.fault_proxy import FaultProxy, Mood
from tests.integration.helpers.step_harness import V8, V9, StepHarness, http_server

pytest_plugins = ["tests.helpers.docker_harness", "tests.integration.helpers.step_harness"]
pytestmark = pytest.mark.docker


def test_profile_9_reports_logs_and_exit_code_of_an_app_that_succeeds(steps: StepHarness) -> None:
    task = steps.docker_harness.task(f"echo out; echo err >&2; {WRITE_RESULT}")
    done = steps.perform("compute", task)
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
    )
    with zipfile.ZipFile(steps.folder(task).archive) as archive:
        assert archive.namelist() == ["computed.json", "r", "stderr.txt", "stdout.txt"]
        assert archive.read("stdout.txt") == b"out\n"
    assert done.container is not None and steps.containers() == 1


def test_profile_8_reports_logs_only_of_an_app_that_succeeds(steps: StepHarness) -> None:
    outcome = steps.compute(f"echo out; {WRITE_RESULT}", V8)
    assert (outcome.ok, outcome.exit_code, outcome.with_logs) == (True, None, True)
    assert (outcome.stdout_tail, outcome.digest) == ("out\n", DIGEST_OF_A)


def test_profile_9_contributes_what_a_failed_app_has_left(steps: StepHarness) -> None:
    task = steps.docker_harness.task(f"echo out; {WRITE_RESULT}; exit 3")
    outcome = steps.do("compute", task)
    assert (outcome.ok, outcome.cause, outcome.exit_code) == (True, None, 3)
    assert outcome.digest == DIGEST_OF_A
    assert "APP_COMPUTE_FAILED" in outcome.message
    assert not (steps.folder(task).iexec_out / "stdout.txt").exists()


def test_profile_8_stops_at_an_app_that_fails(steps: StepHarness) -> None:
    outcome = steps.compute(f"echo out; {WRITE_RESULT}; exit 3", V8)
    assert (outcome.ok, outcome.cause, outcome.exit_code) == (False, "APP_COMPUTE_FAILED", 3)
    assert (outcome.with_logs, outcome.stdout_tail, outcome.digest) == (True, "out\n", None)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_app_that_never_ends_is_ended_at_its_time(steps: StepHarness, profile: Profile) -> None:
    outcome = steps.compute("echo out; sleep 60", profile, max_execution_time_s=2)
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
def test_a_result_that_cannot_be_used_fails_the_computation_in_both_profiles(
    steps: StepHarness, script: str, cause: str
) -> None:
    outcome = steps.compute(f"echo out; {script}", V8)
    assert (outcome.ok, outcome.cause, outcome.exit_code) == (False, cause, None)
    assert (outcome.with_logs, outcome.stdout_tail, outcome.digest) == (True, "", None)
    outcome = steps.compute(f"echo out; {script}", V9)
    assert (outcome.ok, outcome.cause, outcome.exit_code) == (False, cause, 0)
    assert (outcome.stdout_tail, outcome.digest) == ("out\n", None)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_command_that_cannot_be_run_has_no_exit(steps: StepHarness, profile: Profile) -> None:
    task = dataclasses.replace(
        steps.docker_harness.task(""), params=DealParams(args="/no/such command")
    )
    outcome = steps.do("compute", task, profile)
    assert (outcome.exit_code, outcome.stdout_tail) == (-1, "")
    assert outcome.cause == (None if profile is V9 else "APP_COMPUTE_FAILED")
    assert "no such file" in outcome.message


def test_the_app_sees_its_environment_and_its_inputs(steps: StepHarness) -> None:
    task = steps.docker_harness.task(
        "env; cat /iexec_in/*; ls -ld /iexec_in /iexec_out", bot_size=7
    )
    steps.folder(task).prepare_input()
    (steps.folder(task).input / "data").write_text("the input\n")
    outcome = steps.do("compute", task)
    assert f"IEXEC_TASK_ID={task.task_id}\n" in outcome.stdout_tail
    assert "IEXEC_BOT_SIZE=7\n" in outcome.stdout_tail
    assert "the input\n" in outcome.stdout_tail
    assert outcome.stdout_tail.count("drwxr-xr-x") == 2


def test_a_callback_goes_with_the_outcome(steps: StepHarness) -> None:
    script = 'echo "{\\"callback-data\\":\\"0x01\\"}" > /iexec_out/computed.json'
    outcome = steps.compute(script, callback="0x" + "77" * 20)
    assert outcome.callback_data == "0x01"
    assert outcome.digest is not None


def test_only_the_end_of_a_long_output_is_reported_and_all_of_it_kept(steps: StepHarness) -> None:
    task = steps.docker_harness.task(f"yes 0123456789 | head -c 300000; {WRITE_RESULT}")
    outcome = steps.do("compute", task)
    assert len(outcome.stdout_tail) == 100_000
    assert (steps.folder(task).iexec_out / "stdout.txt").stat().st_size == 300_000


def test_a_second_compute_finds_nothing_of_the_first(steps: StepHarness) -> None:
    task = steps.docker_harness.task(f"ls /iexec_out; {WRITE_RESULT}")
    first = steps.perform("compute", task)
    second = steps.perform("compute", task, attempt=2).outcome
    assert first.outcome.digest == second.digest == DIGEST_OF_A
    assert second.stdout_tail == ""


def test_inputs_that_an_app_has_changed_are_fetched_again(steps: StepHarness) -> None:
    with http_server(b"fresh") as url:
        task = steps.docker_harness.task(f"cat /iexec_in/*; echo old > /iexec_in/x; {WRITE_RESULT}")
        params = dataclasses.replace(task.params, input_files=(f"{url}/x",))
        task = dataclasses.replace(task, params=params)
        assert steps.do("data", task, V8).ok
        first = steps.perform("compute", task, V8, attempt=1).outcome
        second = steps.perform("compute", task, V8, attempt=2).outcome
    assert first.stdout_tail == second.stdout_tail == "fresh"


def test_inputs_that_were_lost_with_their_folder_are_fetched_again(steps: StepHarness) -> None:
    with http_server(b"fresh") as url:
        task = steps.docker_harness.task(f"cat /iexec_in/*; {WRITE_RESULT}")
        params = dataclasses.replace(task.params, input_files=(f"{url}/x",))
        outcome = steps.do("compute", dataclasses.replace(task, params=params), V8)
    assert outcome.stdout_tail == "fresh"


def test_inputs_that_cannot_be_had_again_are_our_fault(steps: StepHarness) -> None:
    task = steps.docker_harness.task("true", max_execution_time_s=1)
    params = dataclasses.replace(task.params, input_files=("no scheme",))
    task = dataclasses.replace(task, params=params)
    steps.folder(task).prepare_run()
    steps.folder(task).input_used.touch()
    outcome = steps.do("compute", task)
    assert (outcome.ok, outcome.cause) == (False, "UNKNOWN")


def test_a_cancelled_compute_leaves_no_container_and_no_outcome(steps: StepHarness) -> None:
    threading.Timer(1.0, steps.cancellation.cancel).start()
    with pytest.raises(Cancelled):
        steps.compute("sleep 60")
    assert steps.containers() == 0


def test_a_compute_goes_on_where_a_dead_process_left_it(steps: StepHarness) -> None:
    """The container is taken up: what it did before is in the result."""
    task = steps.docker_harness.task(f"echo once >> /iexec_out/count; sleep 6; {WRITE_RESULT}")

    def compute() -> None:
        StepHarness(Engine(ADDRESS), steps.docker_harness).perform("compute", task)

    first = multiprocessing.get_context("fork").Process(target=compute, daemon=True)
    first.start()
    count = steps.folder(task).iexec_out / "count"
    eventually(count.exists, "the app")
    first.kill()
    first.join()
    outcome = steps.do("compute", task)
    assert outcome.digest == DIGEST_OF_A
    assert count.read_text() == "once\n"


def test_an_engine_out_of_reach_is_waited_for(steps: StepHarness, docker_proxy: FaultProxy) -> None:
    behind = StepHarness(Engine(docker_proxy.url), steps.docker_harness)
    docker_proxy.turn(Mood.GONE)
    threading.Timer(1.5, docker_proxy.turn, (Mood.WELL,)).start()
    outcome = behind.compute(WRITE_RESULT)
    behind.close()
    assert (outcome.ok, outcome.digest) == (True, DIGEST_OF_A)


def test_an_engine_that_stays_away_fails_the_step_by_our_fault(
    steps: StepHarness, tmp_path: Path
) -> None:
    nowhere = StepHarness(Engine(f"unix://{tmp_path}/absent.sock"), steps.docker_harness)
    for step in ("app", "compute"):
        outcome = nowhere.do(step, steps.docker_harness.task("true", max_execution_time_s=1))
        assert (outcome.ok, outcome.cause, outcome.digest) == (False, "UNKNOWN", None)
    nowhere.close()


@pytest.fixture
def small_disk(steps: StepHarness, tmp_path: Path) -> Iterator[Path]:
    """Put the world on a file system of its own, of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "iexworker-test", str(folder)]
    subprocess.run(mount, check=True)
    steps.use(base_dir=folder)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_app_that_failed_on_our_full_disk_is_run_again(
    steps: StepHarness, small_disk: Path, profile: Profile
) -> None:
    ballast = small_disk / "ballast"
    task = steps.docker_harness.task(f"sleep 0.5; {WRITE_RESULT}; test -s /iexec_out/r")
    folder = steps.folder(task)

    def fill() -> None:
        eventually(folder.stream("stdout").exists, "the app runs")
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 20)):
                pass
        eventually(lambda: not steps.containers(), "the failed app is removed")
        ballast.unlink()

    filler = threading.Thread(target=fill)
    filler.start()
    outcome = steps.do("compute", task, profile)
    filler.join()
    assert (outcome.ok, outcome.digest) == (True, DIGEST_OF_A)


def test_any_surprise_is_an_outcome(steps: StepHarness) -> None:
    task = steps.docker_harness.task("true", max_execution_time_s=1)
    folder = steps.docker_harness.settings.task_dir(task.task_id)
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the folder belongs")
    outcome = steps.do("compute", task)
    assert (outcome.ok, outcome.cause) == (False, "UNKNOWN")
    assert "Not a directory" in outcome.message


def test_the_developer_log_shows_the_run(
    steps: StepHarness, caplog: pytest.LogCaptureFixture
) -> None:
    steps.use(developer_logger=True)
    with caplog.at_level("INFO"):
        steps.compute("echo said to developers")
    assert any("said to developers" in getattr(item, "text_block", "") for item in caplog.records)


def test_nothing_of_an_apps_output_reaches_the_log_otherwise(
    steps: StepHarness, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", logger="iexworker"):
        steps.compute("echo said to nobody; echo err to nobody >&2; exit 3")
    assert "to nobody" not in caplog.text
    assert not any("to nobody" in str(vars(item)) for item in caplog.records)
