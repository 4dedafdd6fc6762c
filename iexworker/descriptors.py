"""The standard descriptors, which a starter may leave closed: cron jobs, `>&-`, supervisors.

The system gives the lowest free number to whatever is opened next. Without this, the log would go
into the memory that holds the secrets, and a message of a C library into a connection.
"""

from __future__ import annotations

import os
import sys

_STREAMS = ("stdin", "stdout", "stderr")
"""By their descriptors."""


def hold_standard() -> None:
    """Open /dev/null in place of each that is missing; to be called before anything is opened."""
    missing = [number for number in range(len(_STREAMS)) if not _is_open(number)]
    for number in missing:
        # The lowest free number, which is this one; programs that we start have it too.
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        _give_stream(number)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _give_stream(number: int) -> None:
    """Make the stream that Python made None of, since libraries write to it unasked."""
    name = _STREAMS[number]
    # It is never closed, like Python's own.
    stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
    vars(sys).update({name: stream, f"__{name}__": stream})
