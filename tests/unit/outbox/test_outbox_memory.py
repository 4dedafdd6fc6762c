"""The outbox after a reorganisation, a restart, or the loss of its journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from iexworker.errors import JournalError
from iexworker.outbox.actions import ActionFailed, ActionMined, Pace
from iexworker.outbox.situation import WATCH_BLOCKS
from iexworker.poco.models import ActionKind, ContributionStatus
from tests.helpers.fake_chain import (
    BLOCK_TIME_S,
    START_S,
    contribute,
    reveal,
    shown_done,
    task,
)
from tests.unit.helpers.outbox_harness import Bench

pytest_plugins = ["tests.unit.helpers.outbox_harness"]


def test_a_contribution_made_elsewhere_needs_no_transaction(bench: Bench) -> None:
    other = Bench()
    other.chain = bench.chain
    other.restart()
    other.outbox.submit(contribute(task(1)))
    (made,) = other.turn()
    bench.outbox.submit(contribute(task(1)))

    assert bench.outbox.step() == [made]
    assert bench.signed == []


def test_another_result_of_this_wallet_is_a_failure(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1), result=2))
    bench.turn()
    bench.connection.execute("DELETE FROM actions")
    bench.outbox.submit(contribute(task(1), result=3))

    (result,) = bench.outbox.step()

    assert isinstance(result, ActionFailed)
    assert result.cause == "CONTRIBUTION_ALREADY_SET"


def test_a_reveal_from_before_a_lost_journal_is_not_sent_again(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.chain.revealing.add(task(1))
    bench.outbox.submit(reveal(task(1)))
    (made,) = bench.turn()
    newcomer = Bench()
    newcomer.chain = bench.chain
    newcomer.restart()
    newcomer.outbox.submit(reveal(task(1)))

    assert newcomer.outbox.step() == [made]
    assert newcomer.signed == []


def test_what_the_node_held_when_the_journal_was_lost_takes_effect_once(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    newcomer = Bench()
    newcomer.chain = bench.chain
    newcomer.restart()
    newcomer.outbox.submit(contribute(task(1)))

    (result,) = newcomer.turn(3)

    assert isinstance(result, ActionMined)
    assert len(bench.chain.state.contributions) == 1


@pytest.mark.parametrize("keep", [True, False])
def test_what_a_reorganisation_takes_back_is_mined_again(bench: Bench, keep: bool) -> None:
    bench.outbox.submit(contribute(task(1)))
    (first,) = bench.turn()
    bench.chain.reorganise(1, keep=keep)
    bench.uptime_s += BLOCK_TIME_S

    results = bench.turn(4)

    assert len(bench.signed) == 1
    assert isinstance(first, ActionMined)
    assert [type(one) for one in results] == [ActionMined]


def test_a_restart_after_a_reorganisation_sees_it(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.chain.reorganise(1, keep=False)
    bench.restart()

    assert [type(one) for one in bench.turn(4)] == [ActionMined]
    assert bench.chain.contribution(task(1)).status is ContributionStatus.CONTRIBUTED


def test_what_is_deep_in_the_chain_is_watched_no_longer(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    paces = [bench.outbox.pace]
    bench.turn()
    paces.append(bench.outbox.pace)
    bench.mine(WATCH_BLOCKS + 1)
    bench.outbox.step()
    assert [*paces, bench.outbox.pace] == [Pace.BUSY, Pace.WATCHFUL, Pace.IDLE]
    bench.mine()
    bench.chain.unreachable = True

    assert bench.outbox.step() == []


def test_a_receipt_that_comes_after_the_effect_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.chain.mine()
    evidence = bench.chain.evidence
    monkeypatch.setattr(
        bench.chain,
        "evidence",
        lambda *asked: type(late := evidence(*asked))(
            {}, late.known, late.contributions, late.refusals
        ),
    )
    assert bench.outbox.step() == []
    monkeypatch.undo()

    assert [type(one) for one in bench.outbox.step()] == [ActionMined]
    assert len(bench.signed) == 1


def test_a_result_that_was_not_taken_in_is_given_again(bench: Bench) -> None:
    action = contribute(task(1))
    bench.outbox.submit(action)
    (result,) = bench.turn()
    bench.restart()
    bench.outbox.submit(action)

    assert bench.outbox.step() == [result]


def test_a_failed_action_is_taken_up_again_with_other_calldata(bench: Bench) -> None:
    bench.chain.refuses = "no"
    bench.outbox.submit(contribute(task(1)))
    (failed,) = bench.turn(WATCH_BLOCKS + 1)
    bench.outbox.submit(contribute(task(1)))
    assert not bench.outbox.busy
    assert bench.outbox.step() == [failed]
    bench.chain.refuses = None
    bench.outbox.submit(contribute(task(1), result=2))

    assert [type(one) for one in bench.turn()] == [ActionMined]


def test_a_failed_action_is_taken_up_again_with_a_later_deadline(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1), START_S))
    (failed,) = bench.outbox.step()
    assert isinstance(failed, ActionFailed)
    bench.outbox.submit(contribute(task(1), START_S + 100))

    assert [type(one) for one in bench.turn()] == [ActionMined]


def test_an_action_that_is_not_signed_yet_is_replaced_by_one_with_other_calldata(
    bench: Bench,
) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.submit(contribute(task(1), result=2))

    assert [type(one) for one in bench.turn()] == [ActionMined]
    assert shown_done(bench.chain, contribute(task(1), result=2))


def test_a_done_action_is_not_done_again_with_other_calldata(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    (made,) = bench.turn()
    bench.outbox.submit(contribute(task(1), result=2))

    assert bench.outbox.step() == [made]
    assert len(bench.signed) == 1


def test_a_deadline_that_becomes_known_later_is_kept(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.turn()
    bench.outbox.submit(reveal(task(1), 0))
    assert bench.turn(2) == []
    bench.outbox.submit(reveal(task(1), bench.chain.time_s + 5))

    assert [type(one) for one in bench.turn(2)] == [ActionFailed]


def test_what_is_signed_is_not_overwritten(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    bench.outbox.submit(contribute(task(1), result=2))
    entry = bench.outbox.entry(task(1), ActionKind.CONTRIBUTE)
    assert entry is not None
    assert entry.action == contribute(task(1))

    bench.turn()

    made = bench.chain.contribution(task(1))
    assert shown_done(bench.chain, contribute(task(1)))
    assert not shown_done(bench.chain, contribute(task(1), result=2))
    assert made.status is ContributionStatus.CONTRIBUTED


def test_an_ended_task_leaves_nothing_but_the_nonce(bench: Bench) -> None:
    for number in (1, 2):
        bench.outbox.submit(contribute(task(number)))
        bench.turn()
    bench.outbox.forget(task(1))
    bench.outbox.forget(task(2))

    assert bench.outbox.entry(task(1), ActionKind.CONTRIBUTE) is None
    assert bench.ledger.top_nonce() == 1
    assert len(bench.signed) == 1


def test_a_journal_that_cannot_be_written_stops_the_broadcast(bench: Bench) -> None:
    bench.outbox.submit(contribute(task(1)))
    bench.connection.execute("DROP TABLE transactions")

    with pytest.raises(JournalError):
        bench.outbox.step()
    assert bench.chain.broadcasts == []


def test_the_journal_survives_on_disk(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.sqlite")
    bench = Bench(path=path)
    bench.outbox.submit(contribute(task(1)))
    bench.outbox.step()
    (signed,) = bench.signed
    bench.connection.close()
    again = Bench(path=path)
    again.chain = bench.chain
    again.restart()

    (result,) = again.turn()

    assert isinstance(result, ActionMined)
    assert result.receipt is not None
    assert result.receipt.tx_hash == signed.tx_hash
