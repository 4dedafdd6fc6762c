from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from iexworker.errors import ChainError
from iexworker.poco import receipts
from iexworker.poco.models import ActionKind, Log

TASK, WALLET = "0x" + "11" * 32, "0x" + "22" * 20
LOG = {
    "topics": [receipts.TASK_REVEAL, TASK, receipts.address_topic(WALLET)],
    "data": "0xAB",
    "blockNumber": "0x2A",
    "transactionHash": "0x" + "5A" * 32,
}
RECEIPT = {
    "transactionHash": "0x" + "5A" * 32,
    "status": "0x1",
    "blockNumber": "0x2a",
    "gasUsed": "0x5208",
    "logs": [LOG],
}


def read(**changed: Any) -> Any:
    return receipts.parse({**RECEIPT, **changed})


def test_a_receipt_is_read_in_lower_case() -> None:
    found = read()

    assert found.tx_hash == "0x" + "5a" * 32
    assert found.success
    assert (found.block_number, found.gas_used) == (42, 21_000)
    assert found.logs[0].data == "0xab"


def test_what_a_transaction_has_cost_is_told_where_the_node_says_its_price() -> None:
    assert read().cost_wei is None
    assert read(effectiveGasPrice="0x1312d00").cost_wei == 21_000 * 20_000_000
    assert read(effectiveGasPrice="0x0").cost_wei == 0


@pytest.mark.parametrize("changed", [{"blockNumber": None}, {"logs": [{**LOG, "type": "pending"}]}])
def test_a_receipt_of_a_block_to_come_is_none_yet(changed: dict[str, Any]) -> None:
    assert read(**changed) is None
    assert receipts.parse(None) is None


@pytest.mark.parametrize(
    "raw",
    [
        "0x",
        {},
        {**RECEIPT, "status": None},
        {**RECEIPT, "status": "yes"},
        {**RECEIPT, "logs": [{}]},
        {**RECEIPT, "logs": None},
        {**RECEIPT, "transactionHash": 7},
        {**RECEIPT, "effectiveGasPrice": 7},
    ],
)
def test_a_receipt_of_another_shape_is_an_error(raw: object) -> None:
    with pytest.raises(ChainError, match="receipt of another shape"):
        receipts.parse(raw)


def test_logs_without_topics_prove_nothing() -> None:
    found = read(logs=[{**LOG, "topics": []}])

    assert receipts.confirmation(found, ActionKind.REVEAL, TASK, WALLET, 50) is None


def test_block_zero_proves_nothing() -> None:
    found = read(logs=[{**LOG, "blockNumber": "0x0"}])

    assert receipts.confirmation(found, ActionKind.REVEAL, TASK, WALLET, 50) is None


def test_the_event_of_another_action_proves_nothing() -> None:
    assert receipts.confirmation(read(), ActionKind.CONTRIBUTE, TASK, WALLET, 50) is None
    assert receipts.confirmation(read(), ActionKind.REVEAL, TASK, WALLET, 50) is not None


def reward(owner: str = WALLET, amount: int = 7, reference: str = TASK) -> Log:
    words = (receipts.address_topic(owner), f"{amount:064x}", reference)
    data = "0x" + "".join(word.removeprefix("0x") for word in words)
    return Log((receipts.REWARD,), data, 5, "0x" + "5a" * 32)


def test_a_reward_is_what_the_wallet_is_paid_for_this_task() -> None:
    others = (reward(owner="0x" + "33" * 20), reward(reference="0x" + "44" * 32))

    assert receipts.reward_nrlc([*others, reward(), reward(amount=2)], TASK, WALLET) == 9
    assert receipts.reward_nrlc(others, TASK, WALLET) == 0


def test_another_event_with_the_same_words_is_no_reward() -> None:
    other = replace(reward(), topics=(receipts.TASK_FINALIZE,))

    assert receipts.reward_nrlc([other], TASK, WALLET) == 0
