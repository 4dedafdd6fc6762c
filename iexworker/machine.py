"""What this machine offers, as the worker reports it (docs/spec/02, 5.2).

CPUs and memory are those that the process may use: the affinity mask and the control group's
limits count, as they do for the Java virtual machine.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

_NO_LIMIT_BYTES = 1 << 60
"""Control groups of version 1 write "no limit" as a number near 2^63."""
_GPU_PROBE_TIMEOUT_S = 10
_USUAL_PID_MAX = 32768
_JAVA_ARCHITECTURES = {"x86_64": "amd64"}


def operating_system() -> str:
    """Return what Java calls `os.name`."""
    return platform.system()


def architecture() -> str:
    """Return what Java calls `os.arch`: `amd64`, `aarch64`."""
    machine = platform.machine()
    return _JAVA_ARCHITECTURES.get(machine, machine)


def reported_cpus(override: int | None, root: Path = Path("/")) -> int:
    """Return `cpuNb`: the operator's number, else one less than the usable CPUs, at least 1."""
    return override if override is not None else max(usable_cpus(root) - 1, 1)


def slots(override: int | None, gpu_enabled: bool, root: Path = Path("/")) -> int:
    """Return how many tasks run at once: one with a GPU, else one for each reported CPU."""
    return 1 if gpu_enabled else reported_cpus(override, root)


def usable_cpus(root: Path = Path("/")) -> int:
    """Return the CPUs of the affinity mask, capped by the CPU quota rounded up."""
    count = len(os.sched_getaffinity(0))
    for group in _control_groups("cpu", root):
        for quota, period in _quotas(group):
            if quota > 0 and period > 0:
                count = min(count, -(-quota // period))
    return max(count, 1)


def memory_gib(root: Path = Path("/")) -> int:
    """Return `memorySize`: the memory that may be used, in whole GiB."""
    return memory_bytes(root) >> 30


def memory_bytes(root: Path = Path("/")) -> int:
    """Return the machine's memory, or the control group's limit when that is less."""
    total = host_memory_bytes()
    for group in _control_groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits = _numbers(group / name)
            if limits and 0 < limits[0] < _NO_LIMIT_BYTES:
                total = min(total, limits[0])
    return total


def host_memory_bytes() -> int:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def process_limit(root: Path = Path("/")) -> int | None:
    """Return how many processes and threads the worker may have, None without a limit."""
    limits = [
        limit for group in _control_groups("pids", root) for limit in _numbers(group / "pids.max")
    ]
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if os.geteuid() != 0 and soft != resource.RLIM_INFINITY:  # root is not counted
        limits.append(soft)
    return min(limits, default=None)


def host_process_limit(root: Path = Path("/")) -> int:
    """Return how many processes and threads the machine can have."""
    kernel = root / "proc/sys/kernel"
    limits = [*_numbers(kernel / "pid_max"), *_numbers(kernel / "threads-max")]
    return min(limits, default=_USUAL_PID_MAX)


def gpu_problem(docker_runtimes: Collection[str]) -> str | None:
    """Return why no GPU can be given to an application, None when one can.

    Inside a container `nvidia-smi` may be missing although the engine has the GPU: an engine
    that knows the `nvidia` runtime (`docker info`, Runtimes) is taken at its word.
    """
    if "nvidia" in docker_runtimes:
        return None
    try:
        probe = subprocess.run(
            ["nvidia-smi", "-L"],
            capture_output=True,
            text=True,
            timeout=_GPU_PROBE_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        return "nvidia-smi is not installed and Docker has no nvidia runtime"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi does not answer: {error}"
    if probe.returncode != 0 or "GPU 0" not in probe.stdout:
        return f"nvidia-smi finds no GPU: {(probe.stdout + probe.stderr).strip()[:200]}"
    return None


def _control_groups(controller: str, root: Path) -> Iterator[Path]:
    """Give the folders whose limits hold for this process: its group's and its ancestors'."""
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0":
            top = mounted
        elif controller in names.split(","):
            top = mounted / controller
        else:
            continue
        group = top / path.lstrip("/")
        yield group
        yield from (above for above in group.parents if above.is_relative_to(top))


def _quotas(group: Path) -> Iterator[tuple[int, int]]:
    both = _numbers(group / "cpu.max")
    if len(both) == 2:
        yield both[0], both[1]
    quota = _numbers(group / "cpu.cfs_quota_us")
    period = _numbers(group / "cpu.cfs_period_us")
    if quota and period:
        yield quota[0], period[0]


def _numbers(path: Path) -> list[int]:
    """Return the numbers of a limit file; none when it is missing or says `max`."""
    words = _text(path).split()
    return [int(word) for word in words] if all(_is_number(word) for word in words) else []


def _is_number(word: str) -> bool:
    return word.lstrip("-").isdigit()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
