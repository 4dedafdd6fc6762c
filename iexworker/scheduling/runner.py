"""Owns all replicates: journals what the lifecycle decides, then has the effects executed.

Runs in one asyncio loop and blocks it only for the journal's commit. Blocking work is done
by `Effects` in bounded threads and comes back as events, so no effect of one task delays
another's (docs/spec/04, H2).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from iexworker.core.messages import Grant, Notification
from iexworker.errors import JournalDamaged, JournalError
from iexworker.poco.models import Profile
from iexworker.scheduling.task_log import TaskLog
from iexworker.scheduling.task_words import STEPS_IN_WORDS
from iexworker.task import lifecycle
from iexworker.task.events import Effect, Event, Forget, Notified
from iexworker.task.journal import Journal, JournalKey
from iexworker.task.push_timeout import PushTimeout
from iexworker.task.replicate import Replicate, Update
from iexworker.task.transitions import Change

JOURNAL_RETRY_S = 1.0

log = logging.getLogger(__name__)


class Effects(Protocol):
    """Executes what the runner decides; every call returns at once."""

    def perform(self, replicate: Replicate, effect: Effect) -> None:
        """Start an effect; its result comes back to `Runner.apply`."""

    def kick(self, task_id: str) -> None:
        """Have the task's pending updates sent."""

    def forget(self, replicate: Replicate) -> None:
        """Release everything held for a task that has ended."""


class Runner:
    """All unfinished replicates of one journal key.

    `make_effects` makes their executor, which brings results back to this runner.
    """

    def __init__(
        self,
        journal: Journal,
        key: JournalKey,
        make_effects: Callable[[Runner], Effects],
        on_journal_error: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._key = key
        self._on_journal_error = on_journal_error
        self._replicates: dict[str, Replicate] = {}
        self._push_timeouts: dict[str, PushTimeout] = {}
        self._waiting: dict[str, deque[Event]] = {}
        self.task_log = TaskLog()
        self._effects = make_effects(self)

    @property
    def replicates(self) -> Mapping[str, Replicate]:
        """Return the replicates by task id."""
        return self._replicates

    def get(self, task_id: str) -> Replicate | None:
        """Return a task's replicate, None when it is not ours or has its answer."""
        return self._replicates.get(task_id)

    def push_timeout(self, task_id: str) -> PushTimeout:
        """Return the push timeout of one of our tasks."""
        return self._push_timeouts[task_id]

    def next_update(self, task_id: str) -> Update | None:
        """Return the task's update to send now."""
        replicate = self._replicates.get(task_id)
        return None if replicate is None else lifecycle.next_update(replicate)

    def recover(self) -> None:
        """Load the journal's replicates and execute the effects that each still needs."""
        for replicate in list(self._journal.replicates(self._key)):
            log.info(
                "task taken up again",
                extra={
                    "task": replicate.task_id,
                    "step": STEPS_IN_WORDS[replicate.step],
                    "contributed": replicate.staked,
                },
            )
            self._replicates[replicate.task_id] = replicate
            self.task_log.begin(replicate, restarted=True)
        for task_id in list(self._replicates):
            # Pushes sent since the last process ended were missed.
            self._push_timeouts[task_id] = PushTimeout(moved_s=time.monotonic(), heard_s=0.0)
            self._settle(self._replicates[task_id], lifecycle.resume(self._replicates[task_id]))
        for key, count in self._journal.foreign(self._key).items():
            log.warning(
                "tasks of another chain or wallet are kept in the journal",
                extra={"key": key, "tasks": count},
            )

    def grant(self, grant: Grant, profile: Profile) -> bool:
        """Begin a granted task; False when it is already ours. Raises `JournalError`."""
        task_id = grant.authorization.task_id
        if task_id in self._replicates:
            log.warning("grant of a task that is already ours", extra={"task": task_id})
            return False
        granted = Replicate(
            grant.authorization, profile, sms_url=grant.sms_url, granted_at_s=time.time()
        )
        change = lifecycle.begin(granted)
        self._journal.save(self._key, change[0])
        log.debug("grant journalled", extra={"task": task_id})
        self.task_log.begin(granted)
        self._settle(granted, change)
        return True

    def adopt(self, replicate: Replicate) -> None:
        """Add a task that recovery has found. Raises `JournalError`."""
        task_id = replicate.task_id
        self._journal.save(self._key, replicate)
        log.warning(
            "task found again",
            extra={
                "task": task_id,
                "step": STEPS_IN_WORDS[replicate.step],
                "contributed": replicate.staked,
                "compute_again": replicate.redo is not None,
            },
        )
        self.task_log.begin(replicate, restarted=True)
        # Its pushes were sent before we came back.
        self._push_timeouts[task_id] = PushTimeout(moved_s=0.0, heard_s=0.0)
        self._settle(replicate, lifecycle.resume(replicate))

    def notify(self, notification: Notification) -> None:
        """Take a message of a topic that is meant for this wallet."""
        log.debug(
            "notified", extra={"task": notification.task_id, "wants": notification.type.value}
        )
        self.apply(notification.task_id, Notified(notification))

    def apply(self, task_id: str, event: Event) -> None:
        """Take an event; one of a task that is not ours, or has its answer, is dropped.

        Where the journal cannot be written nothing may follow from the event: it waits.
        """
        if task_id not in self._replicates:
            return
        queue = self._waiting.setdefault(task_id, deque())
        queue.append(event)
        if len(queue) == 1:
            self._drain(task_id)

    def _drain(self, task_id: str) -> None:
        queue = self._waiting.get(task_id)
        while queue and task_id in self._replicates:
            try:
                self._take(self._replicates[task_id], queue[0])
            except JournalDamaged as error:
                # The process is born again, sets the journal aside and finds the tasks elsewhere.
                log.critical("journal damaged, starting anew", extra={"error": str(error)})
                raise SystemExit(str(error)) from error
            except JournalError as error:
                log.error(
                    "journal not written, the task waits",
                    extra={"task": task_id, "error": str(error)},
                )
                self._on_journal_error()
                asyncio.get_running_loop().call_later(JOURNAL_RETRY_S, self._drain, task_id)
                return
            except Exception:
                # Dropping one event is better than blocking all later ones of the task.
                facts = {"task": task_id, "event": type(queue[0]).__name__}
                log.exception("event not handled", extra=facts)
            queue.popleft()
        self._waiting.pop(task_id, None)

    def _take(self, before: Replicate, event: Event) -> None:
        self._push_timeouts[before.task_id].take(event, time.monotonic())
        change = lifecycle.advance(before, event)
        if any(isinstance(effect, Forget) for effect in change[1]):
            self._journal.forget(self._key, before.task_id)
            self._drop(before)
            return
        if change[0] != before:
            self._journal.save(self._key, change[0])
        self._settle(before, change)
        self.task_log.take(before, event, change[0])

    def _settle(self, before: Replicate, change: Change) -> None:
        after, effects = change
        task_id = after.task_id
        begins = task_id not in self._push_timeouts
        if begins or (after.step, after.work) != (before.step, before.work):
            now_s = time.monotonic()
            self._push_timeouts.setdefault(task_id, PushTimeout(now_s, now_s)).moved_s = now_s
            log.debug(
                "task moved",
                extra={"task": task_id, "step": after.step.value, "work": after.work.value},
            )
        if before.redo is not None and after.redo is None:
            # Without the digest the contribution cannot be revealed, and the chain says the rest.
            facts = {"task": task_id, "same_result": after.digest is not None}
            log.log(logging.INFO if after.digest else logging.ERROR, "computed again", extra=facts)
        self._replicates[task_id] = after
        for effect in effects:
            self._effects.perform(after, effect)
        self._effects.kick(task_id)

    def _drop(self, replicate: Replicate) -> None:
        del self._replicates[replicate.task_id]
        del self._push_timeouts[replicate.task_id]
        self._effects.forget(replicate)
