"""Lets a test set the clock of a worker: Python imports this first of all, by PYTHONPATH.

`time.time` is ahead by the seconds (a native double) in the file that CHAOS_CLOCK names. The
monotonic clock goes on as ever. libfaketime 0.9.10 cannot do that: with the monotonic clock left
alone, Python's `time.sleep` fails with EINVAL.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

_now = time.time
with Path(os.environ["CHAOS_CLOCK"]).open("rb") as _file:
    _ahead = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)


def _time() -> float:
    found: float = struct.unpack("d", _ahead)[0]
    return _now() + found


time.time = _time
