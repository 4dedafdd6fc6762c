"""docs/spec/03, 5.6 and 5.8: who gets what, and what one that comes back is told."""

from __future__ import annotations

import pytest

from iexworker.sandbox.network.network import Timers
from iexworker.sandbox.scheduler.models import Details, TaskChange, TaskStatus
from iexworker.sandbox.scheduler.replicates import Verdict
from iexworker.sandbox.scheduler.scheduler import OutOfService
from iexworker.sandbox.scheduler.supply import reaches_consensus
from tests.helpers.sandbox_pool import (
    ALICE,
    BOB,
    CAROL,
    OTHER_HASH,
    TIMEREF_S,
    Pool,
    history,
    is_at,
)


class TestDemand:
    def test_gives_a_task_with_its_authorisation_and_takes_a_slot(self) -> None:
        pool = Pool()
        task = pool.buy()
        pool.join(ALICE)
        pool.clock.time_s += 5
        found = pool.scheduler.available(ALICE, 1)
        assert found is not None
        assert found["smsUrl"] is None
        authorization = found["workerpoolAuthorization"]
        assert isinstance(authorization, dict)
        assert authorization["chainTaskId"] == task.task_id
        assert history(pool.replicate(task)) == ["CREATED"]
        assert pool.scheduler.computing(ALICE) == [task.task_id]

    @pytest.mark.parametrize(("profile", "tells"), [("8", False), ("9", True)])
    def test_tells_the_deal_in_9_x_only(self, profile: str, tells: bool) -> None:
        pool = Pool(profile)
        authorization = pool.scheduler.authorization(pool.buy(), ALICE)
        assert ("dealId" in authorization) is tells
        assert ("taskIndex" in authorization) is tells

    def test_that_comes_too_early_gets_nothing_and_does_not_count(self) -> None:
        pool = Pool()
        pool.join(ALICE)
        assert pool.ask(ALICE) is None
        task = pool.buy()
        pool.clock.time_s += 3.4
        assert pool.scheduler.available(ALICE, 1) is None
        pool.clock.time_s += 0.1
        assert pool.scheduler.available(ALICE, 1) is not None
        assert ALICE in task.replicates

    def test_without_a_block_gas_or_registration_gets_nothing(self) -> None:
        pool = Pool()
        pool.buy()
        assert pool.ask(BOB) is None
        pool.join(ALICE)
        pool.clock.time_s += 5
        assert pool.scheduler.available(ALICE, 0) is None
        pool.chain.gas = False
        assert pool.ask(ALICE) is None
        pool.chain.gas = True
        assert pool.ask(ALICE) is not None

    def test_stops_at_the_registered_number_of_slots(self) -> None:
        pool = Pool()
        tasks = [pool.buy(1), pool.buy(2), pool.buy(3)]
        pool.join(ALICE, slots=2)
        pool.join(BOB, slots=2, gpu=True)
        assert {pool.ask(ALICE), pool.ask(ALICE)} == {tasks[0].task_id, tasks[1].task_id}
        assert pool.ask(ALICE) is None
        assert pool.ask(BOB) == tasks[2].task_id
        pool.buy(4)
        assert pool.ask(BOB) is None

    def test_prefers_running_tasks_then_the_nearest_deadline(self) -> None:
        pool = Pool()
        late = pool.buy(1, start_s=int(pool.clock.time_s) + 500)
        soon = pool.buy(2)
        running = pool.buy(3, trust=4, start_s=int(pool.clock.time_s) + 900)
        pool.join(ALICE, BOB)
        running.replicates.clear()
        pool.book.tasks = {one.task_id: one for one in (late, soon, running)}
        assert pool.ask(BOB) == soon.task_id
        assert pool.ask(BOB) == late.task_id
        assert pool.ask(BOB) == running.task_id
        pool.must_tell(running, BOB, "STARTING", "STARTED")
        pool.buy(4)
        assert pool.ask(ALICE) == running.task_id

    def test_never_gives_a_wallet_the_same_task_again(self) -> None:
        pool = Pool()
        task = pool.task_at("STARTING")
        pool.must_tell(task, ALICE, "START_FAILED")
        assert pool.ask(ALICE) is None
        pool.join(BOB)
        assert pool.ask(BOB) == task.task_id

    def test_gives_nothing_for_enclaves_or_past_the_contribution_deadline(self) -> None:
        pool = Pool(timers=Timers(contribution_check_s=10**6))
        pool.buy(1, tag="0x3")
        pool.buy(2)
        pool.join(ALICE, tee=True, tdx=True)
        pool.clock.time_s += 7 * TIMEREF_S
        assert pool.ask(ALICE) is None

    def test_is_out_of_service_without_a_chain(self) -> None:
        pool = Pool()
        pool.join(ALICE)
        pool.chain.block_at_s = pool.clock.time_s
        pool.pass_time(20)
        with pytest.raises(OutOfService):
            pool.ask(ALICE)


class TestWeight:
    def test_one_worker_is_enough_for_trust_1(self) -> None:
        pool = Pool()
        pool.task_at("CREATED")
        pool.join(BOB)
        assert pool.ask(BOB) is None

    def test_two_new_workers_are_enough_for_trust_4_and_three_for_trust_5(self) -> None:
        for trust, expected in ((4, 2), (5, 3)):
            pool = Pool()
            pool.buy(trust=trust)
            pool.join(ALICE, BOB, CAROL)
            found = [pool.ask(wallet) for wallet in (ALICE, BOB, CAROL)]
            assert len([one for one in found if one]) == expected

    def test_a_worker_with_a_score_weighs_more(self) -> None:
        pool = Pool()
        pool.chain.weights[ALICE] = 9
        pool.buy(trust=4)
        pool.join(ALICE, BOB)
        assert pool.ask(ALICE) is not None
        assert pool.ask(BOB) is None

    def test_another_is_asked_when_the_first_has_had_its_time(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        pool.join(BOB)
        pool.pass_time(TIMEREF_S - 10, pinging=(ALICE, BOB))
        assert pool.ask(BOB) is None
        assert pool.ask(BOB) == task.task_id

    def test_another_is_asked_when_the_first_gave_up(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        pool.must_tell(task, ALICE, "COMPUTE_FAILED", "ABORTED")
        pool.join(BOB)
        assert pool.ask(BOB) == task.task_id

    def test_another_is_asked_when_two_disagree(self) -> None:
        pool = Pool()
        task = pool.buy(trust=4)
        pool.join(ALICE, BOB, CAROL)
        pool.give(task, ALICE, BOB)
        pool.bring(task, ALICE, "CONTRIBUTED")
        pool.bring(task, BOB, "CONTRIBUTING")
        assert pool.ask(CAROL) is None
        pool.chain.contribute(task.task_id, BOB, OTHER_HASH)
        pool.must_tell(task, BOB, "CONTRIBUTED")
        assert pool.ask(CAROL) == task.task_id

    @pytest.mark.parametrize(
        ("group", "total", "trust", "reached"),
        [(1, 1, 1, True), (2, 2, 3, False), (4, 4, 3, True), (4, 4, 5, False), (8, 8, 5, True)],
    )
    def test_the_contracts_rule(self, group: int, total: int, trust: int, reached: bool) -> None:
        assert reaches_consensus(group, total, trust) is reached


class TestInterrupted:
    """One test a row of 5.8."""

    @staticmethod
    def ask(pool: Pool, wallet: str = ALICE) -> list[tuple[object, object, object]]:
        found = pool.scheduler.interrupted(wallet, 77)
        pool.scheduler.turn()
        extras = [one["taskNotificationExtra"] for one in found]
        assert all(isinstance(one, dict) and one["workerpoolAuthorization"] for one in extras)
        return [
            (one["taskNotificationType"], extra["blockNumber"], extra["taskAbortCause"])  # type: ignore[index]  # an object
            for one, extra in zip(found, extras, strict=True)
        ]

    @pytest.mark.parametrize("last", ["CREATED", "STARTED", "COMPUTED", "CONTRIBUTING"])
    def test_before_a_contribution_one_is_to_contribute(self, last: str) -> None:
        pool = Pool()
        task = pool.task_at(last)
        assert self.ask(pool) == [("PLEASE_CONTRIBUTE", 0, None)]
        assert history(pool.replicate(task))[-1] == "RECOVERING"
        assert pool.tell(task, ALICE, "STARTING").verdict is not Verdict.RECORDED

    def test_asking_again_changes_nothing(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        assert self.ask(pool) == self.ask(pool)
        assert history(pool.replicate(task)).count("RECOVERING") == 1

    def test_after_an_unreported_contribution_it_is_recorded_and_the_block_is_0(self) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        pool.chain.contribute(task.task_id, ALICE)
        pool.chain.agree(task.task_id, 1)
        assert self.ask(pool) == [("PLEASE_REVEAL", 0, None)]
        assert history(pool.replicate(task))[-2:] == ["CONTRIBUTED", "RECOVERING"]
        # The regular message comes at the same moment.
        assert pool.push.actions() == ["PLEASE_REVEAL"]

    def test_after_a_contribution_without_consensus_one_is_to_wait(self) -> None:
        pool = Pool()
        task = pool.buy(trust=4)
        pool.join(ALICE)
        pool.give(task, ALICE)
        pool.bring(task, ALICE, "CONTRIBUTED")
        assert self.ask(pool) == [("PLEASE_WAIT", 0, None)]

    def test_contribute_and_finalize_gets_nothing(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTED")
        pool.must_tell(task, ALICE, "CONTRIBUTE_AND_FINALIZE_ONGOING")
        assert self.ask(pool) == []

    def test_who_missed_the_consensus_is_to_abort(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        pool.pass_time(TIMEREF_S, pinging=(ALICE,))
        pool.join(BOB)
        pool.give(task, BOB)
        pool.bring(task, BOB, "CONTRIBUTED")
        assert self.ask(pool) == [("PLEASE_ABORT", 0, "CONSENSUS_REACHED")]
        assert pool.tell(task, ALICE, "COMPUTED").verdict is Verdict.RECORDED

    @pytest.mark.parametrize("last", ["CONTRIBUTED", "REVEALING"])
    def test_after_the_consensus_one_is_to_reveal_with_its_block(self, last: str) -> None:
        pool = Pool()
        task = pool.task_at(last)
        assert self.ask(pool) == [("PLEASE_REVEAL", task.consensus_block, None)]

    def test_an_upload_that_was_asked_for_is_asked_for_again(self) -> None:
        pool = Pool()
        pool.task_at("REVEALED")
        assert self.ask(pool) == [("PLEASE_UPLOAD", 0, None)]

    def test_an_upload_that_the_proxy_lacks_is_asked_for_again(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        assert self.ask(pool) == [("PLEASE_UPLOAD", 0, None)]
        pool.results.tasks.add(task.task_id)
        assert self.ask(pool) == [("PLEASE_WAIT", 0, None)]
        assert history(pool.replicate(task))[-1] == "RECOVERING"

    def test_a_winner_that_another_uploads_for_gets_nothing(self) -> None:
        pool = Pool()
        task = pool.buy(trust=4)
        pool.join(ALICE, BOB)
        pool.give(task, ALICE, BOB)
        for wallet in (ALICE, BOB):
            pool.bring(task, wallet, "CONTRIBUTING")
            pool.chain.contribute(task.task_id, wallet)
        pool.chain.agree(task.task_id, 2)
        for wallet in (ALICE, BOB):
            pool.must_tell(task, wallet, "CONTRIBUTED")
        pool.bring(task, BOB, "REVEALED")
        assert self.ask(pool) == []
        pool.bring(task, ALICE, "REVEALED")
        assert self.ask(pool) == []
        assert "RECOVERING" not in history(pool.replicate(task))

    def test_after_the_upload_one_is_to_wait_until_the_task_has_ended(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADED")
        assert is_at(task, "FINALIZING")
        assert self.ask(pool) == [("PLEASE_WAIT", 0, None)]
        pool.pass_time(4)
        assert self.ask(pool) == []

    def test_an_upload_while_others_still_reveal_waits(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        pool.chain.change(task.task_id, winners=2)
        pool.bring(task, ALICE, "RESULT_UPLOADED")
        assert is_at(task, "RESULT_UPLOADED")
        assert self.ask(pool) == []

    def test_who_gave_up_is_told_like_the_others_and_nothing_is_recorded(self) -> None:
        pool = Pool()
        task = pool.task_at("STARTING")
        pool.must_tell(task, ALICE, "START_FAILED")
        assert self.ask(pool) == [("PLEASE_CONTRIBUTE", 0, None)]
        assert history(pool.replicate(task))[-1] == "START_FAILED"
        pool.tell(task, ALICE, "ABORTED", Details(cause="UNKNOWN"))
        assert self.ask(pool) == []

    def test_a_timeout_that_is_not_over_yet_is_to_abort(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        task.history.append(TaskChange(TaskStatus.CONTRIBUTION_TIMEOUT, 0))
        assert self.ask(pool) == [("PLEASE_ABORT", 0, "CONTRIBUTION_TIMEOUT")]

    def test_a_wallet_that_never_registered_gets_nothing(self) -> None:
        assert self.ask(Pool(), BOB) == []


def test_a_record_is_renewed_with_its_id_and_its_lists() -> None:
    pool = Pool()
    task = pool.task_at("COMPUTING")
    first = pool.book.workers[ALICE].identifier
    pool.join(ALICE, slots=9)
    again = pool.book.workers[ALICE]
    assert (again.identifier, again.cpu_count) == (first, 9)
    assert (again.participating, again.computing) == ([task.task_id], [task.task_id])
    assert pool.scheduler.computing(BOB) == []


def test_registration_tells_the_tags_that_are_not_offered() -> None:
    pool = Pool()
    told = {"tee": True, "tdx": False}
    pool.join(ALICE, **told)
    shown = pool.scheduler._worker_json(pool.book.workers[ALICE])
    assert shown["excludedTags"] == [f"0x{9:064x}"]
    assert "excludedTags" not in Pool("8").scheduler._worker_json(pool.book.workers[ALICE])
