"""docs/spec/03, 9.7; 04, 9: how tasks end without a result, and what an outage does."""

from __future__ import annotations

import logging

import pytest

from iexworker.sandbox.scheduler.interfaces import ChainTask, ChainTaskStatus
from iexworker.sandbox.scheduler.models import AbortCause, Action, Details
from tests.helpers.sandbox_pool import (
    ALICE,
    TIMEREF_S,
    Pool,
    chain_task,
    is_at,
    names,
    status,
)


class TestDeadlines:
    def test_a_task_without_consensus_ends_at_its_contribution_deadline(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        pool.pass_time(7 * TIMEREF_S + 31, pinging=(ALICE,))
        assert names(task)[-2:] == ["CONTRIBUTION_TIMEOUT", "FAILED"]
        timeout, failed = pool.push.sent
        assert (timeout.recipients, timeout.cause) == ((ALICE,), AbortCause.CONTRIBUTION_TIMEOUT)
        assert (failed.action, failed.recipients, failed.cause) == (Action.ABORT, (), None)
        assert pool.scheduler.computing(ALICE) == []

    def test_the_log_says_how_far_the_workers_came(self, caplog: pytest.LogCaptureFixture) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        failed = Details(cause="APP_COMPUTE_FAILED", exit_code=3)
        pool.tell(task, ALICE, "COMPUTE_FAILED", failed)
        with caplog.at_level(logging.WARNING):
            pool.pass_time(7 * TIMEREF_S + 31)
        record = vars(next(one for one in caplog.records if one.message == "task changed"))
        assert record["status"] == "CONTRIBUTION_TIMEOUT"
        words = "the app ended with exit code 3 (APP_COMPUTE_FAILED)"
        assert record["replicates"] == f"{ALICE} COMPUTE_FAILED: {words}"

    def test_a_task_that_nobody_took_ends_there_too(self) -> None:
        pool = Pool()
        task = pool.buy()
        pool.pass_time(7 * TIMEREF_S + 31)
        assert names(task)[-2:] == ["CONTRIBUTION_TIMEOUT", "FAILED"]
        assert len(pool.push.sent) == 1

    def test_a_consensus_that_is_not_known_here_holds_the_task_until_the_final_deadline(
        self,
    ) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        pool.chain.change(task.task_id, status=ChainTaskStatus.REVEALING, winners=1)
        pool.pass_time(7 * TIMEREF_S + 31, pinging=(ALICE,))
        assert is_at(task, "RUNNING")
        pool.pass_time(3 * TIMEREF_S, pinging=(ALICE,))
        assert names(task)[-2:] == ["FINAL_DEADLINE_REACHED", "FAILED"]
        assert pool.push.actions() == ["PLEASE_ABORT"]

    def test_an_ended_task_stays_ended(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADED")
        pool.pass_time(4)
        pool.scheduler.tasks.update(task)
        pool.pass_time(10 * TIMEREF_S)
        assert is_at(task, "COMPLETED")


class TestChainOutage:
    def test_what_was_asked_for_is_done_when_the_chain_is_back(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        pool.chain.contribute(task.task_id, ALICE)
        pool.chain.agree(task.task_id, 1)
        pool.scheduler.update(task.task_id, ALICE, status("CONTRIBUTED"), Details())
        pool.chain.reachable = False
        pool.pass_time(2)
        assert is_at(task, "RUNNING")
        pool.chain.reachable = True
        pool.pass_time(1)
        assert is_at(task, "CONSENSUS_REACHED")

    def test_a_fault_in_one_task_does_not_hold_up_another(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        pool = Pool()
        pool.chain.mines = False
        broken, sound = pool.buy(1), pool.buy(2)
        pool.chain.mines = True
        broken.transaction = "init-0"
        pool.scheduler.tasks._sent.add("init-0")
        read = pool.chain.task

        def stumble(task_id: str) -> ChainTask | None:
            if task_id == broken.task_id:
                raise RuntimeError("the test's own")
            return read(task_id)

        pool.chain.task = stumble  # type: ignore[method-assign]  # one task is broken
        pool.chain.tasks[sound.task_id] = chain_task(sound.deal.deal_id)
        pool.pass_time(1)
        assert is_at(sound, "INITIALIZED")
        assert "a task cannot be moved" in caplog.messages
