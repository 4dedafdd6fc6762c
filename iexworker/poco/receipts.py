"""What a mined transaction proves, pure (05, section 4.6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from iexworker.errors import ChainError
from iexworker.poco.models import ActionKind, ChainReceipt, Log, Receipt

TASK_CONTRIBUTE = "0x3fdb8d7797562d49a81078dbf7fa1771958ea452f8b13d1148383bd9506aecfb"
TASK_REVEAL = "0x4b1763d473ac8fa80b4432ba90047e1b92444d8fabc55e6a002d9b1a316d7959"
TASK_FINALIZE = "0x78ce8a8bc0fcb704e8ba3b3dbb36aa88002df8038128b4af2f27ef65db665044"
REWARD = "0xc2aca55aa696938c7e95842e8939ca0fbb2120a3eeb8948cdcee2b70da566672"
"""`Reward(address owner, uint256 amount, bytes32 ref)` of the escrow; nothing of it is indexed."""

EVENTS: Mapping[ActionKind, str] = {
    ActionKind.CONTRIBUTE: TASK_CONTRIBUTE,
    ActionKind.REVEAL: TASK_REVEAL,
    ActionKind.CONTRIBUTE_AND_FINALIZE: TASK_FINALIZE,
}
"""Topic 0 of the event that confirms each action (2.5)."""


def address_topic(wallet: str) -> str:
    """Return an address as an indexed topic of an event has it."""
    return "0x" + wallet.removeprefix("0x").lower().rjust(64, "0")


def topics(kind: ActionKind, task_id: str, wallet: str) -> list[str]:
    """Return the topics of the event that confirms `kind`; TaskFinalize names no worker."""
    found = [EVENTS[kind], task_id]
    if kind is ActionKind.CONTRIBUTE_AND_FINALIZE:
        return found
    return [*found, address_topic(wallet)]


def parse(raw: object) -> Receipt | None:
    """Read a node's receipt; None while the transaction is not in a block yet.

    Raises `ChainError` for one of another shape.
    """
    if raw is None:
        return None
    try:
        return _receipt(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChainError(f"receipt of another shape ({type(error).__name__}: {error})") from None


def _receipt(raw: Any) -> Receipt | None:  # noqa: ANN401 - any JSON value
    # Some nodes give a receipt for what they only intend to mine.
    if raw["blockNumber"] is None or any(log.get("type") == "pending" for log in raw["logs"]):
        return None
    price = raw.get("effectiveGasPrice")
    return Receipt(
        tx_hash=raw["transactionHash"].lower(),
        success=int(raw["status"], 16) == 1,
        block_number=int(raw["blockNumber"], 16),
        gas_used=int(raw["gasUsed"], 16),
        logs=tuple(log(item) for item in raw["logs"]),
        gas_price_wei=None if price is None else int(price, 16),
    )


def log(raw: Any) -> Log:  # noqa: ANN401 - any JSON value
    """Read an event; raises `KeyError`, `TypeError` or `ValueError` for one of another shape."""
    number = raw.get("blockNumber")
    return Log(
        topics=tuple(topic.lower() for topic in raw["topics"]),
        data=raw["data"].lower(),
        block_number=None if number is None else int(number, 16),
        tx_hash=raw["transactionHash"].lower(),
    )


def confirmation(
    receipt: Receipt, kind: ActionKind, task_id: str, wallet: str, latest_block: int
) -> ChainReceipt | None:
    """Return what the scheduler is told; None when the receipt does not prove the action.

    The receipt has to be of a success and hold the action's event, of this task and wallet.
    """
    if not receipt.success:
        return None
    wanted = topics(kind, task_id, wallet)
    for entry in receipt.logs:
        if list(entry.topics[: len(wanted)]) == wanted:
            return _located(entry, latest_block)
    return None


def _located(entry: Log, latest_block: int) -> ChainReceipt | None:
    number = latest_block if entry.block_number is None else entry.block_number
    return ChainReceipt(number, entry.tx_hash) if number else None


def reward_nrlc(logs: Iterable[Log], task_id: str, wallet: str) -> int:
    """Return what these `Reward` events give the wallet for the task, in nRLC."""
    account, reference = address_topic(wallet), task_id.lower()
    return sum(
        int(log.data[66:130], 16)
        for log in logs
        if log.topics == (REWARD,)
        and log.data[:66] == account
        and "0x" + log.data[130:194] == reference
    )
