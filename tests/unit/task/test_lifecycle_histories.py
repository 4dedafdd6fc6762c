"""Random notifications, outcomes, crashes and lost messages: nothing forbidden, always an end."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from iexworker.core.messages import AbortCause, AnswerKind, NotificationType
from iexworker.task import lifecycle
from iexworker.task.replicate import Step
from tests.unit.helpers.lifecycle_models import (
    DIGEST,
    FINAL_DEADLINE_S,
    OTHER_DIGEST,
    ChainModel,
    S,
    SchedulerModel,
    WorkerModel,
    push,
)

EXAMPLES = int(os.environ.get("IEXWORKER_HISTORIES", "200"))
"""More of them: `scripts/soak --histories`."""
FAIR_TURNS = 400
# What a refusal of which is no fault of ours: the scheduler never takes the first two, and the
# others are sent to a replicate or task that has ended meanwhile.
MAY_BE_REFUSED = {
    S.CONTRIBUTE_FAILED,
    S.REVEAL_FAILED,
    S.ABORTED,
    S.COMPLETING,
    S.COMPLETED,
}


class Histories(RuleBasedStateMachine):
    """One task among a scheduler, a chain and a worker that all behave as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = ChainModel()
        self.scheduler = SchedulerModel(self.chain)
        self.worker = WorkerModel(self.chain, self.scheduler)
        self.pushed: list[NotificationType] = []

    @initialize(turns=st.integers(0, 14), others_reported=st.booleans())
    def come_some_way(self, turns: int, others_reported: bool) -> None:
        """Begin anywhere on a good task's way: random steps alone seldom get far."""
        self.scheduler.others_reported = others_reported
        for _ in range(turns):
            self._good_turn()

    def _good_turn(self) -> None:
        while self.worker.effects:
            self.worker.do(0, ok=True, cause="")
        self.update(delivered=True)
        for step in list(self.worker.outbox):
            self.worker.mine(step)
        if self.chain.contributed_digest is not None:
            self.chain.agree(self.chain.contributed_digest)
        self.notify(delivered=True)

    @precondition(lambda self: self.worker.effects)
    @rule(
        index=st.integers(0, 5),
        ok=st.integers(0, 9).map(bool),
        cause=st.sampled_from(["UNKNOWN", "STAKE_TOO_LOW", "OTHER"]),
    )
    def work(self, index: int, ok: bool, cause: str) -> None:
        self.worker.do(index, ok, cause)

    @precondition(lambda self: not self.worker.ended)
    @rule(delivered=st.sampled_from([True, True, True, False]))
    def update(self, delivered: bool) -> None:
        update = lifecycle.next_update(self.worker.record)
        if update is None:
            return
        answer = self.scheduler.update(update.status)
        if answer.kind is AnswerKind.REFUSED:
            self._must_be_excusable(update.status)
        if delivered:
            self.worker.feed(answer)

    def _must_be_excusable(self, status: S) -> None:
        over = self.scheduler.status in (S.ABORTED, S.FAILED, S.COMPLETED)
        assert status in MAY_BE_REFUSED or over, (
            f"{status.value} sent to a replicate that is {self.scheduler.status.value}"
        )

    @rule(delivered=st.sampled_from([True, True, False]))
    def notify(self, delivered: bool) -> None:
        self.scheduler.look()
        if self.scheduler.pushes:
            kind = self.scheduler.pushes.popleft()
            self.pushed.append(kind)
            if delivered:
                self.worker.feed(push(kind))

    @precondition(lambda self: self.pushed)
    @rule(index=st.integers(0, 5))
    def notify_again(self, index: int) -> None:
        self.worker.feed(push(self.pushed[index % len(self.pushed)]))

    @precondition(lambda self: self.worker.record.staked)
    @rule(cause=st.sampled_from(list(AbortCause)))
    def abort_without_reason(self, cause: AbortCause) -> None:
        self.worker.feed(push(NotificationType.PLEASE_ABORT, cause))

    @precondition(lambda self: self.worker.outbox)
    @rule(step=st.sampled_from([Step.CONTRIBUTE, Step.REVEAL]))
    def mine(self, step: Step) -> None:
        if step in self.worker.outbox:
            self.worker.mine(step)

    @rule(digest=st.sampled_from([DIGEST, DIGEST, OTHER_DIGEST]))
    def agree(self, digest: str) -> None:
        if digest == DIGEST or self.chain.contributed_digest is not None:
            self.chain.agree(digest)

    @rule(overdue=st.booleans())
    def observe(self, overdue: bool) -> None:
        self.worker.observe(overdue)

    @rule()
    def hear_of_the_others(self) -> None:
        self.scheduler.others_reported = True

    @rule()
    def crash(self) -> None:
        self.worker.crash()

    @rule(seconds=st.sampled_from([1, 10, 150, 400]))
    def wait(self, seconds: int) -> None:
        self.chain.now_s += seconds

    @rule()
    def lose_the_worker(self) -> None:
        self.scheduler.lost = self.scheduler.status not in (S.ABORTED, S.COMPLETED, S.FAILED)

    @invariant()
    def no_transaction_takes_effect_twice(self) -> None:
        assert len(set(self.chain.effects)) == len(self.chain.effects)

    def teardown(self) -> None:
        """With a fair world from here on, the replicate must come to its end."""
        for turn in range(FAIR_TURNS):
            if self.worker.ended:
                return
            self._fair_turn(turn)
        raise AssertionError(f"no end: {self.worker.record}")

    def _fair_turn(self, turn: int) -> None:
        self.scheduler.others_reported = True
        self._good_turn()
        self.scheduler.look()
        self.worker.observe(overdue=True)
        if turn > FAIR_TURNS // 2:
            self.chain.now_s = max(self.chain.now_s, FINAL_DEADLINE_S + 1)


TestHistories = pytest.mark.timeout(1200)(Histories.TestCase)
TestHistories.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
