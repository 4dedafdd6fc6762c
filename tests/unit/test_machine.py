"""CPUs, memory and GPUs, as limits of the affinity mask and of control groups leave them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iexworker import machine

CPUS = len(os.sched_getaffinity(0))


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    _write(tmp_path, proc__self__cgroup="0::/system.slice/worker\n")
    (tmp_path / "sys/fs/cgroup/system.slice/worker").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    _write(tmp_path, proc__self__cgroup="4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\nbroken\n")
    for name in ("cpu", "memory"):
        (tmp_path / f"sys/fs/cgroup/{name}/docker/x").mkdir(parents=True)
    return tmp_path


def test_without_limits_the_affinity_mask_and_the_memory_count(tmp_path: Path) -> None:
    assert machine.usable_cpus(tmp_path) == CPUS
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.memory_bytes(tmp_path) == total


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [("max 100000", CPUS), ("50000 100000", 1), ("110000 100000", min(2, CPUS)), ("junk", CPUS)],
)
def test_a_quota_is_rounded_up(unified: Path, limit: str, cpus: int) -> None:
    (unified / "sys/fs/cgroup/system.slice/worker/cpu.max").write_text(limit)
    assert machine.usable_cpus(unified) == cpus


def test_the_quota_of_a_group_above_counts_too(unified: Path) -> None:
    (unified / "sys/fs/cgroup/system.slice/cpu.max").write_text("10000 100000")
    assert machine.usable_cpus(unified) == 1


@pytest.mark.parametrize(("quota", "cpus"), [("-1", CPUS), ("100000", 1)])
def test_a_quota_of_the_first_version_counts(legacy: Path, quota: str, cpus: int) -> None:
    group = legacy / "sys/fs/cgroup/cpu/docker/x"
    (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    # The controllers `cpu,cpuacct` are mounted together, `cpu` is a link to them.
    assert machine.usable_cpus(legacy) == cpus


def test_the_memory_is_the_containers_limit(unified: Path) -> None:
    limit = unified / "sys/fs/cgroup/system.slice/worker/memory.max"
    limit.write_text("max\n")
    total = machine.memory_bytes(Path("/nowhere"))
    assert machine.memory_bytes(unified) == total
    limit.write_text(str(900 << 20))
    assert machine.memory_bytes(unified) == 900 << 20
    assert machine.memory_gib(unified) == 0


def test_the_first_versions_word_for_no_limit_is_none(legacy: Path) -> None:
    limit = legacy / "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes"
    limit.write_text("9223372036854771712\n")
    assert machine.memory_bytes(legacy) == machine.memory_bytes(Path("/nowhere"))
    limit.write_text(str(1 << 30))
    assert machine.memory_gib(legacy) == 1


def test_the_number_of_slots() -> None:
    assert machine.slots(5, gpu_enabled=False) == 5
    assert machine.slots(5, gpu_enabled=True) == 1
    assert machine.slots(None, gpu_enabled=False) == max(machine.usable_cpus() - 1, 1)
    assert machine.reported_cpus(7) == 7


def test_java_names_of_the_system() -> None:
    assert machine.operating_system() == "Linux"
    assert machine.architecture() in ("amd64", "aarch64")


def _probe(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_an_engine_with_the_runtime_has_a_gpu() -> None:
    assert machine.gpu_problem(["runc", "nvidia"]) is None


def test_a_gpu_that_the_driver_lists_is_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _probe(tmp_path, "echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'", monkeypatch)
    assert machine.gpu_problem([]) is None


def test_a_driver_without_a_gpu_is_told_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _probe(tmp_path, "echo 'No devices were found'; exit 6", monkeypatch)
    assert machine.gpu_problem([]) == "nvidia-smi finds no GPU: No devices were found"


def test_a_driver_that_cannot_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "nvidia-smi" in (machine.gpu_problem([]) or "")


def test_no_driver_at_all_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in (machine.gpu_problem([]) or "")
