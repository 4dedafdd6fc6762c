"""Values that are well written and do harm: too many slots, a minute read as 60 ms."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from iexworker import machine
from iexworker.settings.model import load
from tests.field.helpers.command import environment, run

COUNT = "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT"
HUGE = "2000000"


@pytest.mark.parametrize("verb", ["config", "run"])
def test_a_count_whose_slots_do_not_fit_the_machine_is_refused_with_both_numbers(
    verb: str, tmp_path: Path
) -> None:
    done = run(environment(tmp_path, **{COUNT: HUGE}), verb)
    assert done.returncode == 78
    (told,) = [line for line in done.stderr.splitlines() if COUNT in line]
    assert told.strip().startswith(f"{COUNT}={HUGE}: expected at most ")
    assert f"since {HUGE} slots take" in told
    assert not (tmp_path / "base").exists()


def test_a_count_whose_slots_do_not_fit_the_descriptors_is_refused_with_both_numbers(
    tmp_path: Path,
) -> None:
    done = run(
        environment(tmp_path, **{COUNT: "40"}),
        "config",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300)),
    )
    assert done.returncode == 78
    assert f"{COUNT}=40: expected at most " in done.stderr
    assert "may have 300" in done.stderr


def test_a_count_whose_slots_do_not_fit_the_processes_is_refused_with_both_numbers(
    tmp_path: Path,
) -> None:
    root = tmp_path / "machine"
    group = root / "sys/fs/cgroup/worker"
    group.mkdir(parents=True)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("0::/worker\n")
    (group / "pids.max").write_text("60\n")

    from iexworker.settings.capacity import problem

    told = problem(40, root)
    assert "60 processes" in told
    assert "at most" in told


def test_the_soft_limit_of_descriptors_is_raised_to_what_the_slots_need() -> None:
    script = (
        "import resource; from iexworker.settings.capacity import ask_for_descriptors;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1024)); ask_for_descriptors({});"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    for slots, soft in ((8, 180), (1000, 1024)):
        done = subprocess.run(
            [sys.executable, "-c", script.format(slots)], capture_output=True, text=True, check=True
        )
        assert int(done.stdout) == soft


def test_far_more_slots_than_processors_are_a_loud_warning(tmp_path: Path) -> None:
    processors = machine.usable_cpus()
    most = 4 * processors
    assert _warnings({COUNT: str(most)}) == []
    (told,) = _warnings({COUNT: str(most + 1)})
    assert str(most + 1) in told
    assert f"{processors} processors" in told
    done = run(environment(tmp_path, **{COUNT: str(most + 1)}), "config")
    assert done.returncode == 0
    assert f"warning: {told}" in done.stderr


def test_the_count_is_ignored_when_the_gpu_is_enabled() -> None:
    environ = {COUNT: HUGE, "IEXEC_WORKER_GPU_ENABLED": "true"}
    (told,) = _warnings(environ)
    assert "no effect" in told
    settings = load({**_plain(), **environ}, config_dirs=()).settings
    assert machine.slots(settings.cpu_override, settings.gpu_enabled) == 1


@pytest.mark.parametrize("text", ["0", "-1", "abc", "1.5"])
def test_a_count_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    done = run(environment(tmp_path, **{COUNT: text}), "config")
    assert done.returncode == 78
    assert f"{COUNT}={text}: expected a whole number from 1" in done.stderr


@pytest.mark.parametrize(
    ("text", "read"), [("60", "60 ms"), ("999", "999 ms"), ("+5", "5 ms"), ("0", "0 ms")]
)
@pytest.mark.parametrize(
    "name",
    [
        "IEXWORKER_SHUTDOWN_GRACE",
        "IEXEC_WORKER_DOCKER_IMAGE_MIN_PULL_TIMEOUT",
        "IEXEC_WORKER_DOCKER_IMAGE_MAX_PULL_TIMEOUT",
    ],
)
def test_a_duration_without_a_unit_below_a_second_is_told_as_it_was_read(
    name: str, text: str, read: str
) -> None:
    (told,) = _warnings({name: text})
    assert told.startswith(f"{name}={text}: ")
    assert read in told
    assert f"{name}={text.removeprefix('+')}s" in told


@pytest.mark.parametrize("text", ["1000", "60s", "60ms", "PT0.5S", "PT60S", "5m"])
def test_a_duration_with_a_unit_or_of_a_second_is_no_cause_to_warn(text: str) -> None:
    assert _warnings({"IEXWORKER_SHUTDOWN_GRACE": text}) == []


def test_config_says_it_and_so_does_the_log(tmp_path: Path) -> None:
    environ = environment(tmp_path, IEXWORKER_SHUTDOWN_GRACE="60")
    shown = run(environ, "config")
    assert "warning: IEXWORKER_SHUTDOWN_GRACE=60: " in shown.stderr
    (tmp_path / "base").write_text("")  # so that the start ends at once
    log = run(environ, "run").stdout
    assert "IEXWORKER_SHUTDOWN_GRACE=60: " in log
    assert "60 ms" in log


def test_a_settings_file_is_warned_of_too(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[default]\nshutdown_grace = 60\n")
    warnings = load(_plain(), config_dirs=[tmp_path]).warnings
    assert [told for told in warnings if "shutdown_grace=60: " in told and "60 ms" in told]


def _plain() -> dict[str, str]:
    return {"IEXEC_WORKER_BASE_DIR": "/var/lib/iexec", "IEXEC_WORKER_WALLET_PASSWORD": "mine"}


def _warnings(environ: dict[str, str]) -> list[str]:
    assert os.environ.get("IEXWORKER_CONFIG_DIR") is None
    return list(load({**_plain(), **environ}, config_dirs=()).warnings)
