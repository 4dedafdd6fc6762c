"""Where secrets live: out of the environment, in an anonymous file that one process may read.

The initial environment of a process can be read in `/proc/PID/environ` for as long as it lives,
by whoever has its user; deleting a variable does not change that block. So the values are
overwritten there too, before the first fork.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, MutableMapping
from pathlib import Path

_ENV_START, _ENV_END = 49, 50  # fields 50 and 51 of proc_pid_stat(5), counted from 0
_QUOTES = {'"': "double", "'": "single"}
_MARKS = ("PASSWORD", "SECRET")


class Secrets:
    """Named secrets in a memfd, so that a process closes what it must not know."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._fd: int | None = os.memfd_create("secrets")
        os.write(self._fd, json.dumps(dict(values)).encode())

    def get(self, name: str) -> str:
        """Return a secret; raises `PermissionError` in a process that closed them."""
        return self.all()[name]

    def all(self) -> dict[str, str]:
        """Return every secret; raises `PermissionError` in a process that closed them."""
        if self._fd is None:
            raise PermissionError("this process holds no secrets")
        size = os.fstat(self._fd).st_size
        values: dict[str, str] = json.loads(os.pread(self._fd, size, 0))
        return values

    def close(self) -> None:
        """Give up the secrets in this process."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def oddity(password: str) -> str:
    """Say what of a password was perhaps not meant to be part of it; empty when nothing is odd.

    A password is taken to the letter, since any of this may belong to it.
    """
    if len(password) > 1 and password[0] == password[-1] and password[0] in _QUOTES:
        return f"the password is in {_QUOTES[password[0]]} quotes, which count as part of it"
    if password.startswith("\ufeff"):
        return "the password begins with a byte order mark, which counts as part of it"
    if password != password.strip(" "):
        return "the password has a blank at its begin or end, which counts as part of it"
    if not password.isprintable():
        return "the password has a control character, or one that cannot be seen"
    if password[:1] in _QUOTES or password[-1:] in _QUOTES:
        return "the password has a quote at its begin or end, which counts as part of it"
    return ""


def is_secret(variable: str) -> bool:
    """Whether this environment variable carries a secret itself, not the name of its file."""
    return any(mark in variable.upper() for mark in _MARKS) and not variable.endswith("_FILE")


def forget(environ: MutableMapping[str, str]) -> None:
    """Take every secret out of `environ`, and out of this process's initial environment."""
    names = {name for name in environ if is_secret(name)}
    for name in names:
        del environ[name]
    overwrite_initial_environment(names)


def overwrite_initial_environment(names: Collection[str]) -> None:
    """Fill the values of these variables with NULs where the kernel put them at `exec`.

    Must run before setproctitle, which takes that memory for its title.
    """
    if not names:
        return
    stat = Path("/proc/self/stat").read_bytes()
    fields = [b"pid", b"comm", *stat[stat.rindex(b")") + 2 :].split()]
    start, end = int(fields[_ENV_START]), int(fields[_ENV_END])
    wanted = {name.encode() for name in names}
    memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
    try:
        block = os.pread(memory, end - start, start)
        os.pwrite(memory, _without_values(block, wanted), start)
    finally:
        os.close(memory)


def _without_values(block: bytes, names: Collection[bytes]) -> bytes:
    """Return an environment block of the same length, these values made of NULs."""
    entries = []
    for entry in block.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        entries.append(name + equals + bytes(len(value)) if name in names else entry)
    return b"\0".join(entries)
