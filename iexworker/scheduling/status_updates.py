"""Sends a task's updates one after the other until each has its answer (docs/spec/04, 4.2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from iexworker import outage
from iexworker.core.client import Answer, SchedulerClient
from iexworker.core.login import Tokens
from iexworker.core.messages import AnswerKind, Details
from iexworker.errors import LoginRefused, SchedulerError
from iexworker.retry import pauses
from iexworker.scheduling.runner import Runner
from iexworker.shared import handoff
from iexworker.task.events import Answered
from iexworker.task.replicate import STATUSES, Step, Update

_ACHIEVED = frozenset(
    statuses.success
    for step, statuses in STATUSES.items()
    if step not in (Step.COMPLETE, Step.ABORT)
)
"""Refused, it is lost or told again; what follows any other status is the same."""

UPDATE_THREADS = 8

log = logging.getLogger(__name__)

Post = Callable[[str, Update], Awaitable[Answer]]
"""Sends one update; raises `SchedulerError`."""


def details_of(update: Update, outcome: handoff.StepOutcome | None) -> Details | None:
    """Return the details of an update; the app's output comes from the slot's outcome."""
    found = outcome if update.with_logs else None
    details = Details(
        receipt=update.receipt,
        result_link=update.result_link,
        callback_data=update.callback_data,
        cause=update.cause,
        exit_code=update.exit_code,
        with_logs=update.with_logs,
        stdout=None if found is None else found.stdout_tail,
        stderr=None if found is None else found.stderr_tail,
    )
    return None if details == Details() else details


class Poster:
    """Posts updates with the scheduler's client, in a few threads of its own."""

    def __init__(
        self, client: SchedulerClient, tokens: Tokens, folder_of: Callable[[str], Path]
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._folder_of = folder_of
        self._threads = ThreadPoolExecutor(UPDATE_THREADS, thread_name_prefix="updates")

    async def post(self, task_id: str, update: Update) -> Answer:
        """Send one update; the app's output is read from the slot's outcome."""

        def send() -> Answer:
            outcome = None
            if update.with_logs:
                outcome = handoff.read_outcome(self._folder_of(task_id), Step.COMPUTE.value)
            details = details_of(update, outcome)
            return self._tokens.with_token(
                lambda: self._client.update_status(task_id, update.status, details)
            )

        return await asyncio.get_running_loop().run_in_executor(self._threads, send)


class StatusUpdates:
    """One conversation per task, each in its own order; none waits for another."""

    def __init__(self, runner: Runner, post: Post, allowed: asyncio.Event) -> None:
        self._runner = runner
        self._post = post
        self._allowed = allowed
        """Set while the scheduler may be told anything (logged in, channel open)."""
        self._talks: dict[str, asyncio.Task[None]] = {}

    def kick(self, task_id: str) -> None:
        """See to it that the task's pending updates are being sent."""
        if task_id not in self._talks and self._runner.next_update(task_id) is not None:
            talk = asyncio.get_running_loop().create_task(self._talk(task_id))
            self._talks[task_id] = talk
            talk.add_done_callback(lambda _: self._ended(task_id, talk))

    def _ended(self, task_id: str, talk: asyncio.Task[None]) -> None:
        del self._talks[task_id]
        if not talk.cancelled():
            self.kick(task_id)  # an update may have come between the last look and now

    async def _talk(self, task_id: str) -> None:
        try:
            await self._until_answered(task_id)
        finally:
            outage.of(outage.SCHEDULER).dropped(task_id)

    async def _until_answered(self, task_id: str) -> None:
        pause = pauses()
        while True:
            await self._allowed.wait()
            update = self._runner.next_update(task_id)
            if update is None:
                return
            answered = await self._try(task_id, update)
            if answered is not None:
                self._runner.apply(task_id, answered)
            if self._runner.next_update(task_id) == update:
                await asyncio.sleep(next(pause))  # no answer, or one that is insisted against
            elif answered is not None:
                pause = pauses()

    async def _try(self, task_id: str, update: Update) -> Answered | None:
        status = update.status.value
        try:
            answer = await self._post(task_id, update)
        except (SchedulerError, LoginRefused) as error:
            outage.of(outage.SCHEDULER).failed(task_id, error, task=task_id, status=status)
            return None
        except Exception:
            log.exception("update cannot be sent, trying again", extra={"task": task_id})
            return None
        outage.of(outage.SCHEDULER).worked(task_id)
        wants = None if answer.next is None else answer.next.value
        facts = {"task": task_id, "status": status, "answer": answer.kind.value, "wants": wants}
        log.debug("update answered", extra=facts | {"cause": update.cause})
        if answer.kind is AnswerKind.REFUSED and update.status in _ACHIEVED:
            log.warning(
                "scheduler refuses the status of a task", extra={"task": task_id, "status": status}
            )
        return Answered(update.status, answer.kind, answer.next)
