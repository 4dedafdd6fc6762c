"""Assigns tasks to compute slots: orders out, outcomes back.

A queue only wakes its reader. Orders are kept here and sent again to a slot that restarts;
its outcomes are files in the task folder.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iexworker.shared.channels import Cancel, Channel, Hello, Order, Outcome

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Slot:
    orders: Channel
    task_id: str | None = None
    order: Order | None = None
    """Sent, and not answered yet."""
    unsent: bool = False
    """The channel was full: to be sent again."""


class Slots:
    """The compute processes, as scheduling sees them."""

    def __init__(self, orders: Sequence[Channel], on_outcome: Callable[[Outcome], None]) -> None:
        self._slots = [_Slot(channel) for channel in orders]
        self._waiting: list[Order] = []
        self._on_outcome = on_outcome

    def __len__(self) -> int:
        return len(self._slots)

    def order(self, task_id: str, step: str, attempt: int) -> None:
        """Order `step` from the task's slot, or from a free one; wait while none is free."""
        order = Order(task_id, step, attempt)
        slot = self._of(task_id) or self._free()
        if slot is None:
            self._waiting = [item for item in self._waiting if item.task_id != task_id]
            self._waiting.append(order)
            return
        slot.task_id, slot.order = task_id, order
        self._send(slot)

    def release(self, task_id: str) -> None:
        """Free the task's slot, and give it to the next task that waits."""
        self._waiting = [item for item in self._waiting if item.task_id != task_id]
        slot = self._of(task_id)
        if slot is None:
            return
        slot.task_id, slot.order, slot.unsent = None, None, False
        if self._waiting:
            waiting = self._waiting.pop(0)
            self.order(waiting.task_id, waiting.step, waiting.attempt)

    def cancel(self, task_id: str) -> None:
        """Tell the task's slot to drop it, and free the slot."""
        slot = self._of(task_id)
        if slot is not None:
            try:
                slot.orders.put_nowait(Cancel(task_id))
            except queue.Full:
                # A slot that reads nothing is dead or stopped; its container is killed by label.
                log.warning("cancel not delivered", extra={"task": task_id})
        self.release(task_id)

    def heard(self, index: int, message: object) -> None:
        """Handle a message of a slot."""
        slot = self._slots[index]
        if isinstance(message, Hello):
            if slot.order is not None:
                log.debug("order sent again", extra={"task": slot.task_id, "role": message.role})
                self._send(slot)
        elif isinstance(message, Outcome):
            if slot.order is not None and slot.order.task_id == message.task_id:
                slot.order = None
            self._on_outcome(message)

    def retry(self) -> None:
        """Send again what found a full channel."""
        for slot in self._slots:
            if slot.unsent:
                self._send(slot)

    def _of(self, task_id: str) -> _Slot | None:
        return next((slot for slot in self._slots if slot.task_id == task_id), None)

    def _free(self) -> _Slot | None:
        return next((slot for slot in self._slots if slot.task_id is None), None)

    def _send(self, slot: _Slot) -> None:
        if slot.order is None:
            return
        try:
            slot.orders.put_nowait(slot.order)
            slot.unsent = False
        except queue.Full:
            slot.unsent = True
