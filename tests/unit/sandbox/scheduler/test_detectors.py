"""docs/spec/03, 9.7 and 04, 9: the timers, and what the scheduler finds by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from iexworker.sandbox.network.network import Timers
from iexworker.sandbox.scheduler.detectors import FULL_SEARCH_EVERY
from iexworker.sandbox.scheduler.models import Modifier, Task
from iexworker.sandbox.scheduler.replicates import Verdict
from tests.helpers.sandbox_pool import (
    ALICE,
    BOB,
    TIMEREF_S,
    Pool,
    history,
    is_at,
    names,
    status,
)

TO_LAST_PARTIAL_SEARCH_S = 30 * (FULL_SEARCH_EVERY - 2)
"""The first search is that of the start, before the pool has anything to find."""


class TestWorkerLost:
    def test_comes_between_60_and_90_s_after_the_last_ping(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        pool.pass_time(59)
        assert history(pool.replicate(task))[-1] == "COMPUTING"
        pool.pass_time(31)
        assert history(pool.replicate(task))[-1] == "WORKER_LOST"
        assert pool.scheduler.computing(ALICE) == [task.task_id]

    def test_does_not_come_to_a_worker_that_pings(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        pool.pass_time(200, pinging=(ALICE,))
        assert "WORKER_LOST" not in history(pool.replicate(task))

    def test_is_recorded_once(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        pool.pass_time(100)
        pool.bring(task, ALICE, "COMPUTED")
        pool.pass_time(200)
        assert history(pool.replicate(task)).count("WORKER_LOST") == 1
        assert history(pool.replicate(task))[-1] == "COMPUTED"

    def test_is_followed_by_any_state(self) -> None:
        pool = Pool()
        task = pool.task_at("STARTED")
        pool.pass_time(100)
        pool.must_tell(task, ALICE, "CONTRIBUTING")

    def test_never_comes_to_a_worker_that_is_silent_since_a_restart(self, tmp_path: Path) -> None:
        pool = Pool(path=tmp_path / "scheduler.sqlite")
        task_id = pool.task_at("COMPUTING").task_id
        pool.restart()
        pool.pass_time(300)
        assert history(pool.book.tasks[task_id].replicates[ALICE])[-1] == "COMPUTING"

    def test_spares_a_task_that_is_past_its_final_deadline_or_has_ended(self) -> None:
        pool = Pool(timers=Timers(final_check_s=10**6, contribution_check_s=10**6))
        task = pool.task_at("COMPUTING")
        pool.pass_time(10 * TIMEREF_S, pinging=(ALICE,))
        pool.pass_time(100)
        assert history(pool.replicate(task))[-1] == "COMPUTING"
        ended = pool.task_at("RESULT_UPLOADED", BOB, number=2, start_s=int(pool.clock.time_s))
        pool.pass_time(5)
        pool.pass_time(100)
        assert history(pool.replicate(ended, BOB))[-1] == "RESULT_UPLOADED"


class TestUnnotified:
    def test_a_contribution_is_recorded_within_30_s(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        pool.chain.contribute(task.task_id, ALICE)
        pool.chain.agree(task.task_id, 1)
        pool.pass_time(30, pinging=(ALICE,))
        last = pool.replicate(task).history[-1]
        assert (last.status, last.modifier) == (status("CONTRIBUTED"), Modifier.POOL_MANAGER)
        assert pool.push.actions() == ["PLEASE_REVEAL"]
        assert pool.tell(task, ALICE, "CONTRIBUTED").verdict is Verdict.ALREADY

    def test_a_consensus_that_came_after_all_was_told_is_seen_within_30_s(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        pool.chain.contribute(task.task_id, ALICE)
        pool.must_tell(task, ALICE, "CONTRIBUTED")
        pool.chain.agree(task.task_id, 1)
        assert names(task)[-1] == "RUNNING"
        pool.pass_time(30, pinging=(ALICE,))
        assert names(task)[-1] == "CONSENSUS_REACHED"
        assert pool.push.actions() == ["PLEASE_REVEAL"]

    def test_a_consensus_whose_winner_reveals_already_is_never_seen(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        pool.chain.contribute(task.task_id, ALICE)
        pool.must_tell(task, ALICE, "CONTRIBUTED", "REVEALING")
        pool.chain.agree(task.task_id, 1)
        pool.pass_time(60, pinging=(ALICE,))
        assert names(task)[-1] == "RUNNING"

    def test_a_reveal_is_recorded_within_30_s(self) -> None:
        pool = Pool()
        task = pool.task_at("REVEALING")
        pool.chain.reveal(task.task_id, ALICE)
        pool.pass_time(30, pinging=(ALICE,))
        assert history(pool.replicate(task))[-2:] == ["REVEALED", "RESULT_UPLOAD_REQUESTED"]

    def test_one_of_a_lost_worker_is_recorded_too(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        pool.pass_time(90)
        pool.chain.contribute(task.task_id, ALICE)
        pool.pass_time(31)
        assert history(pool.replicate(task))[-2:] == ["WORKER_LOST", "CONTRIBUTED"]

    @pytest.mark.parametrize("last", ["STARTED", "COMPUTED"])
    def test_a_contribution_that_skips_states_is_found_by_each_tenth_search(
        self, last: str
    ) -> None:
        pool = Pool()
        task = pool.task_at(last)
        pool.chain.contribute(task.task_id, ALICE)
        pool.pass_time(TO_LAST_PARTIAL_SEARCH_S, pinging=(ALICE,))
        assert history(pool.replicate(task))[-1] == last
        pool.pass_time(30, pinging=(ALICE,))
        assert history(pool.replicate(task))[-2:] == ["CONTRIBUTING", "CONTRIBUTED"]

    def test_a_reveal_that_skips_revealing_is_found_by_each_tenth_search(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTED")
        pool.chain.reveal(task.task_id, ALICE)
        pool.pass_time(TO_LAST_PARTIAL_SEARCH_S, pinging=(ALICE,))
        assert history(pool.replicate(task))[-1] == "CONTRIBUTED"
        pool.pass_time(30, pinging=(ALICE,))
        assert history(pool.replicate(task))[-3:-1] == ["REVEALING", "REVEALED"]

    def test_an_error_result_is_recorded_from_its_failure_on(self) -> None:
        pool = Pool()
        task = pool.task_at("APP_DOWNLOADING")
        pool.must_tell(task, ALICE, "APP_DOWNLOAD_FAILED")
        pool.chain.contribute(task.task_id, ALICE)
        pool.pass_time(30 * FULL_SEARCH_EVERY, pinging=(ALICE,))
        found = ["APP_DOWNLOAD_FAILED", "CONTRIBUTING", "CONTRIBUTED"]
        assert history(pool.replicate(task))[-3:] == found


def test_who_did_not_reveal_in_time_fails_and_the_task_waits() -> None:
    pool = Pool()
    task = pool.task_at("CONTRIBUTED")
    pool.pass_time(2 * TIMEREF_S, pinging=(ALICE,))
    assert history(pool.replicate(task))[-1] == "CONTRIBUTED"
    pool.pass_time(121, pinging=(ALICE,))
    last = pool.replicate(task).history[-1]
    assert (last.status, last.cause) == (status("FAILED"), "REVEAL_TIMEOUT")
    assert is_at(task, "CONSENSUS_REACHED")
    assert pool.push.actions() == ["PLEASE_REVEAL"]
    assert pool.tell(task, ALICE, "REVEALING").verdict is Verdict.REFUSED
    assert pool.scheduler.interrupted(ALICE, 1) == []


class TestUploadTimeout:
    def test_fails_an_upload_after_two_minutes(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        pool.pass_time(119, pinging=(ALICE,))
        assert history(pool.replicate(task))[-1] == "RESULT_UPLOADING"
        pool.pass_time(32, pinging=(ALICE,))
        assert history(pool.replicate(task))[-1] == "RESULT_UPLOAD_FAILED"
        assert is_at(task, "RESULT_UPLOADING")

    def test_spares_a_worker_that_pings_and_was_only_asked(self) -> None:
        pool = Pool()
        task = pool.task_at("REVEALED")
        pool.pass_time(240, pinging=(ALICE,))
        assert history(pool.replicate(task))[-1] == "RESULT_UPLOAD_REQUESTED"
        pool.bring(task, ALICE, "RESULT_UPLOADED")

    def test_spares_an_upload_that_the_proxy_has(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        pool.results.tasks.add(task.task_id)
        pool.pass_time(240)
        pool.must_tell(task, ALICE, "RESULT_UPLOADED")
        pool.pass_time(4)
        assert is_at(task, "COMPLETED")

    def test_refuses_a_late_upload(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        pool.pass_time(200)
        assert history(pool.replicate(task))[-2:] == ["WORKER_LOST", "RESULT_UPLOAD_FAILED"]
        pool.results.tasks.add(task.task_id)
        assert pool.tell(task, ALICE, "RESULT_UPLOADED").verdict is Verdict.REFUSED
        pool.must_tell(task, ALICE, "COMPLETING", "COMPLETED")
        assert is_at(task, "RESULT_UPLOADING")

    def test_of_a_stuck_task_switches_off_that_of_younger_ones(self) -> None:
        """H31 of 04, 14."""
        pool = Pool()
        stuck = pool.task_at("RESULT_UPLOADING")
        pool.pass_time(160, pinging=(ALICE,))
        assert history(pool.replicate(stuck))[-1] == "RESULT_UPLOAD_FAILED"
        younger: Task = pool.buy(2, start_s=int(pool.clock.time_s))
        pool.join(BOB)
        pool.give(younger, BOB)
        pool.bring(younger, BOB, "RESULT_UPLOADING")
        pool.pass_time(300, pinging=(ALICE, BOB))
        assert history(pool.replicate(younger, BOB))[-1] == "RESULT_UPLOADING"


def test_timers_run_once_for_all_the_periods_they_missed() -> None:
    pool = Pool()
    task = pool.task_at("CONTRIBUTING")
    pool.chain.contribute(task.task_id, ALICE)
    pool.clock.time_s += 1000
    pool.scheduler.ping(ALICE)
    pool.scheduler.turn()
    assert history(pool.replicate(task))[-1] == "CONTRIBUTED"
    assert names(task)[-1] == "RUNNING"
