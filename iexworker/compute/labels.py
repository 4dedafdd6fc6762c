"""The labels that containers of ours carry; apps cannot see them.

Whose container it is, is read from these and never guessed from a name (design, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

WALLET = "iexworker.wallet"
WORKER = "iexworker.worker"
TASK = "iexworker.task"
STAGE = "iexworker.stage"
BOOT = "iexworker.boot"
"""The start of the tree under which the container was made."""


ATTEMPT = "iexworker.attempt"
"""The attempt at the compute step that it belongs to: no other attempt takes it up."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose containers these are."""

    wallet: str
    """Lower case; never empty, or the containers of all workers would be ours."""
    worker: str
    boot_id: str


def of(owner: Owner, task_id: str, stage: str, attempt: int) -> dict[str, str]:
    """Return the labels of a container of `stage`: pre, app or post."""
    return {
        WALLET: owner.wallet,
        WORKER: owner.worker,
        BOOT: owner.boot_id,
        TASK: task_id,
        STAGE: stage,
        ATTEMPT: str(attempt),
    }
