from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.outbox.actions import ActionFailed, ActionMined, ActionState
from iexworker.outbox.evidence import BroadcastAnswer
from iexworker.outbox.node import ChainNode
from iexworker.outbox.situation import WATCH_BLOCKS
from iexworker.outbox.transaction import Draft, hash_of
from iexworker.poco.hashing import result_hash
from iexworker.poco.models import ActionKind, ContributionStatus, Profile, TaskStatus
from tests.integration.helpers.anvil_chain import FREE, PAID, Anvil, OutboxWorker, anvil, digest

pytestmark = pytest.mark.chain

CONTRIBUTE, REVEAL = ActionKind.CONTRIBUTE, ActionKind.REVEAL


@pytest.fixture(scope="module")
def v6(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    with anvil(tmp_path_factory.mktemp("v6"), "9") as found:
        yield found


@pytest.fixture(scope="module")
def v5(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    with anvil(tmp_path_factory.mktemp("v5"), "8") as found:
        yield found


@pytest.fixture
def worker(v6: Anvil, tmp_path: Path) -> OutboxWorker:
    return OutboxWorker(v6, "worker1", tmp_path / "journal.sqlite")


class Dies(ChainNode):
    """A node in whose hands the process is killed, before or after it takes the bytes."""

    def __init__(self, real: ChainNode, *, after: bool) -> None:
        self._real = real
        self._after = after
        self.position = real.position  # type: ignore[method-assign]  # reads are the real ones
        self.evidence = real.evidence  # type: ignore[method-assign]  # likewise

    def broadcast(self, raw: bytes) -> tuple[BroadcastAnswer, str]:
        if self._after:
            self._real.broadcast(raw)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


def step_and_die(worker: OutboxWorker, *, after: bool) -> None:
    """Make a pass in a child that is killed at its first broadcast."""
    child = os.fork()
    if child == 0:
        worker.restart()
        worker.outbox_on(Dies(ChainNode(worker.hub), after=after)).step()
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    worker.restart()


@pytest.mark.parametrize("contracts", ["v6", "v5"])
def test_a_task_is_contributed_and_revealed(
    contracts: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chain: Anvil = request.getfixturevalue(contracts)
    worker = OutboxWorker(chain, "worker1", tmp_path / "journal.sqlite")
    task_id = chain.task()

    worker.outbox.submit(worker.contribute(task_id))
    (contributed,) = worker.turn()
    worker.outbox.submit(worker.reveal(task_id))
    (revealed,) = worker.turn()

    assert isinstance(contributed, ActionMined)
    assert isinstance(revealed, ActionMined)
    assert contributed.receipt is not None
    receipt = worker.hub.receipt(contributed.receipt.tx_hash)
    assert receipt is not None
    assert receipt.block_number == contributed.receipt.block_number
    view = worker.hub.task_view(task_id)
    assert view.task is not None
    assert view.task.status is TaskStatus.REVEALING
    assert view.task.consensus == result_hash(task_id, digest("result"))
    assert view.contribution.status is ContributionStatus.PROVED


@pytest.mark.parametrize("contracts", ["v6", "v5"])
def test_a_task_is_described_from_the_contracts(
    contracts: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    chain: Anvil = request.getfixturevalue(contracts)
    worker = OutboxWorker(chain, "worker1", tmp_path / "journal.sqlite")
    task_id = chain.task(
        params='{"iexec_args":"a b"}', dataset="https://host/data", dataset_checksum="0x11"
    )

    found = worker.hub.describe(task_id, Profile.V9)

    assert found.app_image == "registry/app:1"
    assert found.app_type == "DOCKER"
    assert found.params.args == "a b"
    assert found.dataset_uri == "https://host/data"
    assert found.has_dataset
    assert found.worker_stake == 30_000_000
    assert found.max_execution_time_s == 300
    assert found.workerpool_owner == chain.wallet("scheduler").address
    assert worker.hub.workerpool_owner(found.workerpool_address) == found.workerpool_owner


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_around_the_broadcast_sends_the_same_bytes_again(
    worker: OutboxWorker, v6: Anvil, after: bool
) -> None:
    task_id = v6.task()
    worker.outbox.submit(worker.contribute(task_id))

    step_and_die(worker, after=after)
    (signed,) = worker.ledger.transactions(0)
    (result,) = worker.turn()

    assert isinstance(result, ActionMined)
    assert result.receipt is not None
    assert result.receipt.tx_hash == signed.tx_hash
    assert worker.contributions(task_id) == [signed.tx_hash]


def test_a_kill_before_anything_is_signed_keeps_the_wish(worker: OutboxWorker, v6: Anvil) -> None:
    task_id = v6.task()
    worker.outbox.submit(worker.contribute(task_id))

    worker.restart()

    assert isinstance(worker.turn()[0], ActionMined)


def test_a_dropped_transaction_is_given_to_the_node_again(worker: OutboxWorker, v6: Anvil) -> None:
    task_id = v6.task()
    worker.outbox.submit(worker.contribute(task_id))
    worker.outbox.step()
    (signed,) = worker.ledger.transactions(0)
    v6.ask("anvil_dropTransaction", signed.tx_hash)

    results = worker.turn(3)

    assert [type(result) for result in results] == [ActionMined]
    assert worker.contributions(task_id) == [signed.tx_hash]


def test_a_transaction_that_waits_three_blocks_is_outbid(v6: Anvil, tmp_path: Path) -> None:
    worker = OutboxWorker(v6, "worker2", tmp_path / "journal.sqlite", PAID)
    task_id = v6.task()
    worker.outbox.submit(worker.contribute(task_id))
    worker.outbox.step()
    (first,) = worker.ledger.transactions(0)

    for _ in range(3):  # blocks in which our price does not suffice
        v6.ask("anvil_setNextBlockBaseFeePerGas", hex(first.gas_price_wei + 1))
        worker.turn()
    *_, last = worker.ledger.transactions(0)
    v6.ask("anvil_setNextBlockBaseFeePerGas", "0x0")
    results = worker.turn()

    assert last.nonce == first.nonce
    assert last.gas_price_wei >= first.gas_price_wei * 9 // 8
    assert [type(result) for result in results] == [ActionMined]
    assert worker.contributions(task_id) == [last.tx_hash]


def test_a_nonce_spent_by_another_sender_is_left_for_the_next(
    worker: OutboxWorker, v6: Anvil
) -> None:
    task_id = v6.task()
    worker.outbox.submit(worker.contribute(task_id))
    worker.outbox.step()
    (first,) = worker.ledger.transactions(0)
    v6.ask("anvil_dropTransaction", first.tx_hash)
    foreign = Draft(
        first.nonce, 10**9, 21_000, worker.wallet.address, b"", v6.configuration.chain_id
    ).signed(worker.wallet)
    v6.ask("eth_sendRawTransaction", "0x" + foreign.hex())
    v6.mine()

    results = worker.turn(4)

    assert [type(result) for result in results] == [ActionMined]
    (tx_hash,) = worker.contributions(task_id)
    assert tx_hash != first.tx_hash
    assert worker.hub.nonces().latest == first.nonce + 2


def test_a_contribution_that_comes_too_late_fails_with_the_contract_s_refusal(
    worker: OutboxWorker, v6: Anvil, tmp_path: Path
) -> None:
    task_id = v6.task()
    rival = OutboxWorker(v6, "worker2", tmp_path / "rival.sqlite", PAID)
    rival.outbox.submit(rival.contribute(task_id))
    worker.outbox.submit(worker.contribute(task_id))
    rival.outbox.step()

    results = worker.turn(WATCH_BLOCKS + 4)

    assert worker.hub.contribution(task_id).status is ContributionStatus.UNSET
    (result,) = results
    assert isinstance(result, ActionFailed)
    assert result.cause == "CHAIN_RECEIPT_NOT_VALID"


def test_a_contribution_that_the_contract_refuses_costs_no_nonce(
    worker: OutboxWorker, v6: Anvil
) -> None:
    task_id = v6.task()
    before = worker.hub.nonces()
    action = worker.contribute(task_id)
    stranger = v6.wallet("worker3").sign_message_hash(bytes(32))
    calldata = action.calldata[:-96] + bytes.fromhex(stranger[2:]) + bytes(31)
    worker.outbox.submit(type(action)(task_id, CONTRIBUTE, calldata, 500_000, action.deadline_s))

    results = worker.turn(WATCH_BLOCKS + 4)

    assert [type(result) for result in results] == [ActionFailed]
    assert worker.hub.nonces() == before


def test_a_contribution_from_before_the_journal_is_found_by_its_event(
    worker: OutboxWorker, v6: Anvil, tmp_path: Path
) -> None:
    task_id = v6.task()
    worker.outbox.submit(worker.contribute(task_id))
    (first,) = worker.turn()
    newcomer = OutboxWorker(v6, "worker1", tmp_path / "new.sqlite")
    newcomer.outbox.submit(newcomer.contribute(task_id))

    assert newcomer.outbox.step() == [first]
    assert newcomer.ledger.transactions(0) == []
    events = newcomer.hub.contributions_since(0)
    assert events[-1].task_id == task_id
    assert events[-1].result_hash == result_hash(task_id, digest("result"))


def test_a_mined_transaction_that_a_reorganisation_takes_back_is_sent_again(
    worker: OutboxWorker, v6: Anvil
) -> None:
    task_id = v6.task()
    worker.outbox.submit(worker.contribute(task_id))
    (before,) = worker.turn()
    assert isinstance(before, ActionMined)
    v6.ask("anvil_rollback", 1)
    assert worker.hub.contribution(task_id).status is ContributionStatus.UNSET
    worker.restart()

    results = worker.turn(6)

    assert [type(result) for result in results] == [ActionMined]
    assert worker.contributions(task_id) == [before.receipt and before.receipt.tx_hash]


def test_an_abandoned_contribution_leaves_no_gap_before_a_reveal(
    worker: OutboxWorker, v6: Anvil
) -> None:
    revealed, given_up = v6.task(), v6.task()
    worker.outbox.submit(worker.contribute(revealed))
    worker.turn()
    worker.outbox.submit(worker.contribute(given_up))
    worker.outbox.step()
    (unmined,) = [one for one in worker.ledger.transactions(2**62) if one.owner]
    v6.ask("anvil_dropTransaction", unmined.tx_hash)
    worker.outbox.abandon(given_up, CONTRIBUTE)
    worker.outbox.submit(worker.reveal(revealed))

    results = worker.turn(2)

    assert {(type(one), one.task_id) for one in results} == {
        (ActionMined, revealed),
        (ActionFailed, given_up),
    }
    assert worker.hub.contribution(given_up).status is ContributionStatus.UNSET
    assert worker.hub.contribution(revealed).status is ContributionStatus.PROVED


def test_at_the_cap_what_the_node_holds_is_mined_before_the_next_one(
    worker: OutboxWorker, v6: Anvil
) -> None:
    assert worker.rule == FREE
    first, second = v6.task(), v6.task()
    worker.outbox.submit(worker.contribute(first))
    worker.outbox.step()
    worker.outbox.abandon(first, CONTRIBUTE)
    worker.outbox.submit(worker.contribute(second))

    results = worker.turn(2)

    # The abandoned one was held by the node, could not be outbid, and took effect.
    assert {type(one) for one in results} == {ActionMined}
    assert worker.hub.contribution(second).status is ContributionStatus.CONTRIBUTED
    assert worker.hub.contribution(first).status is ContributionStatus.CONTRIBUTED


def test_results_are_given_again_to_who_asks_again(worker: OutboxWorker, v6: Anvil) -> None:
    task_id = v6.task()
    action = worker.contribute(task_id)
    worker.outbox.submit(action)
    (first,) = worker.turn()

    worker.outbox.submit(action)

    assert worker.outbox.step() == [first]
    entry = worker.outbox.entry(task_id, CONTRIBUTE)
    assert entry is not None
    assert entry.state is ActionState.DONE


def test_the_node_calls_a_transaction_by_its_hash(worker: OutboxWorker, v6: Anvil) -> None:
    raw = Draft(
        worker.hub.nonces().pending,
        0,
        21_000,
        worker.wallet.address,
        b"",
        v6.configuration.chain_id,
    ).signed(worker.wallet)
    node = ChainNode(worker.hub)

    assert node.broadcast(raw) == (BroadcastAnswer.TAKEN, "")
    assert node.broadcast(raw)[0] is BroadcastAnswer.TAKEN
    v6.mine()
    assert node.broadcast(raw)[0] is BroadcastAnswer.NONCE_SPENT
    assert worker.hub.receipt(hash_of(raw)) is not None
