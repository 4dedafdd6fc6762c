from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from iexworker.compute.blame import Blame, Patience, Trouble, of_machine
from iexworker.errors import DockerError
from tests.unit.helpers.file_server import Waits


def patience(waits: Waits, seconds: float = 600.0, *, answers: bool = True) -> Patience:
    return Patience(
        waits.now_s + seconds,
        3600.0,
        waits.pause,
        lambda: answers,
        now=waits.now,
        elapsed=waits.now,
    )


def failing(error: Exception, times: int = 10**6) -> Callable[[], str]:
    left = iter([error] * min(times, 10_000))

    def work() -> str:
        for item in left:
            raise item
        return "done"

    return work


def test_what_succeeds_is_returned() -> None:
    waits = Waits()
    assert patience(waits).persist(failing(Trouble(Blame.OURS, ""), 3), "x") == "done"
    assert waits.pauses == [1.0, 2.0, 4.0]


def test_the_requesters_fault_is_raised_at_once() -> None:
    waits = Waits()
    with pytest.raises(Trouble):
        patience(waits).persist(failing(Trouble(Blame.REQUESTER, "")), "x")
    assert waits.pauses == []


def test_our_fault_is_tried_until_the_deadline() -> None:
    waits = Waits()
    start_s = waits.now_s
    with pytest.raises(Trouble) as caught:
        patience(waits, 100.0).persist(failing(Trouble(Blame.OURS, "full")), "x")
    assert caught.value.blame is Blame.OURS
    assert 60 < waits.now_s - start_s <= 100


def test_our_fault_is_tried_for_one_execution_time_from_its_first_sight() -> None:
    waits = Waits()
    begun_s = waits.now_s

    def work() -> str:
        waits.now_s += 500.0 if waits.now_s == begun_s else 0.0
        raise Trouble(Blame.OURS, "")

    patient = Patience(
        begun_s + 10_000, 100.0, waits.pause, lambda: True, now=waits.now, elapsed=waits.now
    )
    with pytest.raises(Trouble):
        patient.persist(work, "x")
    assert 60 < waits.now_s - begun_s - 500 <= 100


def test_an_engine_out_of_reach_is_our_fault() -> None:
    with pytest.raises(Trouble) as caught:
        patience(Waits(), 10.0).persist(failing(DockerError("gone")), "x")
    assert caught.value.blame is Blame.OURS


def test_the_network_becomes_the_requesters_fault_in_two_minutes() -> None:
    waits = Waits()
    with pytest.raises(Trouble, match="refused") as caught:
        patience(waits).persist(failing(Trouble(Blame.NETWORK, "refused")), "x")
    assert caught.value.blame is Blame.REQUESTER
    assert sum(waits.pauses) >= 120


def test_the_network_stays_our_fault_where_time_is_short() -> None:
    with pytest.raises(Trouble) as caught:
        patience(Waits(), 60.0).persist(failing(Trouble(Blame.NETWORK, "")), "x")
    assert caught.value.blame is Blame.OURS


def test_the_network_stays_our_fault_while_the_scheduler_does_not_answer() -> None:
    with pytest.raises(Trouble) as caught:
        patience(Waits(), answers=False).persist(failing(Trouble(Blame.NETWORK, "")), "x")
    assert caught.value.blame is Blame.OURS


def test_a_disk_that_takes_nothing_is_our_fault_and_is_tried_again() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert patience(Waits()).persist(failing(full, 2), "x") == "done"
    with pytest.raises(Trouble, match="No space left") as caught:
        patience(Waits(), 10.0).persist(failing(full), "x")
    assert caught.value.blame is Blame.OURS


def test_a_clock_that_is_set_forward_puts_the_blame_on_nobody() -> None:
    waits, jumped = Waits(), Waits()
    jumped.now_s += 7200.0
    clocks = iter([waits.now_s, jumped.now_s])
    patient = Patience(
        jumped.now_s + 600.0,
        3600.0,
        waits.pause,
        lambda: True,
        now=lambda: next(clocks, jumped.now_s),
        elapsed=waits.now,
    )
    assert patient.persist(failing(Trouble(Blame.NETWORK, "refused"), 3), "x") == "done"


@pytest.mark.parametrize(("number", "ours"), [(errno.ENOSPC, True), (errno.ENOENT, False)])
def test_only_what_this_machine_cannot_take_is_its_trouble(number: int, ours: bool) -> None:
    assert (of_machine(OSError(number, "words"), "archive") is not None) is ours
