"""Background processes of the sandbox, which outlive the command that starts them.

Each is known by its pid **and** its start time: a pid that was given to another process since is
never taken for ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from iexworker.errors import SandboxError
from iexworker.sandbox.network.files import write_whole

TERMINATION_S = 10.0
LOG_LINES_SHOWN = 15


@dataclass(frozen=True, slots=True)
class Child:
    """One process that we started; `start_ticks` is its start time as the kernel counts it."""

    name: str
    pid: int
    start_ticks: int
    log: str
    stop_signal: int = signal.SIGTERM

    @property
    def alive(self) -> bool:
        """Whether it still runs; a process that ended and was not yet reaped does not."""
        state, ticks = _stat(self.pid)
        return ticks == self.start_ticks and state != "Z"

    def stop(self, timeout_s: float = TERMINATION_S) -> None:
        """Ask it to end, make it end after `timeout_s`; does nothing when it already has."""
        with contextlib.suppress(ProcessLookupError), self._handle() as handle:
            signal.pidfd_send_signal(handle, self.stop_signal)
            if not select.select([handle], [], [], timeout_s)[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], timeout_s)
        with contextlib.suppress(ChildProcessError):  # started by an earlier command
            os.waitpid(self.pid, os.WNOHANG)

    def log_tail(self, lines_shown: int = LOG_LINES_SHOWN) -> str:
        """Give the last lines that it wrote."""
        return tail(Path(self.log), lines_shown)

    def died(self) -> SandboxError:
        """Make the error that tells how it ended before it was ready."""
        return SandboxError(f"{self.name} ended at once; its log, {self.log}:\n{self.log_tail()}")

    @contextlib.contextmanager
    def _handle(self) -> Iterator[int]:
        """Open what means this process and no later one of the same pid, or ProcessLookupError."""
        handle = os.pidfd_open(self.pid)
        try:
            if not self.alive:
                raise ProcessLookupError
            yield handle
        finally:
            os.close(handle)


def _stat(pid: int) -> tuple[str, int]:
    """Read a process's state letter and start time, proc(5) fields 3 and 22; no such: ("", -1)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", -1
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def tail(log: Path, lines_shown: int) -> str:
    """Give the last lines of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-lines_shown:])


def start(
    name: str,
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    stop_signal: int = signal.SIGTERM,
) -> Child:
    """Start a process in a session of its own, its words appended to `log`.

    It is spawned without `subprocess`, whose objects expect to live as long as the process.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        command[0],
        list(command),
        dict(os.environ if environment is None else environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        # A shell that put us into the background may have left these ignored.
        setsigdef=[signal.SIGINT, signal.SIGQUIT, signal.SIGTERM],
        setsigmask=[],
    )
    return Child(name, pid, _stat(pid)[1], str(log), stop_signal)


class Records:
    """The children of one sandbox, in a file that outlives us; the last started one comes last."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Child]:
        """Read every recorded child, alive or not; SandboxError for a damaged record."""
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        try:
            return [Child(**one) for one in json.loads(text)]
        except (ValueError, TypeError) as error:
            raise SandboxError(
                f"{self._path} is damaged, so its processes are not known: "
                "stop what still runs of them, then delete the file"
            ) from error

    def add(self, child: Child) -> None:
        """Record a child that was just started."""
        self._write([*self.all(), child])

    def stop_all(self) -> list[Child]:
        """Stop the children, the last started first; give those that were alive."""
        stopped = []
        for child in reversed(self.all()):
            if child.alive:
                child.stop()
                stopped.append(child)
        self._write([])
        return stopped

    def _write(self, children: Sequence[Child]) -> None:
        if children:
            write_whole(self._path, json.dumps([asdict(one) for one in children], indent=2))
        else:
            self._path.unlink(missing_ok=True)
