"""When the scheduler has had its time to push what follows."""

from __future__ import annotations

import pytest

from iexworker.core.messages import AnswerKind, Notification, NotificationType, ReplicateStatus
from iexworker.task.events import Answered, Event, Notified, SchedulerSaw
from iexworker.task.push_timeout import MISSED_PATIENCE_S, PUSH_PATIENCE_S, PushTimeout

NEVER = 0.0
MOVED_S = 1000.0
SOON_S, LATE_S = MISSED_PATIENCE_S + 1, PUSH_PATIENCE_S + 1

ACCEPTED = Answered(ReplicateStatus.REVEALED, AnswerKind.ACCEPTED)
KNOWN = Answered(ReplicateStatus.REVEALED, AnswerKind.ALREADY)
REFUSED = Answered(ReplicateStatus.REVEALED, AnswerKind.REFUSED)
PUSHED = Notified(Notification("0x01", (), NotificationType.PLEASE_UPLOAD))


def waiting(*events: tuple[Event, float]) -> PushTimeout:
    patience = PushTimeout(moved_s=MOVED_S, heard_s=MOVED_S)
    for event, at_s in events:
        patience.take(event, at_s)
    return patience


def is_over(patience: PushTimeout, after_s: float, returned_s: float = NEVER) -> bool:
    return patience.is_over(MOVED_S + after_s, returned_s)


@pytest.mark.parametrize("event", [ACCEPTED, REFUSED, PUSHED, SchedulerSaw(True, False)])
def test_while_nothing_was_missed_a_push_has_its_usual_time(event: Event) -> None:
    patience = waiting((event, MOVED_S + 1))
    assert not is_over(patience, SOON_S)
    assert is_over(patience, LATE_S)


def test_what_a_known_status_leads_to_was_pushed_before() -> None:
    patience = waiting((KNOWN, MOVED_S + 1))
    assert not is_over(patience, MISSED_PATIENCE_S)  # it may have come on the way, a moment ago
    assert is_over(patience, 1 + SOON_S)


def test_what_fell_into_an_absence_is_not_pushed_again() -> None:
    assert not is_over(waiting(), 20 + MISSED_PATIENCE_S - 1, returned_s=MOVED_S + 20)
    assert is_over(waiting(), 20 + SOON_S, returned_s=MOVED_S + 20)


def test_a_step_after_the_absence_changes_nothing_but_the_beginning_of_the_wait() -> None:
    back = PushTimeout(moved_s=MOVED_S, heard_s=MOVED_S - 20)
    assert not is_over(back, MISSED_PATIENCE_S - 1, returned_s=MOVED_S - 10)
    assert is_over(back, SOON_S, returned_s=MOVED_S - 10)


@pytest.mark.parametrize("word", [ACCEPTED, PUSHED])
@pytest.mark.parametrize("known", [True, False])
def test_the_next_word_of_the_scheduler_shows_that_it_is_heard_again(
    word: Event, known: bool
) -> None:
    missed = (KNOWN, MOVED_S + 1) if known else (REFUSED, MOVED_S + 1)
    patience = waiting(missed, (word, MOVED_S + 2))
    returned_s = NEVER if known else MOVED_S + 1
    assert not is_over(patience, SOON_S + 2, returned_s)
    assert is_over(patience, LATE_S, returned_s)
