"""Executes effects: each is a coroutine whose result comes back to the runner as an event.

Every effect is idempotent, so that a start may ask for it again. An exception inside a step is
that step's failure with cause UNKNOWN, never silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Coroutine
from pathlib import Path

from iexworker import outage
from iexworker.compute.folders import remove_tree
from iexworker.errors import ChainError, Unavailable
from iexworker.poco.hashing import result_hash
from iexworker.poco.models import ContributionStatus, TaskDescription, TaskStatus
from iexworker.retry import patiently
from iexworker.scheduling.collaborators import Collaborators
from iexworker.scheduling.runner import Runner
from iexworker.scheduling.status_updates import StatusUpdates
from iexworker.scheduling.task_log import tell_end, tell_granted
from iexworker.scheduling.task_words import CAUSES_IN_WORDS, STEPS_IN_WORDS
from iexworker.scheduling.transactions import Handovers
from iexworker.shared import handoff
from iexworker.shared.channels import Outcome
from iexworker.task.events import (
    AskScheduler,
    DoStep,
    Effect,
    Observe,
    Observed,
    Prepared,
    StepDone,
    StopWork,
    Transact,
)
from iexworker.task.replicate import Replicate, Step

START_PATIENCE_S = 60.0
"""How long a grant's first checks wait for a chain node that does not answer."""
REVEAL_PATIENCE_S = 60.0
REVEAL_LOOK_S = 1.0
"""How long, and how often, to look for a reveal that was mined before."""


log = logging.getLogger(__name__)


class EffectExecutor:
    """Executes what the runner asks for; see `runner.Effects`."""

    def __init__(
        self, collaborators: Collaborators, runner: Runner, updates: StatusUpdates
    ) -> None:
        self._with = collaborators
        self._runner = runner
        self._updates = updates
        self._handovers = Handovers(collaborators.chain, runner.get, self._spawn)
        self._running: set[asyncio.Task[None]] = set()
        self._observing: set[str] = set()
        self._reveal_deadlines_s: dict[str, int] = {}

    def perform(self, replicate: Replicate, effect: Effect) -> None:
        """Start executing an effect, and return at once."""
        if isinstance(effect, DoStep):
            self._spawn(self._step(replicate, effect))
        elif isinstance(effect, Transact):
            self._handovers.begin(replicate.task_id, effect.step)
        elif isinstance(effect, Observe):
            self.observe(replicate.task_id)
        elif isinstance(effect, AskScheduler):
            self._spawn(self._ask(replicate.task_id))
        elif isinstance(effect, StopWork):
            self._with.slots.cancel(replicate.task_id)
            self._spawn(self._with.sweeper.kill_task(replicate.task_id))

    def kick(self, task_id: str) -> None:
        """Have the task's pending updates sent."""
        self._updates.kick(task_id)

    def forget(self, replicate: Replicate) -> None:
        """Release everything held for a task that has ended."""
        self._reveal_deadlines_s.pop(replicate.task_id, None)
        self._with.slots.release(replicate.task_id)
        self._with.unsubscribe(replicate.task_id)
        self._handovers.forget(replicate.task_id)
        outage.of(outage.CHAIN).dropped(replicate.task_id)
        self._spawn(tell_end(self._runner.task_log.end(replicate), self._with.chain))

    def reveal_deadline_s(self, task_id: str) -> int | None:
        """Return when the task's reveal is too late, None before a consensus was seen."""
        return self._reveal_deadlines_s.get(task_id)

    def observe(self, task_id: str) -> None:
        """Read the chain for a task, unless that is under way."""
        if task_id not in self._observing:
            self._observing.add(task_id)
            self._spawn(self._observe(task_id))

    def outcome(self, message: Outcome) -> None:
        """Handle a slot's outcome."""
        step = Step(message.step)
        folder = self._with.folder_of(message.task_id)
        found = handoff.read_outcome(folder, message.step, message.attempt)
        if found is None:
            # The slot says it is there, so the file was lost or garbled: the step has failed.
            reason = "what the slot found is not readable in the task folder"
            done = StepDone(step, message.attempt, ok=False, cause="UNKNOWN", reason=reason)
        else:
            done = StepDone(
                step,
                message.attempt,
                ok=found.ok,
                cause=found.cause,
                digest=found.digest,
                callback_data=_callback_data(folder, found),
                exit_code=found.exit_code,
                with_logs=found.with_logs,
                reason=found.message,
            )
        self._runner.apply(message.task_id, done)
        self._release_when_free(message.task_id)

    def _release_when_free(self, task_id: str) -> None:
        replicate = self._runner.get(task_id)
        if replicate is None or not replicate.holds_slot:
            self._with.slots.release(task_id)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _step(self, replicate: Replicate, effect: DoStep) -> None:
        task_id = replicate.task_id
        try:
            done = await self._work_of(replicate, effect)
        except Unavailable as error:
            cause = "CHAIN_UNREACHABLE"
            reason = f"{CAUSES_IN_WORDS[cause]}: {error}"
            done = StepDone(effect.step, effect.attempt, ok=False, cause=cause, reason=reason)
        except Exception:
            log.exception(
                "step failed", extra={"task": task_id, "step": STEPS_IN_WORDS[effect.step]}
            )
            done = StepDone(effect.step, effect.attempt, ok=False, cause="UNKNOWN", told=True)
        if done is not None:
            self._runner.apply(task_id, done)
            self._release_when_free(task_id)

    async def _work_of(self, replicate: Replicate, effect: DoStep) -> StepDone | None:
        if effect.step is Step.START:
            return await self._start(replicate, effect)
        if effect.step in (Step.COMPLETE, Step.ABORT):
            return await self._purge(replicate, effect)
        if effect.step is Step.UPLOAD:
            return await self._upload(replicate, effect)
        if effect.step is Step.CONTRIBUTE:
            return await self._contribute(replicate, effect)
        return await self._compute(replicate, effect)

    async def _start(self, replicate: Replicate, effect: DoStep) -> StepDone:
        self._with.subscribe(replicate.task_id)
        until_s = time.time() + START_PATIENCE_S
        description = await patiently(lambda: self._with.chain.describe(replicate), until_s)
        if description is not None:
            tell_granted(description)
        cause = await self._cannot_start(replicate, description, until_s)
        if cause is not None or description is None:
            told = cause == "WORKERPOOL_AUTHORIZATION_NOT_FOUND"
            return StepDone(effect.step, effect.attempt, ok=False, cause=cause, told=told)
        order = handoff.TaskOrder(description, replicate.profile)
        folder = self._with.folder_of(replicate.task_id)
        await asyncio.to_thread(handoff.write_order, folder, order)
        self._runner.apply(
            replicate.task_id,
            Prepared(
                effect.step, description.contribution_deadline_s, description.final_deadline_s
            ),
        )
        return StepDone(effect.step, effect.attempt, ok=True)

    async def _cannot_start(
        self, replicate: Replicate, description: TaskDescription | None, until_s: float
    ) -> str | None:
        if description is None:
            return "TASK_DESCRIPTION_NOT_FOUND"
        chain = self._with.chain
        if not await patiently(
            lambda: chain.authorized(replicate.authorization, description), until_s
        ):
            return "WORKERPOOL_AUTHORIZATION_NOT_FOUND"
        cause = await self._cannot_contribute(replicate, description, until_s)
        if cause is not None:
            return cause
        refusal = self._with.tee_refusal(description)
        if refusal is not None:
            return refusal
        encrypted = description.tee_framework is None and description.params.result_encryption
        return "TASK_DESCRIPTION_INVALID" if encrypted else None

    async def _compute(self, replicate: Replicate, effect: DoStep) -> StepDone | None:
        again = replicate.redo is not None
        cause = await (self._reorder(replicate) if again else self._precheck(replicate))
        if cause is not None:
            return StepDone(effect.step, effect.attempt, ok=False, cause=cause)
        self._with.slots.order(replicate.task_id, effect.step.value, effect.attempt)
        return None

    async def _contribute(self, replicate: Replicate, effect: DoStep) -> StepDone | None:
        cause = await self._precheck(replicate)
        if cause is None and not await self._with.chain.enough_gas():
            cause = "OUT_OF_GAS"
        if cause is None and replicate.digest is None:
            cause = "DETERMINISM_HASH_NOT_FOUND"
        if cause is not None:
            return StepDone(effect.step, effect.attempt, ok=False, cause=cause)
        deadlines = (replicate.contribution_deadline_s or 0, replicate.final_deadline_s or 0)
        self._runner.apply(replicate.task_id, Prepared(effect.step, *deadlines))
        return None

    async def _precheck(self, replicate: Replicate) -> str | None:
        description = await self._description(replicate)
        if description is None:
            return "TASK_DESCRIPTION_NOT_FOUND"
        until_s = float(description.contribution_deadline_s)
        return await self._cannot_contribute(replicate, description, until_s)

    async def _cannot_contribute(
        self, replicate: Replicate, description: TaskDescription, until_s: float
    ) -> str | None:
        chain = self._with.chain
        causes = await patiently(
            lambda: chain.contribution_obstacles(replicate, description), until_s
        )
        if "STAKE_TOO_LOW" in causes:
            self._with.stake_too_low(description.worker_stake)
        return causes[0] if causes else None

    async def _reorder(self, replicate: Replicate) -> str | None:
        """Order a contributed task again: there is time as long as it can be revealed."""
        description = await self._description(replicate)
        if description is None:
            return "TASK_DESCRIPTION_NOT_FOUND"
        order = handoff.TaskOrder(
            dataclasses.replace(description, contribution_deadline_s=description.final_deadline_s),
            replicate.profile,
        )
        folder = self._with.folder_of(replicate.task_id)
        await asyncio.to_thread(handoff.write_order, folder, order)
        return None

    async def _description(self, replicate: Replicate) -> TaskDescription | None:
        folder = self._with.folder_of(replicate.task_id)
        order = await asyncio.to_thread(handoff.read_order, folder)
        if order is not None:
            return order.description
        staked = replicate.staked
        deadline_s = replicate.final_deadline_s if staked else replicate.contribution_deadline_s
        until_s = float(deadline_s or time.time() + START_PATIENCE_S)
        description = await patiently(lambda: self._with.chain.describe(replicate), until_s)
        if description is not None:
            order = handoff.TaskOrder(description, replicate.profile)
            await asyncio.to_thread(handoff.write_order, folder, order)
        return description

    async def _upload(self, replicate: Replicate, effect: DoStep) -> StepDone:
        description = await self._description(replicate)
        folder = self._with.folder_of(replicate.task_id)
        link = ""
        if description is not None:
            await self._wait_for_reveal(replicate.task_id)
            link = await self._with.upload(replicate, description, folder)
            while await self._wait_for_reveal(replicate.task_id) and not link:
                link = await self._with.upload(replicate, description, folder)
        if not link:
            cause = "RESULT_LINK_MISSING"
            return StepDone(effect.step, effect.attempt, ok=False, cause=cause, told=True)
        return StepDone(effect.step, effect.attempt, ok=True, result_link=link)

    async def _wait_for_reveal(self, task_id: str) -> bool:
        """Wait until a reveal that a reorganisation has taken back is mined again.

        Without it the proxy refuses the result; and the scheduler, which compares reveals with
        the chain once, when it hears of the upload, never finalizes. Returns whether there was
        anything to wait for. A node that does not answer, or sticks, is not waited for.
        """
        until_s = time.monotonic() + REVEAL_PATIENCE_S
        waited = False
        with contextlib.suppress(ChainError):
            while not await self._is_revealed(task_id) and time.monotonic() < until_s:
                if not waited:
                    log.warning("reveal not on the chain any more", extra={"task": task_id})
                waited = True
                await asyncio.sleep(REVEAL_LOOK_S)
        return waited

    async def _is_revealed(self, task_id: str) -> bool:
        sighting = await self._with.chain.sight(task_id)
        over = sighting.task.status in (TaskStatus.COMPLETED, TaskStatus.FAILED)
        return over or sighting.contribution.status is ContributionStatus.PROVED

    async def _purge(self, replicate: Replicate, effect: DoStep) -> StepDone:
        self._with.slots.cancel(replicate.task_id)
        await self._with.sweeper.kill_task(replicate.task_id)
        folder = self._with.folder_of(replicate.task_id)
        gone = await asyncio.to_thread(_delete, folder)
        return StepDone(effect.step, effect.attempt, ok=gone)

    async def _observe(self, task_id: str) -> None:
        try:
            sighting = await self._with.chain.sight(task_id)
        except ChainError as error:
            outage.of(outage.CHAIN).failed(task_id, error, task=task_id)
            return
        finally:
            self._observing.discard(task_id)
        outage.of(outage.CHAIN).worked(task_id)
        replicate = self._runner.get(task_id)
        if replicate is None:
            return
        if sighting.task.reveal_deadline_s:
            self._reveal_deadlines_s[task_id] = sighting.task.reveal_deadline_s
        own = None if replicate.digest is None else result_hash(task_id, replicate.digest)
        patience = self._runner.push_timeout(task_id)
        overdue = patience.is_over(time.monotonic(), self._with.returned_s())
        self._runner.apply(
            task_id,
            Observed(sighting.task, sighting.contribution, own, sighting.head_s, overdue),
        )

    async def _ask(self, task_id: str) -> None:
        try:
            seen = await self._with.scheduler_task(task_id)
        except Unavailable as error:
            log.debug("scheduler not asked", extra={"task": task_id, "error": str(error)})
            return
        self._runner.apply(task_id, seen)


def _callback_data(folder: Path, found: handoff.StepOutcome) -> str | None:
    """Return the callback data where the deal asks for some: elsewhere it makes finalize revert."""
    order = handoff.read_order(folder)
    wanted = order is not None and order.description.has_callback
    return found.callback_data if wanted else None


def _delete(folder: Path) -> bool:
    """Delete a task folder; False when something stays, and the log says what."""
    try:
        remove_tree(folder)
    except OSError as error:
        log.error("task folder not deleted", extra={"folder": str(folder), "error": str(error)})
        return False
    return True
