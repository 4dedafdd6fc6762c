"""Random histories of the outbox against its promises: once each, nothing lost."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from iexworker.outbox.actions import Action, ActionFailed, Result, TransactionState
from iexworker.outbox.gas import PriceRule
from iexworker.poco.models import ActionKind, ContributionStatus
from tests.helpers.fake_chain import (
    FakeChain,
    contribute,
    reveal,
    shown_done,
    task,
)
from tests.unit.helpers.outbox_harness import FREE, PAID, OutboxHarness

pytest_plugins = ["tests.unit.helpers.outbox_harness"]

EXAMPLES = int(os.environ.get("IEXWORKER_HISTORIES", "200"))
"""More of them: `scripts/soak --histories`."""


class Histories(RuleBasedStateMachine):
    """Random faults against what the outbox promises."""

    tasks = st.integers(1, 4).map(task)

    @initialize(rule=st.sampled_from([FREE, PAID]))
    def start(self, rule: PriceRule) -> None:
        self.harness = OutboxHarness(rule)
        self.wanted: dict[tuple[str, ActionKind], Action] = {}
        self.abandoned: set[tuple[str, ActionKind]] = set()
        self.disturbed = False

    @property
    def chain(self) -> FakeChain:
        return self.harness.chain

    def _submit(self, action: Action) -> None:
        self.wanted.setdefault(action.key, action)
        self.harness.outbox.submit(self.wanted[action.key])

    @rule(task_id=tasks)
    def contribute(self, task_id: str) -> None:
        self._submit(contribute(task_id))

    @rule(task_id=tasks)
    def reveal(self, task_id: str) -> None:
        if self.chain.contribution(task_id).status is not ContributionStatus.UNSET:
            self.chain.revealing.add(task_id)
            self._submit(reveal(task_id))

    @rule()
    def step(self) -> None:
        for result in self.harness.outbox.step():
            self._check(result)

    @rule(blocks=st.integers(1, 4))
    def mine(self, blocks: int) -> None:
        self.harness.mine(blocks)

    @rule()
    def crash(self) -> None:
        self.harness.restart()

    @rule(after=st.booleans())
    def crash_in_a_broadcast(self, after: bool) -> None:
        class Killed(BaseException):
            pass

        broadcast = FakeChain.broadcast

        def dies(raw: bytes) -> None:
            if after:
                broadcast(self.chain, raw)
            raise Killed

        self.chain.broadcast = dies  # type: ignore[assignment,method-assign]  # for one pass
        try:
            for result in self.harness.outbox.step():
                self._check(result)
        except Killed:
            pass
        finally:
            del self.chain.broadcast
        self.harness.restart()

    @rule()
    def lose_an_answer(self) -> None:
        self.chain.loses_answers = True
        self.step()
        self.chain.loses_answers = False

    @rule()
    def empty_the_mempool(self) -> None:
        self.chain.drop_pool()

    @rule()
    def spend_a_nonce_elsewhere(self) -> None:
        self.chain.spend_nonce()

    @rule(depth=st.integers(1, 2), keep=st.booleans())
    def reorganise(self, depth: int, keep: bool) -> None:
        self.chain.reorganise(depth, keep=keep)
        self.disturbed = True

    @rule(least_wei=st.sampled_from([0, 900, 5_000]))
    def raise_the_price(self, least_wei: int) -> None:
        self.chain.least_wei = least_wei

    @rule(
        intrinsic=st.sampled_from([21_000, 150_000, 900_000]),
        needed=st.sampled_from([21_000, 140_000, 2_000_000]),
        estimate=st.sampled_from([None, 90_000, 1_600_000]),
    )
    def change_the_gas(self, intrinsic: int, needed: int, estimate: int | None) -> None:
        self.chain.intrinsic_gas, self.chain.needed_gas = intrinsic, needed
        self.chain.estimate = estimate

    @rule(task_id=tasks, kind=st.sampled_from([ActionKind.CONTRIBUTE]))
    def abandon(self, task_id: str, kind: ActionKind) -> None:
        if (task_id, kind) in self.wanted:
            self.harness.outbox.abandon(task_id, kind)
            self.abandoned.add((task_id, kind))

    def _check(self, result: Result) -> None:
        action = self.wanted[result.task_id, result.kind]
        if isinstance(result, ActionFailed):
            assert action.key in self.abandoned, result
            assert self.disturbed or not shown_done(self.chain, action), result
        else:
            assert self.disturbed or shown_done(self.chain, action)
            assert result.receipt is not None

    @invariant()
    def nonces_have_one_meaning_each(self) -> None:
        """No action has two transactions that could both be mined."""
        if not hasattr(self, "bench"):
            return
        owners: dict[tuple[str, ActionKind], set[int]] = {}
        for item in self.harness.ledger.transactions(0):
            free = item.state in (TransactionState.SIGNED, TransactionState.SENT)
            if item.owner and free and item.nonce >= self.chain.state.nonce:
                owners.setdefault(item.owner, set()).add(item.nonce)
        assert self.disturbed or all(len(nonces) == 1 for nonces in owners.values()), owners

    def teardown(self) -> None:
        """Once the faults end, everything comes to its end and no nonce is left open."""
        if not hasattr(self, "bench"):
            return
        self.chain.least_wei = 0
        for _ in range(40):
            for result in self.harness.turn():
                self._check(result)
        assert self.harness.ledger.pending() == 0
        assert self.chain.nonces().latest == self.chain.nonces().pending
        for entry in self.harness.ledger.open_entries():
            # A reveal waits for its contribution, which a reorganisation took away.
            made = self.chain.contribution(entry.action.task_id)
            assert entry.action.kind is ActionKind.REVEAL
            assert made.status is ContributionStatus.UNSET
        for key, action in self.wanted.items():
            if key not in self.abandoned and action.kind is ActionKind.CONTRIBUTE:
                assert shown_done(self.chain, action), action


TestHistories = pytest.mark.timeout(1200)(Histories.TestCase)
TestHistories.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
