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
from tests.unit.helpers.outbox_harness import OutboxHarness

pytest_plugins = ["tests.unit.helpers.outbox_harness"]


def test_a_contribution_made_elsewhere_needs_no_transaction(harness: OutboxHarness) -> None:
    other = OutboxHarness()
    other.chain = harness.chain
    other.restart()
    other.outbox.submit(contribute(task(1)))
    (made,) = other.turn()
    harness.outbox.submit(contribute(task(1)))

    assert harness.outbox.step() == [made]
    assert harness.signed == []


def test_another_result_of_this_wallet_is_a_failure(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1), result=2))
    harness.turn()
    harness.connection.execute("DELETE FROM actions")
    harness.outbox.submit(contribute(task(1), result=3))

    (result,) = harness.outbox.step()

    assert isinstance(result, ActionFailed)
    assert result.cause == "CONTRIBUTION_ALREADY_SET"


def test_a_reveal_from_before_a_lost_journal_is_not_sent_again(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.turn()
    harness.chain.revealing.add(task(1))
    harness.outbox.submit(reveal(task(1)))
    (made,) = harness.turn()
    newcomer = OutboxHarness()
    newcomer.chain = harness.chain
    newcomer.restart()
    newcomer.outbox.submit(reveal(task(1)))

    assert newcomer.outbox.step() == [made]
    assert newcomer.signed == []


def test_what_the_node_held_when_the_journal_was_lost_takes_effect_once(
    harness: OutboxHarness,
) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    newcomer = OutboxHarness()
    newcomer.chain = harness.chain
    newcomer.restart()
    newcomer.outbox.submit(contribute(task(1)))

    (result,) = newcomer.turn(3)

    assert isinstance(result, ActionMined)
    assert len(harness.chain.state.contributions) == 1


@pytest.mark.parametrize("keep", [True, False])
def test_what_a_reorganisation_takes_back_is_mined_again(
    harness: OutboxHarness, keep: bool
) -> None:
    harness.outbox.submit(contribute(task(1)))
    (first,) = harness.turn()
    harness.chain.reorganise(1, keep=keep)
    harness.uptime_s += BLOCK_TIME_S

    results = harness.turn(4)

    assert len(harness.signed) == 1
    assert isinstance(first, ActionMined)
    assert [type(one) for one in results] == [ActionMined]


def test_a_restart_after_a_reorganisation_sees_it(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.turn()
    harness.chain.reorganise(1, keep=False)
    harness.restart()

    assert [type(one) for one in harness.turn(4)] == [ActionMined]
    assert harness.chain.contribution(task(1)).status is ContributionStatus.CONTRIBUTED


def test_what_is_deep_in_the_chain_is_watched_no_longer(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    paces = [harness.outbox.pace]
    harness.turn()
    paces.append(harness.outbox.pace)
    harness.mine(WATCH_BLOCKS + 1)
    harness.outbox.step()
    assert [*paces, harness.outbox.pace] == [Pace.BUSY, Pace.WATCHFUL, Pace.IDLE]
    harness.mine()
    harness.chain.unreachable = True

    assert harness.outbox.step() == []


def test_a_receipt_that_comes_after_the_effect_is_waited_for(
    harness: OutboxHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.chain.mine()
    evidence = harness.chain.evidence
    monkeypatch.setattr(
        harness.chain,
        "evidence",
        lambda *asked: type(late := evidence(*asked))(
            {}, late.known, late.contributions, late.refusals
        ),
    )
    assert harness.outbox.step() == []
    monkeypatch.undo()

    assert [type(one) for one in harness.outbox.step()] == [ActionMined]
    assert len(harness.signed) == 1


def test_a_result_that_was_not_taken_in_is_given_again(harness: OutboxHarness) -> None:
    action = contribute(task(1))
    harness.outbox.submit(action)
    (result,) = harness.turn()
    harness.restart()
    harness.outbox.submit(action)

    assert harness.outbox.step() == [result]


def test_a_failed_action_is_taken_up_again_with_other_calldata(harness: OutboxHarness) -> None:
    harness.chain.refuses = "no"
    harness.outbox.submit(contribute(task(1)))
    (failed,) = harness.turn(WATCH_BLOCKS + 1)
    harness.outbox.submit(contribute(task(1)))
    assert not harness.outbox.busy
    assert harness.outbox.step() == [failed]
    harness.chain.refuses = None
    harness.outbox.submit(contribute(task(1), result=2))

    assert [type(one) for one in harness.turn()] == [ActionMined]


def test_a_failed_action_is_taken_up_again_with_a_later_deadline(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1), START_S))
    (failed,) = harness.outbox.step()
    assert isinstance(failed, ActionFailed)
    harness.outbox.submit(contribute(task(1), START_S + 100))

    assert [type(one) for one in harness.turn()] == [ActionMined]


def test_an_action_that_is_not_signed_yet_is_replaced_by_one_with_other_calldata(
    harness: OutboxHarness,
) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.submit(contribute(task(1), result=2))

    assert [type(one) for one in harness.turn()] == [ActionMined]
    assert shown_done(harness.chain, contribute(task(1), result=2))


def test_a_done_action_is_not_done_again_with_other_calldata(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    (made,) = harness.turn()
    harness.outbox.submit(contribute(task(1), result=2))

    assert harness.outbox.step() == [made]
    assert len(harness.signed) == 1


def test_a_deadline_that_becomes_known_later_is_kept(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.turn()
    harness.outbox.submit(reveal(task(1), 0))
    assert harness.turn(2) == []
    harness.outbox.submit(reveal(task(1), harness.chain.time_s + 5))

    assert [type(one) for one in harness.turn(2)] == [ActionFailed]


def test_what_is_signed_is_not_overwritten(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    harness.outbox.submit(contribute(task(1), result=2))
    entry = harness.outbox.entry(task(1), ActionKind.CONTRIBUTE)
    assert entry is not None
    assert entry.action == contribute(task(1))

    harness.turn()

    made = harness.chain.contribution(task(1))
    assert shown_done(harness.chain, contribute(task(1)))
    assert not shown_done(harness.chain, contribute(task(1), result=2))
    assert made.status is ContributionStatus.CONTRIBUTED


def test_an_ended_task_leaves_nothing_but_the_nonce(harness: OutboxHarness) -> None:
    for number in (1, 2):
        harness.outbox.submit(contribute(task(number)))
        harness.turn()
    harness.outbox.forget(task(1))
    harness.outbox.forget(task(2))

    assert harness.outbox.entry(task(1), ActionKind.CONTRIBUTE) is None
    assert harness.ledger.top_nonce() == 1
    assert len(harness.signed) == 1


def test_a_journal_that_cannot_be_written_stops_the_broadcast(harness: OutboxHarness) -> None:
    harness.outbox.submit(contribute(task(1)))
    harness.connection.execute("DROP TABLE transactions")

    with pytest.raises(JournalError):
        harness.outbox.step()
    assert harness.chain.broadcasts == []


def test_the_journal_survives_on_disk(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.sqlite")
    harness = OutboxHarness(path=path)
    harness.outbox.submit(contribute(task(1)))
    harness.outbox.step()
    (signed,) = harness.signed
    harness.connection.close()
    again = OutboxHarness(path=path)
    again.chain = harness.chain
    again.restart()

    (result,) = again.turn()

    assert isinstance(result, ActionMined)
    assert result.receipt is not None
    assert result.receipt.tx_hash == signed.tx_hash
