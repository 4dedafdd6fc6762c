from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator

import pytest

from iexworker.compute.cancellation import Cancellation, Cancelled, in_background


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    made = Cancellation()
    yield made
    made.close()


def test_a_flag_that_is_down_lets_pass(cancellation: Cancellation) -> None:
    cancellation.check()
    cancellation.pause(0)
    assert not cancellation.cancelled


def test_a_raised_flag_ends_checks_pauses_and_polls(cancellation: Cancellation) -> None:
    threading.Timer(0.05, cancellation.cancel).start()
    started_s = time.monotonic()
    with pytest.raises(Cancelled):
        cancellation.pause(30)
    assert time.monotonic() - started_s < 5
    with pytest.raises(Cancelled):
        cancellation.check()
    assert select.select([cancellation], [], [], 30)[0]  # the flag goes up before it


def test_work_in_the_background_returns_what_it_gives(cancellation: Cancellation) -> None:
    assert in_background(lambda: 7, cancellation, 30) == 7


def test_an_exception_in_the_background_is_raised_here(cancellation: Cancellation) -> None:
    def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        in_background(work, cancellation, 30)


def test_work_that_takes_too_long_is_left_to_itself(cancellation: Cancellation) -> None:
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        release.wait(30)
        ended.set()

    with pytest.raises(TimeoutError):
        in_background(work, cancellation, 0.01)
    release.set()
    assert ended.wait(30)


def test_a_cancel_does_not_wait_for_the_background(cancellation: Cancellation) -> None:
    release = threading.Event()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        in_background(lambda: release.wait(30), cancellation, 30)
    release.set()
