"""The orderly stop, step by step: what is sent to whom, and when."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

from iexworker.procs.context import HTTP
from iexworker.supervisor.shutdown import Shutdown


def deaf_http() -> tuple[Any, list[int]]:
    """Return an http process that does not leave, and the signals it is sent."""
    sent: list[int] = []
    return SimpleNamespace(role=HTTP, slot=None, process=object(), send_signal=sent.append), sent


def test_http_that_lost_the_signal_is_told_again_until_it_leaves() -> None:
    child, sent = deaf_http()
    shutdown = Shutdown([child], 10.0, 100.0)
    for tenths in range(12):
        assert not shutdown.step(100.0 + tenths / 10)
    assert sent == [signal.SIGQUIT] * 3
    child.process = None
    shutdown.died(child, -signal.SIGQUIT)
    assert shutdown.step(101.2)
    assert shutdown.orderly


def test_http_that_overstays_is_killed_once_and_told_no_more() -> None:
    child, sent = deaf_http()
    shutdown = Shutdown([child], 0.0, 100.0)
    for tenths in range(12):
        assert not shutdown.step(100.0 + tenths / 10)
    assert sent == [signal.SIGQUIT, signal.SIGKILL]
