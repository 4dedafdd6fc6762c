"""docs/spec/03, 6.6, 9.5 and 9.7; 04, 6 and 11.1: how a task moves, and whom it tells."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from iexworker.poco.hashing import hex_text, keccak, lenient_bytes, result_hash
from iexworker.sandbox.network.network import Timers
from iexworker.sandbox.scheduler import explain
from iexworker.sandbox.scheduler.interfaces import ChainTaskStatus
from iexworker.sandbox.scheduler.models import AbortCause, Action, Details
from iexworker.sandbox.scheduler.replicates import Verdict
from tests.helpers.sandbox_pool import (
    ALICE,
    BOB,
    CAROL,
    HASH,
    LINK,
    OTHER_HASH,
    TIMEREF_S,
    Pool,
    Pushed,
    chain_task,
    history,
    is_at,
    names,
    status,
    task_of,
)

CALLBACK = "0x" + "ca" * 20
DATA = "0xcdef"
WHOLE_LIFE = [
    *("RECEIVED", "INITIALIZING", "INITIALIZED", "RUNNING", "CONSENSUS_REACHED"),
    *("AT_LEAST_ONE_REVEALED", "RESULT_UPLOADING", "RESULT_UPLOADED", "FINALIZING"),
    *("FINALIZED", "COMPLETED"),
]


@pytest.mark.parametrize("profile", ["8", "9"])
def test_a_task_of_one_worker_goes_the_whole_way(profile: str) -> None:
    pool = Pool(profile)
    task = pool.task_at("RESULT_UPLOADED")
    pool.pass_time(4)
    assert names(task) == WHOLE_LIFE
    assert pool.push.sent == [
        Pushed(task.task_id, Action.REVEAL, (ALICE,), task.consensus_block, None),
        Pushed(task.task_id, Action.UPLOAD, (ALICE,), None, None),
        Pushed(task.task_id, Action.COMPLETE, (), None, None),
    ]
    assert pool.chain.sent[-1] == ("finalize", task.task_id, LINK, "")
    pool.must_tell(task, ALICE, "COMPLETING", "COMPLETED")
    assert pool.book.workers[ALICE].participating == []


class TestInitialisation:
    def test_is_told_by_the_task_on_chain(self) -> None:
        pool = Pool()
        task = pool.buy()
        assert names(task) == ["RECEIVED", "INITIALIZING", "INITIALIZED"]
        assert task.initialization_block == pool.chain.block

    def test_that_reverts_fails_the_task(self) -> None:
        pool = Pool()
        pool.chain.reverts = True
        task = pool.buy()
        assert names(task)[-2:] == ["INITIALIZE_FAILED", "FAILED"]

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ({"reverts": True}, "the transaction reverted"),
            ({"reverts": True, "out_of_gas": True}, "are the deal's params long?"),
            ({"refuses": "no, thanks"}, "no transaction: no, thanks"),
        ],
    )
    def test_that_fails_says_why(self, fault: dict[str, object], reason: str) -> None:
        pool = Pool()
        for name, value in fault.items():
            setattr(pool.chain, name, value)
        task = pool.buy()
        pool.pass_time(3)
        assert explain.of_task(task, pool.profile).endswith(reason)
        assert pool.push.actions() == ["PLEASE_ABORT"]

    def test_waits_for_its_transaction_and_sends_one_only(self) -> None:
        pool = Pool()
        pool.chain.mines = False
        task = pool.buy()
        pool.pass_time(5)
        assert is_at(task, "INITIALIZING")
        assert len(pool.chain.sent) == 1

    def test_that_somebody_else_made_is_taken(self) -> None:
        pool = Pool()
        pool.chain.mines = False
        task = pool.buy()
        pool.chain.tasks[task.task_id] = chain_task(task.deal.deal_id)
        pool.pass_time(1)
        assert is_at(task, "INITIALIZED")

    def test_whose_transaction_an_earlier_process_sent_is_sent_again(self, tmp_path: Path) -> None:
        pool = Pool(path=tmp_path / "scheduler.sqlite")
        pool.chain.mines = False
        task_id = pool.buy().task_id
        pool.chain.mines = True
        pool.chain.sent.clear()
        pool.chain.mined = lambda transaction: None  # type: ignore[method-assign]  # it was lost
        pool.restart()
        pool.pass_time(1)
        assert [one[0] for one in pool.chain.sent] == ["initialize"]
        assert is_at(pool.book.tasks[task_id], "INITIALIZED")

    def test_a_deal_is_received_once(self) -> None:
        pool = Pool()
        task = pool.buy()
        pool.scheduler.tasks.receive(task.deal, 0, task.task_id)
        assert pool.book.tasks[task.task_id] is task

    def test_a_task_for_enclaves_is_said_to_stay(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            Pool().buy(tag="0x3")
        assert "task stays ungranted" in caplog.messages


def test_deals_are_found_on_chain_with_all_their_tasks(tmp_path: Path) -> None:
    pool = Pool(path=tmp_path / "scheduler.sqlite")
    other = Pool()
    deal = other.buy(7, first=2, size=3).deal
    pool.chain.block += 1
    pool.chain.deals.append((pool.chain.block, deal))
    pool.pass_time(3)
    expected = [task_of(deal.deal_id, index) for index in (2, 3, 4)]
    assert list(pool.book.tasks) == expected
    pool.restart()
    assert list(pool.book.tasks) == expected
    assert pool.book.next_block > pool.chain.deals[0][0]


def test_a_deal_that_cannot_be_read_is_left_out() -> None:
    pool = Pool()
    pool.chain.deals_since = lambda block: [(block, "0x" + "ff" * 32)]  # type: ignore[method-assign]  # announced, and unreadable
    pool.pass_time(3)
    assert pool.book.tasks == {}


class TestConsensus:
    def test_needs_all_winners_to_be_known(self) -> None:
        pool = Pool()
        task = pool.buy(trust=4)
        pool.join(ALICE, BOB)
        pool.give(task, ALICE, BOB)
        pool.bring(task, ALICE, "CONTRIBUTED")
        pool.bring(task, BOB, "CONTRIBUTING")
        pool.chain.contribute(task.task_id, BOB)
        pool.chain.agree(task.task_id, winners=2)
        pool.pass_time(2)
        assert is_at(task, "RUNNING")
        pool.must_tell(task, BOB, "CONTRIBUTED")
        assert is_at(task, "CONSENSUS_REACHED")
        assert pool.push.sent[0].recipients == (ALICE, BOB)
        assert task.consensus == HASH

    def test_aborts_whoever_is_not_in_it(self) -> None:
        pool = Pool()
        task = pool.buy(trust=5)
        pool.join(ALICE, BOB, CAROL)
        pool.give(task, ALICE, BOB, CAROL)
        pool.bring(task, ALICE, "CONTRIBUTED")
        pool.bring(task, BOB, "CONTRIBUTING")
        pool.chain.contribute(task.task_id, BOB, OTHER_HASH)
        pool.must_tell(task, BOB, "CONTRIBUTED")
        pool.bring(task, CAROL, "COMPUTING")
        pool.chain.agree(task.task_id, winners=1)
        pool.must_tell(task, CAROL, "COMPUTED", "CONTRIBUTING")
        pool.world.ask_task_update(task.task_id)
        pool.pass_time(1)
        reveal, abort = pool.push.sent
        assert (reveal.action, reveal.recipients) == (Action.REVEAL, (ALICE,))
        assert (abort.action, abort.recipients) == (Action.ABORT, (BOB, CAROL))
        assert abort.cause is AbortCause.CONSENSUS_REACHED

    def test_is_not_seen_while_a_winner_is_revealing_already(self) -> None:
        """Trap 1 of 04, 11.1 (H30): the task stays RUNNING for everybody."""
        pool = Pool()
        task = pool.buy(trust=4)
        pool.join(ALICE, BOB)
        pool.give(task, ALICE, BOB)
        pool.bring(task, ALICE, "CONTRIBUTED")
        pool.bring(task, BOB, "CONTRIBUTING")
        pool.chain.contribute(task.task_id, BOB)
        pool.chain.agree(task.task_id, winners=2)
        pool.must_tell(task, ALICE, "REVEALING")
        pool.must_tell(task, BOB, "CONTRIBUTED")
        pool.pass_time(60, pinging=(ALICE, BOB))
        assert is_at(task, "RUNNING")

    def test_counts_a_winner_that_is_away(self) -> None:
        pool = Pool()
        task = pool.buy(trust=4)
        pool.join(ALICE, BOB)
        pool.give(task, ALICE, BOB)
        pool.bring(task, ALICE, "CONTRIBUTED")
        pool.pass_time(95, pinging=(BOB,))
        assert history(pool.replicate(task))[-1] == "WORKER_LOST"
        pool.bring(task, BOB, "CONTRIBUTING")
        pool.chain.contribute(task.task_id, BOB)
        pool.chain.agree(task.task_id, winners=2)
        pool.must_tell(task, BOB, "CONTRIBUTED")
        assert is_at(task, "CONSENSUS_REACHED")


class TestUpload:
    def two_winners(self, profile: str = "9") -> tuple[Pool, str]:
        pool = Pool(profile)
        task = pool.buy(trust=4)
        pool.join(ALICE, BOB)
        pool.give(task, ALICE, BOB)
        pool.bring(task, ALICE, "CONTRIBUTING")
        pool.bring(task, BOB, "CONTRIBUTING")
        for wallet in (ALICE, BOB):
            pool.chain.contribute(task.task_id, wallet)
        pool.chain.agree(task.task_id, winners=2)
        for wallet in (ALICE, BOB):
            pool.must_tell(task, wallet, "CONTRIBUTED")
        return pool, task.task_id

    def test_is_asked_of_the_first_that_reveals(self) -> None:
        pool, task_id = self.two_winners()
        task = pool.book.tasks[task_id]
        pool.bring(task, BOB, "REVEALED")
        assert task.uploader == BOB
        assert history(pool.replicate(task, BOB))[-1] == "RESULT_UPLOAD_REQUESTED"
        assert pool.push.sent[-1] == Pushed(task_id, Action.UPLOAD, (BOB,), None, None)
        pool.bring(task, ALICE, "REVEALED")
        assert task.uploader == BOB
        assert pool.tell(task, ALICE, "RESULT_UPLOADING").verdict is Verdict.REFUSED

    def test_ends_in_finalisation_when_all_winners_have_revealed(self) -> None:
        pool, task_id = self.two_winners()
        task = pool.book.tasks[task_id]
        pool.bring(task, BOB, "RESULT_UPLOADED")
        pool.pass_time(5, pinging=(ALICE, BOB))
        assert is_at(task, "RESULT_UPLOADED")
        pool.bring(task, ALICE, "REVEALED")
        pool.pass_time(4, pinging=(ALICE, BOB))
        assert is_at(task, "COMPLETED")

    def test_ends_in_finalisation_at_the_reveal_deadline(self) -> None:
        pool, task_id = self.two_winners()
        task = pool.book.tasks[task_id]
        pool.bring(task, BOB, "RESULT_UPLOADED")
        pool.pass_time(2 * TIMEREF_S + 130, pinging=(ALICE, BOB))
        assert is_at(task, "COMPLETED")

    @pytest.mark.parametrize(("profile", "asked"), [("8", True), ("9", False)])
    def test_is_asked_of_another_at_once_in_8_5_when_the_first_is_lost(
        self, profile: str, asked: bool
    ) -> None:
        pool, task_id = self.two_winners(profile)
        task = pool.book.tasks[task_id]
        pool.bring(task, ALICE, "REVEALED")
        pool.bring(task, BOB, "REVEALED")
        pool.pass_time(95, pinging=(BOB,))
        assert history(pool.replicate(task, ALICE))[-1] == "WORKER_LOST"
        assert (task.uploader == BOB) is asked
        # In 9.x the time-out of the upload does it.
        pool.pass_time(60, pinging=(BOB,))
        assert task.uploader == BOB

    def test_of_a_worker_that_nobody_asked_is_taken_after_its_absence(self) -> None:
        pool, task_id = self.two_winners()
        task = pool.book.tasks[task_id]
        pool.bring(task, ALICE, "REVEALED")
        pool.bring(task, BOB, "REVEALED")
        pool.pass_time(95, pinging=(ALICE,))
        pool.bring(task, BOB, "RESULT_UPLOADED")
        assert task.uploader == BOB
        assert names(task)[-2:] == ["RESULT_UPLOADED", "FINALIZING"]

    def test_is_asked_of_nobody_while_a_worker_uploads_unasked(self) -> None:
        pool = Pool("8", timers=Timers(upload_check_s=10**6))
        task = pool.buy(trust=5)
        wallets = (ALICE, BOB, CAROL)
        pool.join(*wallets)
        pool.give(task, *wallets)
        for wallet in wallets:
            pool.bring(task, wallet, "CONTRIBUTING")
            pool.chain.contribute(task.task_id, wallet)
        pool.chain.agree(task.task_id, winners=3)
        for wallet in wallets:
            pool.must_tell(task, wallet, "CONTRIBUTED")
        for wallet in wallets[:2]:
            pool.bring(task, wallet, "REVEALED")
        pool.pass_time(95, pinging=(ALICE, CAROL))
        pool.must_tell(task, BOB, "RESULT_UPLOADING")
        pool.bring(task, CAROL, "REVEALED")
        pool.pass_time(95, pinging=(BOB, CAROL))
        assert history(pool.replicate(task, ALICE))[-1] == "WORKER_LOST"
        assert task.uploader == ALICE
        assert pool.push.actions().count("PLEASE_UPLOAD") == 1

    def test_counts_when_the_worker_was_lost_right_after_it(self) -> None:
        pool = Pool(timers=Timers(upload_check_s=10**6))
        task = pool.task_at("RESULT_UPLOADING")
        pool.results.tasks.add(task.task_id)
        pool.scheduler.update(
            task.task_id, ALICE, status("RESULT_UPLOADED"), Details(result_link=LINK)
        )
        pool.scheduler._replicates.update(task.task_id, ALICE, status("WORKER_LOST"))
        pool.pass_time(1)
        assert "RESULT_UPLOADED" in names(task)

    @pytest.mark.parametrize(
        ("profile", "stuck"), [("8", "AT_LEAST_ONE_REVEALED"), ("9", "CONSENSUS_REACHED")]
    )
    def test_is_asked_of_nobody_when_recovering_hides_the_reveal(
        self, profile: str, stuck: str
    ) -> None:
        """Trap 2 of 04, 11.1 (H25)."""
        pool = Pool(profile)
        task = pool.task_at("REVEALING")
        pool.chain.reveal(task.task_id, ALICE)
        found = pool.scheduler.interrupted(ALICE, pool.chain.block)
        assert found[0]["taskNotificationType"] == "PLEASE_WAIT"
        pool.pass_time(1)
        assert history(pool.replicate(task))[-2:] == ["REVEALED", "RECOVERING"]
        pool.must_tell(task, ALICE, "RESULT_UPLOADING")
        pool.results.tasks.add(task.task_id)
        pool.must_tell(task, ALICE, "RESULT_UPLOADED", "COMPLETING", "COMPLETED")
        pool.pass_time(10)
        assert is_at(task, stuck)


class TestFinalisation:
    def test_is_heard_of_after_its_delay(self) -> None:
        pool = Pool(timers=Timers(finalize_delay_s=2.4))
        task = pool.task_at("RESULT_UPLOADED")
        pool.pass_time(2)
        assert is_at(task, "FINALIZING")
        pool.pass_time(1)
        assert is_at(task, "COMPLETED")

    def test_that_reverts_fails_the_task(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        pool.chain.reverts = True
        pool.bring(task, ALICE, "RESULT_UPLOADED")
        pool.pass_time(2)
        assert names(task)[-2:] == ["FINALIZE_FAILED", "FAILED"]

    @pytest.mark.parametrize(
        ("data", "out_of_gas", "reason"),
        [
            ("0xab", False, "the callback data is not what the workers agreed on"),
            ("0x" + "ab" * 9, True, "callback data of 9 bytes: the transaction needs more gas"),
            (DATA, False, "the transaction reverted"),
        ],
    )
    def test_that_reverts_is_told_with_what_is_wrong(
        self, data: str, out_of_gas: bool, reason: str
    ) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING", callback=CALLBACK)
        task.consensus = result_hash(task.task_id, hex_text(keccak(lenient_bytes(DATA))))
        pool.chain.reverts, pool.chain.out_of_gas = True, out_of_gas
        pool.tell(task, ALICE, "RESULT_UPLOADED", Details(result_link=LINK, callback_data=data))
        pool.pass_time(2)

        failed = next(one for one in task.history if one.status.value == "FINALIZE_FAILED")
        assert failed.reason.startswith(reason)
        assert reason in explain.of_task(task, pool.profile)

    def test_that_the_node_refuses_again_and_again_fails_its_task_and_no_other(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING", callback=CALLBACK)
        other = pool.task_at("COMPUTING", BOB, number=2)
        pool.chain.refuses = "intrinsic gas too high"
        pool.tell(task, ALICE, "RESULT_UPLOADED", Details(result_link=LINK, callback_data="zz"))
        pool.pass_time(2)

        assert names(task)[-2:] == ["FINALIZE_FAILED", "FAILED"]
        reason = "no transaction: callback data of 1 bytes: intrinsic gas too high"
        assert explain.of_task(task, pool.profile).endswith(reason)
        pool.chain.refuses = ""
        pool.bring(other, BOB, "COMPLETED")

    def test_that_the_node_refuses_once_is_sent_again(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        pool.results.tasks.add(task.task_id)
        pool.chain.refuses = "nonce too low"
        pool.tell(task, ALICE, "RESULT_UPLOADED", Details(result_link=LINK))
        pool.chain.refuses = ""
        pool.pass_time(4)

        assert is_at(task, "COMPLETED")

    def test_of_a_callback_task_carries_its_data(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING", callback=CALLBACK)
        pool.tell(task, ALICE, "RESULT_UPLOADED", Details(result_link=LINK, callback_data="0xab"))
        pool.pass_time(1)
        assert pool.chain.sent[-1] == ("finalize", task.task_id, LINK, "0xab")

    def test_leaves_callback_data_out_where_there_is_no_callback(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        pool.results.tasks.add(task.task_id)
        pool.tell(task, ALICE, "RESULT_UPLOADED", Details(result_link=LINK, callback_data="0xab"))
        pool.pass_time(1)
        assert pool.chain.sent[-1] == ("finalize", task.task_id, LINK, "")

    def test_does_not_come_before_the_chain_is_revealing(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        pool.chain.change(task.task_id, status=ChainTaskStatus.FAILED)
        pool.bring(task, ALICE, "RESULT_UPLOADED")
        pool.pass_time(2)
        assert is_at(task, "RESULT_UPLOADED")

    def test_waits_for_its_transaction(self) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        pool.chain.mines = False
        pool.bring(task, ALICE, "RESULT_UPLOADED")
        pool.pass_time(10)
        assert is_at(task, "FINALIZING")
        assert [one[0] for one in pool.chain.sent].count("finalize") == 1
