"""One event a line: time, level, role, a fixed text, then its facts as key=value, or JSON.

A caller writes `log.info("image pulled", extra={"task": task_id, "seconds": 1.2})`: the text is
the same for the same event everywhere, what differs is in the facts; one that is None is left out.
What explains a failure is the fact `error` (an exception, or what a peer said) or `reason` (our own
words). No text from outside can forge a line, since line ends are escaped; only a traceback and the
fact `text_block` (the developer log of docs/spec/08, 7.3) follow their line as they are. Secrets
are never a fact, and addresses lose theirs here (masking.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from iexworker.masking import masked

OFF = logging.CRITICAL + 10
"""A level above every event."""

_JAVA_LEVELS = {"TRACE": logging.DEBUG, "FATAL": logging.CRITICAL, "OFF": OFF}
_NOISY = ("asyncio", "docker", "filelock", "gunicorn", "requests", "rlp", "urllib3", "web3")
_NO_FACTS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "text_block"}
_NEEDS_QUOTES = re.compile(r'[\s"=\\\x00-\x1f\x7f-\x9f\u2028\u2029]')
_LINE_ENDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LOCK_PATIENCE_S = 0.05
_task: ContextVar[str] = ContextVar("task", default="")


def level_number(name: str) -> int:
    """Return the level of that name, Java's names included; an unknown one reads as INFO."""
    upper = name.strip().upper()
    if upper in _JAVA_LEVELS:
        return _JAVA_LEVELS[upper]
    return logging.getLevelNamesMapping().get(upper, logging.INFO)


def setup(
    role: str,
    level: str = "INFO",
    *,
    as_json: bool = False,
    fd: int = 1,
    count: Callable[[int], None] | None = None,
) -> None:
    """Send every event of this process to `fd`; called again in a child with its role.

    `count` is told the level number of each event that is written: `Entry.count_event`.
    """
    root = logging.getLogger()
    previous = next((item for item in root.handlers if isinstance(item, LineHandler)), None)
    handler = LineHandler(fd, previous.lock_fd if previous else os.memfd_create("log lock"), count)
    handler.setFormatter(JsonFormatter(role) if as_json else TextFormatter(role))
    if previous:
        root.removeHandler(previous)
    root.addHandler(handler)
    number = level_number(level)
    root.setLevel(number)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


@contextlib.contextmanager
def about(task_id: str) -> Iterator[None]:
    """Give every event of this thread the fact `task`, until the block ends."""
    token = _task.set(task_id)
    try:
        yield
    finally:
        _task.reset(token)


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the caller gave in `extra`, in its order, after the task of `about`."""
    own = {
        key: value
        for key, value in vars(record).items()
        if key not in _NO_FACTS and value is not None
    }
    # The developer log names its task in the words that upstream uses.
    is_plain = "task" not in own and not hasattr(record, "text_block")
    return {"task": _task.get(), **own} if _task.get() and is_plain else own


def _instant(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escape(match: re.Match[str]) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(match[0], f"\\u{ord(match[0]):04x}")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if text and not _NEEDS_QUOTES.search(text):
        return text
    return _LINE_ENDS.sub(_escape, json.dumps(text, ensure_ascii=False))


def _shown(value: object) -> object:
    """Return a fact as JSON has it, addresses masked."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _shown(item) for key, item in value.items()}
    return masked(str(value))


class TextFormatter(logging.Formatter):
    """`2025-11-24T01:57:03.123Z INFO  scheduling  image pulled task=0x.. seconds=1.2`."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Return the event's line, then its traceback (indented) and its block (as it is)."""
        message = _LINE_ENDS.sub(_escape, record.getMessage())
        line = f"{_instant(record)} {record.levelname:<7} {self._role:<10} {message}"
        line += "".join(f" {key}={_value(value)}" for key, value in facts_of(record).items())
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += "\n    " + "\n    ".join(trace.splitlines())
        block = getattr(record, "text_block", None)
        return masked(line) if block is None else f"{masked(line)}\n{block}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, role, message, and the facts beside them."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Return the event as one line of JSON."""
        event: dict[str, Any] = facts_of(record)
        event |= {
            "time": _instant(record),
            "level": record.levelname,
            "role": self._role,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        event = {key: _shown(value) for key, value in event.items()}
        if (block := getattr(record, "text_block", None)) is not None:
            event["text_block"] = block
        first = ("time", "level", "role", "message")
        ordered = {key: event[key] for key in first} | event
        return json.dumps(ordered)


class LineHandler(logging.Handler):
    """Write each event with as few writes as the system allows, one process at a time.

    A pipe takes up to 4 KiB whole; a longer event could be cut by another process. The record
    lock of an anonymous file keeps them apart and is freed by the system when its holder is
    killed. A holder that is merely stopped is not waited for: a mixed line beats a hung parent.
    """

    def __init__(self, fd: int, lock_fd: int, count: Callable[[int], None] | None) -> None:
        super().__init__()
        self.lock_fd = lock_fd
        self._fd = fd
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        """Write the event; an output that is gone is no reason to fail."""
        try:
            data = (self.format(record) + "\n").encode(errors="backslashreplace")
        except Exception:  # noqa: BLE001 - a broken event must not end the process that logs it
            self.handleError(record)
            return
        if self._count is not None:
            self._count(record.levelno)
        with self._alone(), contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._fd, data) :]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        held = self._lock()
        try:
            yield
        finally:
            if held:
                fcntl.lockf(self.lock_fd, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while True:
            try:
                fcntl.lockf(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.0005)
