"""A folder in which one start goes wrong, and what is seen of it: a line and an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iexworker import logs
from tests.field.helpers.command import COMMAND, environment

PATIENCE_S = 30.0
NOBODY = 65534
ROOT = os.geteuid() == 0

_LOG_LINE = re.compile(r"\S+Z (?P<level>[A-Z]+) +\S+ +(?P<event>.*)")
_TELLING = ("WARNING", "ERROR", "CRITICAL")
_NOISE = ("the base directory",)
"""Warnings that every test's own folder gets: it lies where nothing lasts."""
_UNSTABLE = (
    (re.compile(r"(?<=127\.0\.0\.1:)[0-9]{2,}"), "21000"),
    # Login and event stream begin side by side: whichever fails first is told.
    (re.compile(r"notification stream down: "), ""),
    (re.compile(r"GET /(connect/info|workers/config|version)"), "GET /workers/config"),
    (re.compile(r"(?<=\bpid )[0-9]+"), "4242"),
    # Which of the two it is depends on the resolver.
    (
        re.compile("could not be looked up; check this machine's DNS"),
        "is not known; check the address, and this machine's DNS",
    ),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What an operator has of a start that goes wrong."""

    line: str
    exit_code: int | None
    """None: the worker runs on, and looks again."""
    is_ready: bool = False
    """Whether it takes work all the same."""


class Place:
    """Everything that a worker of its own needs, but for what the situation takes away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = environment(folder)
        self.environ["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
        self.environ["PATH"] = str(folder / "bin")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._closing = contextlib.ExitStack()

    def use(self, manager: contextlib.AbstractContextManager[Any]) -> Any:
        """Open something that is closed with the place."""
        return self._closing.enter_context(manager)

    def verb(self, *arguments: str, **variables: str) -> Seen:
        """Run a verb to its end; what it complains of is its line, else the first that it says."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env={**self._environ(variables)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        lines = (*_told(done.stderr), *done.stdout.splitlines())
        return Seen(self._stable(lines[0]), done.returncode)

    def start(
        self,
        words: str = "",
        *,
        command: Sequence[str] = (*COMMAND, "run"),
        prepare: Callable[[], None] | None = None,
        **variables: str,
    ) -> Seen:
        """Start a worker that cannot go on; return its first telling line with these words."""
        process, output = self.begin(command, prepare, **variables)
        code = process.wait(PATIENCE_S)
        text = output.read_text(errors="replace")
        return Seen(self._stable(_first(text, words) or f"nothing with {words!r}: {text}"), code)

    def start_and_go_on(
        self, words: str, *, command: Sequence[str] = (*COMMAND, "run"), **variables: str
    ) -> Seen:
        """The same of a worker that goes on, and tries again."""
        process, output = self.begin(command, None, **variables)
        deadline = time.monotonic() + PATIENCE_S
        while not (line := _first(output.read_text(errors="replace"), words)):
            alive = process.poll() is None and time.monotonic() < deadline
            assert alive, f"no line with {words!r}: {output.read_text(errors='replace')}"
            time.sleep(0.02)
        return Seen(self._stable(line), process.poll())

    def begin(
        self,
        command: Sequence[str] = (*COMMAND, "run"),
        prepare: Callable[[], None] | None = None,
        **variables: str,
    ) -> tuple[subprocess.Popen[bytes], Path]:
        """Start the worker; return it, and the file that it writes to."""
        path = self.folder / f"output{len(self._processes)}"
        with path.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=self._environ(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                preexec_fn=prepare,
            )
        self._processes.append(process)
        return process, path

    @contextlib.contextmanager
    def listening(self, logger: str) -> Iterator[list[str]]:
        """Collect the telling lines that a part of the worker logs in this process."""
        lines: list[str] = []
        handler = logging.Handler()
        formatter = logs.TextFormatter("compute-0")
        handler.emit = lambda record: lines.extend(  # type: ignore[method-assign]
            self._stable(line) for line in _told(formatter.format(record))
        )
        logging.getLogger(logger).addHandler(handler)
        try:
            yield lines
        finally:
            logging.getLogger(logger).removeHandler(handler)

    def give_away(self, path: Path) -> None:
        """Make it another user's, whose it alone is to write to or to use."""
        if ROOT:
            os.chown(path, NOBODY, NOBODY)
            path.chmod(0o755 if path.is_dir() else 0o600)
        else:
            path.chmod(0o500 if path.is_dir() else 0)

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self._processes:
            process.kill()
            process.wait(PATIENCE_S)
        self._closing.close()

    def _environ(self, variables: dict[str, str]) -> dict[str, str]:
        return {
            **self.environ,
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }

    def _stable(self, line: str) -> str:
        """Return the line without what differs from run to run."""
        line = line.replace(str(self.folder), "/srv/iexec")
        for pattern, instead in _UNSTABLE:
            line = pattern.sub(instead, line)
        return line


def _told(text: str) -> list[str]:
    """Return the problems that a command lists, and the events of a log that tell something."""
    found = []
    for line in text.splitlines():
        event = _LOG_LINE.fullmatch(line)
        if event is None:
            complaint = line.strip().removeprefix("iexworker: ")
            if complaint and not complaint.endswith(" problem(s) with the settings:"):
                found.append(complaint)
        elif event["level"] in _TELLING:
            found.append(event["event"])
    return [line for line in found if not any(noise in line for noise in _NOISE)]


def _first(text: str, words: str) -> str:
    return next((line for line in _told(text) if words in line), "")


def powerless(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command without root's power over the files of others."""
    powers = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    return (*((*_found(powers[0]), powers[1]) if ROOT else ()), *command)


def _found(program: str) -> tuple[str, ...]:
    path = shutil.which(program)
    assert path is not None, f"{program} is not installed"
    return (path,)


@contextlib.contextmanager
def new_place() -> Iterator[Place]:
    """Give a place, and take it away again."""
    folder = Path(tempfile.mkdtemp(prefix="iexec-"))
    place = Place(folder)
    try:
        yield place
    finally:
        place.close()
        shutil.rmtree(folder, ignore_errors=True)
