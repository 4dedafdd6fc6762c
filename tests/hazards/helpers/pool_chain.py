"""The chain of a sandbox pool (tests/helpers/sandbox_pool.py), as the worker reads it.

A transaction is mined when the test says so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from coincurve import PrivateKey

from iexworker.errors import ChainError
from iexworker.outbox.actions import ActionFailed, ActionMined, Result
from iexworker.poco.hashing import hex_text, keccak, result_hash, result_seal
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ZERO_BYTES32,
    ChainAccount,
    ChainReceipt,
    ChainTask,
    Contribution,
    ContributionStatus,
    Head,
    Profile,
    TaskDescription,
    TaskStatus,
    TaskView,
)
from iexworker.sandbox.scheduler.interfaces import ChainTaskStatus
from iexworker.task.replicate import Replicate, Step
from tests.helpers import task_descriptions
from tests.helpers.fake_gateway import ACTIONS, UNSET, ChainView
from tests.helpers.sandbox_pool import Pool

OWNER = hex_text(keccak(PrivateKey(b"\1" * 32).public_key.format(compressed=False)[1:])[12:])
"""Whose key signs the authorisations of a `Pool`."""
HOUR_S = 3600


@dataclass
class PoolNode(ChainView):
    """Our own node: what it shows of the pool's chain, and its faults."""

    pool: Pool
    wallet: str
    trouble: str = ""
    """Why nothing can be read."""
    signer: str = OWNER
    """Who, for all that the chain says, owns the workerpool."""
    unknown: set[str] = field(default_factory=set)
    """Tasks that it does not show."""
    gas: bool = True
    """The wallet can pay."""
    mines: bool = True
    sticks: bool = False
    """It goes on to show what it showed last."""
    forgotten: list[str] = field(default_factory=list)
    """Tasks of which the outbox was told that they have ended."""
    asked_for: dict[tuple[str, Step], str] = field(default_factory=dict)
    """What was handed to the outbox, with its digest."""
    _open: list[tuple[str, Step]] = field(default_factory=list)
    _done: dict[tuple[str, Step], Result] = field(default_factory=dict)
    _shown: dict[str, TaskView] = field(default_factory=dict)

    def reach(self) -> None:
        if self.trouble:
            raise ChainError(self.trouble)

    def task_view(self, task_id: str) -> TaskView:
        if not self.sticks or task_id not in self._shown:
            self._shown[task_id] = self._look(task_id)
        return self._shown[task_id]

    def head(self) -> Head:
        return Head(self.pool.chain.block, int(self.pool.clock.now_s()))

    def balance_wei(self) -> int:
        return 10**18 if self.gas else 0

    def describe(self, task_id: str, profile: Profile) -> TaskDescription:
        if task_id in self.unknown:
            raise ChainError(f"task {task_id}: not known")
        return task_descriptions.description(
            task_id=task_id,
            workerpool_owner=self.signer,
            contribution_deadline_s=int(time.time()) + HOUR_S,
            final_deadline_s=int(time.time()) + 2 * HOUR_S,
            profile=profile.value,
        )

    def forget(self, task_id: str) -> None:
        self.forgotten.append(task_id)

    def transact(self, replicate: Replicate, step: Step) -> None:
        """Take an action, once."""
        task_id, digest = replicate.task_id, replicate.digest
        assert digest is not None
        if self.asked_for.setdefault((task_id, step), digest) != digest:
            raise AssertionError(f"{step.value} of {task_id} with another digest")
        if (task_id, step) not in self._open:
            self._open.append((task_id, step))

    def results(self) -> list[Result]:
        """Execute what is wanted; return what has become of it."""
        if not (self.mines and self.gas) or self.trouble:
            return []
        actions, self._open = self._open, []
        for action in actions:
            if action not in self._done:
                self._done[action] = self._executed(*action)
        return [self._done[action] for action in actions]

    def _look(self, task_id: str) -> TaskView:
        found = self.pool.chain.tasks.get(task_id)
        if found is None or task_id in self.unknown:
            return TaskView(None, self._contribution(task_id), ChainAccount(10, 0), self.head())
        deal = self.pool.book.tasks[task_id].deal
        task = ChainTask(
            task_id=task_id,
            status=TaskStatus(found.status),
            deal_id=found.deal_id,
            index=0,
            time_reference_s=deal.max_execution_ms // 1000,
            contribution_deadline_s=int(deal.contribution_deadline_s),
            reveal_deadline_s=found.reveal_deadline_s,
            final_deadline_s=int(deal.final_deadline_s),
            consensus=found.consensus,
            reveal_counter=found.reveals,
            winner_counter=found.winners,
            contributors=(),
            results="0x",
        )
        return TaskView(task, self._contribution(task_id), ChainAccount(10, 0), self.head())

    def _contribution(self, task_id: str) -> Contribution:
        made = self.pool.chain.contributions.get((task_id, self.wallet))
        if made is None:
            return UNSET
        digest = self.asked_for.get((task_id, Step.CONTRIBUTE), ZERO_BYTES32)
        seal = result_seal(self.wallet, task_id, digest)
        return Contribution(ContributionStatus(made.status), made.result_hash, seal, ZERO_ADDRESS)

    def _executed(self, task_id: str, step: Step) -> Result:
        chain, kind = self.pool.chain, ACTIONS[step]
        value = result_hash(task_id, self.asked_for[task_id, step])
        if step is Step.CONTRIBUTE:
            if chain.tasks[task_id].status is not ChainTaskStatus.ACTIVE:
                return ActionFailed(task_id, kind, "CHAIN_RECEIPT_NOT_VALID", "not active")
            chain.contribute(task_id, self.wallet, value)
            if self.pool.book.tasks[task_id].deal.trust == 1:
                chain.agree(task_id, 1, value)
        else:
            task = chain.tasks[task_id]
            late = self.pool.clock.now_s() >= task.reveal_deadline_s
            if task.status is not ChainTaskStatus.REVEALING or task.consensus != value or late:
                return ActionFailed(task_id, kind, "CANNOT_REVEAL", "not to be revealed")
            chain.reveal(task_id, self.wallet)
        return ActionMined(task_id, kind, ChainReceipt(chain.block, "0x" + "cc" * 32))
