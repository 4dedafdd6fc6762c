"""Tasks and contributions, and a chain that shows them, for the tests of what was lost."""

from __future__ import annotations

from pathlib import Path

from iexworker.outbox.gas import PriceRule
from iexworker.poco.hashing import result_hash, task_id
from iexworker.poco.models import (
    ZERO_ADDRESS,
    ZERO_BYTES32,
    ActionKind,
    ChainConfiguration,
    ChainReceipt,
    ChainTask,
    Contribution,
    ContributionStatus,
    Sighting,
    TaskDescription,
    TaskStatus,
)
from iexworker.scheduling.chain_gateway import ChainGateway
from tests.helpers.fake_chain import BLOCK_TIME_S, CHAIN_ID, HUB, FakeChain
from tests.helpers.fake_chain import WALLET as FAKE_WALLET
from tests.helpers.fake_gateway import gateway_class
from tests.helpers.task_descriptions import description

WALLET = "0x" + "11" * 20
DEAL = "0x" + "cd" * 32
TASK = task_id(DEAL, 0)
DIGEST = "0x" + "dd" * 32
OTHER_DIGEST = "0x" + "ee" * 32
SIGNATURE = "0x" + "5a" * 65
TX, REVEAL_TX = "0x" + "cc" * 32, "0x" + "cb" * 32
MINED, REVEALED = ChainReceipt(7, TX), ChainReceipt(9, REVEAL_TX)
NOW_S, CONTRIBUTION_DEADLINE_S, FINAL_DEADLINE_S = 1_000, 2_000, 3_000
TIME_REFERENCE_S = 300


def task(
    status: TaskStatus = TaskStatus.ACTIVE, number: int = 0, digest: str | None = None
) -> ChainTask:
    identifier = task_id(DEAL, number)
    return ChainTask(
        task_id=identifier,
        status=status,
        deal_id=DEAL,
        index=number,
        time_reference_s=TIME_REFERENCE_S,
        contribution_deadline_s=CONTRIBUTION_DEADLINE_S,
        reveal_deadline_s=FINAL_DEADLINE_S if digest else 0,
        final_deadline_s=FINAL_DEADLINE_S,
        consensus=result_hash(identifier, digest) if digest else ZERO_BYTES32,
        reveal_counter=0,
        winner_counter=1 if digest else 0,
        contributors=(),
        results="0x",
    )


def contribution(
    status: ContributionStatus = ContributionStatus.UNSET, number: int = 0, digest: str = DIGEST
) -> Contribution:
    if status is ContributionStatus.UNSET:
        return Contribution(status, ZERO_BYTES32, ZERO_BYTES32, ZERO_ADDRESS)
    hashed = result_hash(task_id(DEAL, number), digest)
    return Contribution(status, hashed, ZERO_BYTES32, ZERO_ADDRESS)


def sighting(
    task_status: TaskStatus = TaskStatus.ACTIVE,
    status: ContributionStatus = ContributionStatus.UNSET,
    head_s: int = NOW_S,
    number: int = 0,
) -> Sighting:
    agreed = DIGEST if task_status is not TaskStatus.ACTIVE else None
    return Sighting(task(task_status, number, agreed), contribution(status, number), head_s)


def describe(number: int = 0, **changes: object) -> TaskDescription:
    changes = {
        "contribution_deadline_s": CONTRIBUTION_DEADLINE_S,
        "final_deadline_s": FINAL_DEADLINE_S,
        **changes,
    }
    return description(task_id=task_id(DEAL, number), deal_id=DEAL, index=number, **changes)


def new_chain() -> FakeChain:
    """Return a chain without a task, at `NOW_S`."""
    chain = FakeChain()
    chain.time_s = NOW_S
    return chain


def put(chain: FakeChain, seen: Sighting, **changes: object) -> str:
    """Show a task; `changes` are fields of its description."""
    number, status = seen.task.index, seen.contribution.status
    mined = ChainReceipt(MINED.block_number, TX if number == 0 else task_id(DEAL, number))
    receipts = {} if status is ContributionStatus.UNSET else {ActionKind.CONTRIBUTE: mined}
    if status is ContributionStatus.PROVED:
        receipts[ActionKind.REVEAL] = REVEALED
    chain.show(seen, describe(number, **changes), receipts, SIGNATURE)
    return seen.task.task_id


def open_gateway(chain: FakeChain) -> ChainGateway:
    """Return the worker's gateway on that chain; close it."""
    configuration = ChainConfiguration(CHAIN_ID, HUB, "http://node", True, BLOCK_TIME_S)
    free = PriceRule(0.0, 0)
    return gateway_class(chain)(configuration, "", FAKE_WALLET, free, None, Path("no journal"))
