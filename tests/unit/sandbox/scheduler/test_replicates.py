"""docs/spec/03, 9.1, 9.3 and 9.6: what is refused, what is checked, what a recorded state does."""

from __future__ import annotations

import logging
import threading

import pytest

from iexworker.sandbox.scheduler.interfaces import ChainTaskStatus
from iexworker.sandbox.scheduler.models import Action, Details, Modifier
from iexworker.sandbox.scheduler.replicates import Verdict
from tests.helpers.sandbox_pool import (
    ALICE,
    BLOCK_TIME_S,
    BOB,
    HASH,
    LINK,
    Pool,
    chain_task,
    history,
    is_at,
    names,
    status,
    task_of,
)

CALLBACK = "0x" + "ca" * 20


def test_an_update_for_an_unknown_task_or_worker_is_refused() -> None:
    pool = Pool()
    task = pool.task_at("STARTED")
    for task_id, wallet in ((task_of("0x" + "ff" * 32), ALICE), (task.task_id, BOB)):
        found = pool.scheduler.update(task_id, wallet, status("APP_DOWNLOADING"), Details())
        assert (found.verdict, found.action) == (Verdict.REFUSED, Action.ABORT)


def test_a_state_that_stands_anywhere_in_the_history_is_answered_by_wait() -> None:
    pool = Pool()
    task = pool.task_at("COMPUTING")
    found = pool.tell(task, ALICE, "STARTED")
    assert (found.verdict, found.action) == (Verdict.ALREADY, Action.WAIT)
    assert history(pool.replicate(task))[-1] == "COMPUTING"


def test_a_state_that_skips_another_is_refused_and_not_recorded() -> None:
    pool = Pool()
    task = pool.task_at("STARTED")
    assert pool.tell(task, ALICE, "COMPUTING").verdict is Verdict.REFUSED
    assert history(pool.replicate(task))[-1] == "STARTED"


@pytest.mark.parametrize("name", ["CONTRIBUTE_FAILED", "REVEAL_FAILED"])
def test_a_failed_transaction_is_never_accepted(name: str) -> None:
    pool = Pool()
    task = pool.task_at("CONTRIBUTING" if name == "CONTRIBUTE_FAILED" else "REVEALING")
    found = pool.tell(task, ALICE, name, Details(cause="CHAIN_RECEIPT_NOT_VALID"))
    assert found.verdict is Verdict.REFUSED


def test_aborted_is_recorded_with_an_empty_answer_and_frees_no_slot() -> None:
    pool = Pool()
    task = pool.task_at("COMPUTING")
    found = pool.tell(task, ALICE, "ABORTED", Details(cause="UNKNOWN"))
    assert (found.verdict, found.action) == (Verdict.RECORDED, None)
    assert pool.scheduler.computing(ALICE) == [task.task_id]


class TestContributed:
    def test_waits_three_times_six_blocks_for_the_chain_and_is_then_refused(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        assert pool.tell(task, ALICE, "CONTRIBUTED").verdict is Verdict.REFUSED
        assert pool.clock.slept[-3:] == [6 * BLOCK_TIME_S] * 3

    def test_is_recorded_when_the_chain_shows_it_meanwhile(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        pool.chain.reachable = False
        slept = pool.clock.sleep

        def wait(duration_s: float) -> None:
            slept(duration_s)
            pool.chain.reachable = True
            pool.chain.contribute(task.task_id, ALICE)

        pool.clock.sleep = wait  # type: ignore[method-assign]  # the chain wakes during the wait
        assert pool.tell(task, ALICE, "CONTRIBUTED").verdict is Verdict.RECORDED
        assert pool.replicate(task).contribution_hash == HASH

    def test_waits_for_the_block_of_its_receipt(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        pool.chain.contribute(task.task_id, ALICE)
        slept = pool.clock.sleep

        def wait(duration_s: float) -> None:
            slept(duration_s)
            pool.chain.block += 1

        pool.clock.sleep = wait  # type: ignore[method-assign]  # a block comes while it waits
        receipt = Details(receipt_block=pool.chain.block + 2)
        assert pool.tell(task, ALICE, "CONTRIBUTED", receipt).verdict is Verdict.RECORDED
        assert pool.clock.slept[-2:] == [0.5, 0.5]

    def test_needs_a_result_hash_on_chain(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        pool.chain.contribute(task.task_id, ALICE, "0x" + "00" * 32)
        assert pool.tell(task, ALICE, "CONTRIBUTED").verdict is Verdict.REFUSED

    def test_that_a_detector_records_during_the_check_is_known_already(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        slept = pool.clock.sleep

        def wait(duration_s: float) -> None:
            pool.clock.sleep = slept  # type: ignore[method-assign]  # once only
            pool.chain.contribute(task.task_id, ALICE)
            pool.tell(task, ALICE, "CONTRIBUTED")

        pool.clock.sleep = wait  # type: ignore[method-assign]  # somebody is faster
        assert pool.tell(task, ALICE, "CONTRIBUTED").verdict is Verdict.ALREADY


def test_revealed_needs_the_reveal_on_chain() -> None:
    pool = Pool()
    task = pool.task_at("REVEALING")
    assert pool.tell(task, ALICE, "REVEALED").verdict is Verdict.REFUSED
    pool.chain.reveal(task.task_id, ALICE)
    assert pool.tell(task, ALICE, "REVEALED").verdict is Verdict.RECORDED


class TestResultUploaded:
    def test_needs_the_result_at_the_proxy_and_a_link(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        linked = Details(result_link=LINK)
        assert pool.tell(task, ALICE, "RESULT_UPLOADED", linked).verdict is Verdict.REFUSED
        pool.results.tasks.add(task.task_id)
        assert pool.tell(task, ALICE, "RESULT_UPLOADED").verdict is Verdict.REFUSED
        assert pool.tell(task, ALICE, "RESULT_UPLOADED", linked).verdict is Verdict.RECORDED

    def test_of_a_callback_task_needs_the_callback_data_alone(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING", callback=CALLBACK)
        linked, called = Details(result_link=LINK), Details(callback_data="0xab")
        assert pool.tell(task, ALICE, "RESULT_UPLOADED", linked).verdict is Verdict.REFUSED
        assert pool.tell(task, ALICE, "RESULT_UPLOADED", called).verdict is Verdict.RECORDED

    def test_failed_is_refused_while_the_proxy_has_the_result(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        pool.results.tasks.add(task.task_id)
        assert pool.tell(task, ALICE, "RESULT_UPLOAD_FAILED").verdict is Verdict.REFUSED
        pool.results.tasks.clear()
        assert pool.tell(task, ALICE, "RESULT_UPLOAD_FAILED").action is Action.ABORT


class TestContributeAndFinalize:
    @staticmethod
    def ongoing(profile: str) -> tuple[Pool, str]:
        """Have a worker that was given a TEE task before the last moment of it."""
        pool = Pool(profile)
        task = pool.task_at("COMPUTED")
        pool.must_tell(task, ALICE, "CONTRIBUTE_AND_FINALIZE_ONGOING")
        return pool, task.task_id

    def test_done_needs_reveal_result_and_completion(self) -> None:
        pool, task_id = self.ongoing("9")
        task = pool.book.tasks[task_id]
        done = "CONTRIBUTE_AND_FINALIZE_DONE"
        details = Details(result_link=LINK)
        assert pool.tell(task, ALICE, done, details).verdict is Verdict.REFUSED
        pool.chain.contribute(task_id, ALICE)
        pool.chain.reveal(task_id, ALICE)
        assert pool.tell(task, ALICE, done, details).verdict is Verdict.REFUSED
        pool.results.tasks.add(task_id)
        assert pool.tell(task, ALICE, done, details).verdict is Verdict.REFUSED
        pool.chain.change(task_id, status=ChainTaskStatus.COMPLETED)
        assert pool.tell(task, ALICE, done, details).action is Action.WAIT
        assert names(task)[-2:] == ["FINALIZED", "COMPLETED"]
        assert task.result_link == LINK

    @pytest.mark.parametrize(("profile", "after"), [("8", "FAILED"), ("9", None)])
    def test_failed_is_final_in_8_5_alone(self, profile: str, after: str | None) -> None:
        pool, task_id = self.ongoing(profile)
        task = pool.book.tasks[task_id]
        failed = "CONTRIBUTE_AND_FINALIZE_FAILED"
        assert pool.tell(task, ALICE, failed).action is Action.ABORT
        assert history(pool.replicate(task))[-1] == (after or failed)
        aborted = Verdict.REFUSED if after else Verdict.RECORDED
        assert pool.tell(task, ALICE, "ABORTED").verdict is aborted


@pytest.mark.parametrize(
    ("last", "frees"),
    [
        ("START_FAILED", "STARTING"),
        ("APP_DOWNLOAD_FAILED", "APP_DOWNLOADING"),
        ("DATA_DOWNLOAD_FAILED", "DATA_DOWNLOADING"),
        ("COMPUTE_FAILED", "COMPUTING"),
        ("COMPUTED", "COMPUTING"),
    ],
)
def test_a_slot_is_freed_by_the_end_of_computing(last: str, frees: str) -> None:
    pool = Pool()
    task = pool.task_at(frees)
    assert pool.scheduler.computing(ALICE) == [task.task_id]
    pool.must_tell(task, ALICE, last)
    assert pool.scheduler.computing(ALICE) == []
    assert pool.book.workers[ALICE].participating == [task.task_id]


def test_a_worker_that_is_not_registered_any_more_has_no_slots_to_free() -> None:
    pool = Pool()
    task = pool.task_at("COMPUTING")
    pool.book.workers.clear()
    assert pool.tell(task, ALICE, "COMPUTED").verdict is Verdict.RECORDED


@pytest.mark.parametrize(("profile", "updates"), [("8", True), ("9", False)])
def test_only_8_5_looks_at_the_task_at_every_state(profile: str, updates: bool) -> None:
    pool = Pool(profile)
    task = pool.task_at("CREATED")
    pool.scheduler.update(task.task_id, ALICE, status("STARTING"), Details())
    assert pool.world.asked.empty() is not updates
    pool.scheduler.update(task.task_id, ALICE, status("STARTED"), Details())
    assert not pool.world.asked.empty()


def test_task_not_active_starts_a_search_for_contributions_nobody_told_of() -> None:
    pool = Pool()
    task = pool.buy(trust=4)
    pool.join(ALICE, BOB)
    pool.give(task, ALICE, BOB)
    pool.bring(task, ALICE, "CONTRIBUTING")
    pool.chain.contribute(task.task_id, ALICE)
    pool.must_tell(task, BOB, "STARTING")
    pool.tell(task, BOB, "START_FAILED", Details(cause="TASK_NOT_ACTIVE"))
    assert history(pool.replicate(task))[-1] == "CONTRIBUTED"
    assert pool.replicate(task).history[-1].modifier is Modifier.POOL_MANAGER


def test_of_logs_the_first_that_come_stay() -> None:
    pool = Pool()
    task = pool.task_at("COMPUTING")
    pool.tell(task, ALICE, "COMPUTED", Details(exit_code=3, stdout="out", stderr="err"))
    replicate = pool.replicate(task)
    assert (replicate.stdout, replicate.stderr, replicate.exit_code) == ("out", "err", 3)


def test_a_failed_app_is_told_with_its_last_words(caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool("8")
    task = pool.task_at("COMPUTING")
    words = "\n".join(f"line {number}" for number in range(30)) + "\t\x1b[2J"
    failed = Details(cause="APP_COMPUTE_FAILED", exit_code=3, stdout=words)
    with caplog.at_level(logging.WARNING):
        pool.tell(task, ALICE, "COMPUTE_FAILED", failed)
    record = vars(next(one for one in caplog.records if one.message == "replicate changed"))
    assert (record["cause"], record["exit_code"]) == ("APP_COMPUTE_FAILED", 3)
    assert record["reason"] == "the app ended with exit code 3 (APP_COMPUTE_FAILED)"
    # The fact that the log shows as it is, line by line.
    assert record["text_block"].splitlines()[0] == "    | line 10"
    assert record["text_block"].splitlines()[-1] == "    | line 29\t?[2J"
    assert pool.scheduler.logs(task.task_id, ALICE) == {
        "walletAddress": ALICE,
        "stdout": words,
        "stderr": "",
    }


def test_the_lock_is_free_while_a_claim_is_checked() -> None:
    pool = Pool()
    task = pool.task_at("CONTRIBUTING")
    free = []

    def try_lock() -> None:
        free.append(pool.book.lock.acquire(timeout=5))
        pool.book.lock.release()

    def wait(duration_s: float) -> None:
        other = threading.Thread(target=try_lock)
        other.start()
        other.join()
        pool.chain.contribute(task.task_id, ALICE)

    pool.clock.sleep = wait  # type: ignore[method-assign]  # another request comes meanwhile
    assert pool.tell(task, ALICE, "CONTRIBUTED").verdict is Verdict.RECORDED
    assert free == [True]


def test_a_task_that_is_unknown_on_chain_is_not_found_finalized() -> None:
    pool = Pool()
    task = pool.task_at("COMPUTED")
    pool.must_tell(task, ALICE, "CONTRIBUTE_AND_FINALIZE_ONGOING")
    pool.chain.contribute(task.task_id, ALICE)
    pool.chain.reveal(task.task_id, ALICE)
    pool.results.tasks.add(task.task_id)
    pool.chain.tasks[task.task_id] = chain_task(task.deal.deal_id)
    assert pool.tell(task, ALICE, "CONTRIBUTE_AND_FINALIZE_DONE").verdict is Verdict.REFUSED
    assert is_at(task, "RUNNING")
