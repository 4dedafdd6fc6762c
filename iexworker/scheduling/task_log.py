"""The log lines of a task for an operator: each step achieved, each failure, and the end.

At INFO a task that goes well has six lines: granted, computed (by its slot), contributed, revealed,
uploaded, ended. All else about it is for developers, at DEBUG.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from iexworker.core.messages import AbortCause
from iexworker.errors import ChainError
from iexworker.poco.models import TaskDescription, TaskStatus
from iexworker.scheduling.task_words import (
    CAUSES_IN_WORDS,
    NO_RESULT,
    OUR_FAULT,
    STEPS_IN_WORDS,
    UNKNOWN,
    place_of,
    rlc,
    why_aborted,
    why_over,
)
from iexworker.shared.money import ether
from iexworker.task.events import Event, Mined, NotMined, Observed, StepDone
from iexworker.task.replicate import Replicate, Step, Work

REWARD_TRIES = 3
REWARD_PAUSE_S = 2.0
"""Our node may show the end of a task some blocks after the scheduler's does."""

log = logging.getLogger(__name__)


class Rewards(Protocol):
    """Who knows what was paid; calls may raise `ChainError`."""

    async def reward_nrlc(self, task_id: str, since_block: int) -> int | None:
        """Return what the wallet was paid, None while the node does not show the task's end."""


@dataclass(slots=True)
class _Record:
    """What is known of a task's way since this process has it."""

    began_s: float
    restarted: bool
    since_s: float
    """When the work of the present step began."""
    spent_s: dict[Step, float] = field(default_factory=dict)
    failed: bool = False
    cause: str | None = None
    reason: str | None = None
    app_reason: str = ""
    """Why the app left no good result, where the scheduler is told COMPUTED all the same."""
    unpaid: bool = False
    """Nothing was wrong with our part, and the chain shows that the task was not completed."""
    revealed_block: int | None = None


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended; `tell` logs it, once."""

    task_id: str
    verdict: str
    cause: str | None
    reason: str | None
    total_s: float
    steps: str
    restarted: bool
    revealed_block: int | None
    """Where our reveal was mined, as far as this process has seen it."""

    def tell(self, reward_nrlc: int | None) -> None:
        """Log the task's last line; an unknown reward is None."""
        completed = self.verdict == "completed"
        log.log(
            logging.INFO if completed else logging.WARNING,
            "task ended",
            extra={
                "task": self.task_id,
                "verdict": self.verdict,
                "cause": self.cause,
                "reason": self.reason,
                "total_s": self.total_s,
                "steps": self.steps,
                "measured": "since restart" if self.restarted else None,
                "reward": rlc(reward_nrlc) if completed else "none",
            },
        )


class TaskLog:
    """Follows every task of the worker."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._records: dict[str, _Record] = {}

    def begin(self, replicate: Replicate, *, restarted: bool = False) -> None:
        """Take up a task; `restarted` says that it was begun by an earlier process."""
        now_s = self._now_s()
        self._records[replicate.task_id] = _Record(now_s, restarted, now_s)

    def take(self, before: Replicate, event: Event, after: Replicate) -> None:
        """Log what the event has brought about."""
        record = self._records[after.task_id]
        self._measure(record, before, after)
        if before.step is not Step.ABORT and after.step is Step.ABORT:
            _note_abort(record, before, event, after)
        elif isinstance(event, Mined) and _was_due(before, event.step):
            _tell_mined(record, before.task_id, event)
        elif isinstance(event, StepDone) and _was_due(before, event.step):
            _tell_done(record, before, event, after)
        elif isinstance(event, Observed) and after.step is not before.step:
            _note_end(record, event, after)
        elif after.work is Work.FAILED and before.work is Work.DOING:
            _tell_failed(record, before, event, after)

    def end(self, replicate: Replicate) -> TaskEnd:
        """Let go of a task that has ended; the caller has its end told."""
        record = self._records.pop(replicate.task_id)
        total_s = self._now_s() - record.began_s
        return TaskEnd(
            replicate.task_id,
            _verdict(replicate, record),
            record.cause,
            record.reason,
            round(total_s, 2),
            _steps(record, total_s),
            record.restarted,
            record.revealed_block,
        )

    def _measure(self, record: _Record, before: Replicate, after: Replicate) -> None:
        """Add the time that a step's work took to that step."""
        now_s = self._now_s()
        over = after.step is not before.step or after.work is not Work.DOING
        if before.work is Work.DOING and over:
            spent_s = record.spent_s.get(before.step, 0.0)
            record.spent_s[before.step] = spent_s + now_s - record.since_s
        if after.work is Work.DOING and (over or before.work is not Work.DOING):
            record.since_s = now_s


async def tell_end(end: TaskEnd, rewards: Rewards) -> None:
    """Log the end of a task with its reward, unknown where our node does not tell it soon."""
    reward_nrlc = None
    try:
        if end.verdict == "completed" and end.revealed_block is not None:
            reward_nrlc = await _reward_nrlc(end.task_id, end.revealed_block, rewards)
    finally:  # a stop that does not wait for the node still has the line
        end.tell(reward_nrlc)


async def _reward_nrlc(task_id: str, since_block: int, rewards: Rewards) -> int | None:
    for left in reversed(range(REWARD_TRIES)):
        try:
            found = await rewards.reward_nrlc(task_id, since_block)
        except ChainError as error:
            log.debug("reward not read", extra={"task": task_id, "error": str(error)})
            found = None
        if found is not None or left == 0:
            return found
        await asyncio.sleep(REWARD_PAUSE_S)
    return None


def tell_granted(description: TaskDescription) -> None:
    """Log what was granted."""
    log.info(
        "task granted",
        extra={
            "task": description.task_id,
            "deal": description.deal_id,
            "app": description.app_address,
            "image": description.app_image,
        },
    )


def _was_due(before: Replicate, step: Step) -> bool:
    return before.step is step and before.work is Work.DOING


def _tell_mined(record: _Record, task_id: str, event: Mined) -> None:
    receipt = event.receipt
    if event.step is Step.REVEAL:
        record.revealed_block = receipt.block_number
    log.info(
        "result contributed" if event.step is Step.CONTRIBUTE else "result revealed",
        extra={
            "task": task_id,
            "transaction": receipt.tx_hash if int(receipt.tx_hash, 16) else UNKNOWN,
            **({"cost": ether(event.cost_wei)} if event.cost_wei else {}),
            "gas": UNKNOWN if event.gas_used is None else event.gas_used,
        },
    )


def _tell_done(record: _Record, before: Replicate, event: StepDone, after: Replicate) -> None:
    if event.attempt != before.attempt or event.step in (Step.COMPLETE, Step.ABORT):
        return
    if after.work is Work.FAILED:
        _note_failure(record, before, event.cause, event.reason, told=event.told)
    elif event.step is Step.UPLOAD:
        log.info("result uploaded", extra={"task": before.task_id, **place_of(event.result_link)})
    elif event.reason:
        record.app_reason = event.reason
        if event.digest is not None:  # without a result, that it cannot be contributed is told
            log.warning("app failed", extra={"task": before.task_id, "reason": event.reason})


def _tell_failed(record: _Record, before: Replicate, event: Event, after: Replicate) -> None:
    """Tell of a step that failed otherwise than by its own work."""
    if isinstance(event, NotMined):  # the outbox has told it
        _note_failure(record, before, event.cause, event.reason, told=True)
    else:
        cause = next((update.cause for update in reversed(after.pending) if update.cause), None)
        _note_failure(record, before, cause, "", told=False)


def _note_failure(
    record: _Record, before: Replicate, cause: str | None, words: str, *, told: bool
) -> None:
    record.failed, record.cause = True, cause
    if cause == NO_RESULT:
        words = words or record.app_reason
    # Where the words begin with the cause's wire name, it is not said twice.
    record.reason = words.removeprefix(f"{cause} ") or CAUSES_IN_WORDS.get(cause or "")
    if not told:
        log.log(
            logging.ERROR if cause in OUR_FAULT else logging.WARNING,
            "step failed",
            extra={
                "task": before.task_id,
                "step": STEPS_IN_WORDS[before.step],
                "cause": record.cause,
                "reason": record.reason,
            },
        )


def _note_end(record: _Record, seen: Observed, after: Replicate) -> None:
    """Note of a task that we revealed, and that nobody completes, that nothing was won."""
    if after.step is Step.COMPLETE and seen.task.status is not TaskStatus.COMPLETED:
        record.unpaid = True
        record.reason = record.reason or why_over(seen)


def _note_abort(record: _Record, before: Replicate, event: Event, after: Replicate) -> None:
    """Note why a task is given up; after a failed step that is the reason."""
    if isinstance(event, NotMined):
        _note_failure(record, before, event.cause, event.reason, told=True)
    elif not (before.work is Work.FAILED and record.failed):
        cause = after.abort_cause or AbortCause.UNKNOWN
        record.failed = False
        record.cause = None if cause is AbortCause.UNKNOWN else cause.value
        record.reason = why_aborted(event)
    if after.lost and not before.lost:
        log.error(
            "contribution cannot win any more",
            extra={"task": before.task_id, "reason": record.reason},
        )


def _verdict(replicate: Replicate, record: _Record) -> str:
    if replicate.step is Step.COMPLETE and not record.unpaid:
        return "completed"
    return "failed" if record.failed or record.unpaid else "aborted"


def _steps(record: _Record, total_s: float) -> str:
    """Return the time by step; what is left over went by in waiting for others."""
    parts = {STEPS_IN_WORDS[step]: spent_s for step, spent_s in record.spent_s.items()}
    parts["waiting"] = max(0.0, total_s - sum(parts.values()))
    return ", ".join(f"{name} {spent_s:.2f} s" for name, spent_s in parts.items())
