"""The sandbox's deals and tasks as the chain tells them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass

from eth_utils.crypto import keccak

from iexworker.errors import SandboxError
from iexworker.sandbox.chain.chain import TASK_STATUS, LocalChain

REVEALED = 2
"""`ContributionStatusEnum.PROVED` of the contract."""

ENDED = ("COMPLETED", "FAILED")
TASKS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Task:
    """One task; hashes are lower-case texts with 0x, workers are named by role where known."""

    task_id: str
    deal_id: str
    index: int
    status: str
    contributors: tuple[str, ...]
    winners: tuple[str, ...]
    """Those whose contribution was revealed, and who are paid once it is COMPLETED."""
    results: bytes
    """What the scheduler finalised it with: a JSON link to the result."""
    callback: bytes = b""
    """What the callback contract was given."""

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.status in ENDED


def tasks(chain: LocalChain) -> list[Task]:
    """Read every task that was bought from the sandbox's workerpool, the oldest first."""
    return [_task(chain, *place) for place in _places(chain)]


def task(chain: LocalChain, task_id: str) -> Task:
    """Read one task by its id, or by an unmistakable beginning of it.

    Raises:
        SandboxError: there is no such task, or several.

    """
    wanted = task_id.lower()
    found = [place for place in _places(chain) if _task_id(*place).startswith(wanted)]
    if len(found) != 1:
        count = f"{len(found)} tasks begin" if found else "no task begins"
        own = [] if found else _tasks_of_deal(chain, wanted)
        hint = f"it is a deal, with {', '.join(own)}" if own else "see `iexworker sandbox tasks`"
        raise SandboxError(f"{count} with {task_id}: {hint}")
    return _task(chain, *found[0])


def callback_address(of: Task) -> str:
    """Give the contract that a task's result went to, empty for one that went elsewhere."""
    try:
        link = json.loads(of.results)
        return str(link["location"]) if link["storage"] == "ethereum" else ""
    except (ValueError, KeyError, TypeError):
        return ""


def result_location(of: Task) -> str:
    """Give the path of a task's result in the store, like `/ipfs/Qm...`.

    Raises:
        SandboxError: the task has no result, or not in the store.

    """
    if not of.results:
        raise SandboxError(f"task {of.task_id} is {of.status} and has no result")
    try:
        location = json.loads(of.results)["location"]
    except (ValueError, KeyError, TypeError):
        location = ""
    if not str(location).startswith("/ipfs/"):
        shown = of.results.decode(errors="replace")
        raise SandboxError(f"task {of.task_id} has no result in the sandbox's store, but: {shown}")
    return str(location)


def _deals(chain: LocalChain) -> Iterator[bytes]:
    pool = {"workerpool": chain.deployed["workerpool"]}
    events = chain.hub.events.SchedulerNotice.get_logs(from_block=0, argument_filters=pool)
    for event in events:
        yield event["args"]["dealid"]


def _places(chain: LocalChain) -> Iterator[tuple[bytes, int]]:
    """Give the deal and the index of every task, initialised or not."""
    for deal_id in _deals(chain):
        deal = chain.struct("viewDeal", deal_id)
        for index in range(deal["botFirst"], deal["botFirst"] + deal["botSize"]):
            yield deal_id, index


def _tasks_of_deal(chain: LocalChain, beginning: str) -> list[str]:
    """List the tasks of the deal whose id begins so; of several, or of many tasks, the first."""
    places = ((deal, index) for deal, index in _places(chain) if _hex(deal).startswith(beginning))
    return [_task_id(*place) for place in itertools.islice(places, TASKS_SHOWN)]


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _task_id(deal_id: bytes, index: int) -> str:
    return "0x" + keccak(deal_id + index.to_bytes(32, "big")).hex()


def _task(chain: LocalChain, deal_id: bytes, index: int) -> Task:
    task_id = _task_id(deal_id, index)
    seen = chain.struct("viewTask", task_id)
    winners = [
        one
        for one in seen["contributors"]
        if chain.struct("viewContribution", task_id, one)["status"] == REVEALED
    ]
    return Task(
        task_id=task_id,
        deal_id=_hex(deal_id),
        index=index,
        status=TASK_STATUS[seen["status"]],
        contributors=tuple(_role(chain, one) for one in seen["contributors"]),
        winners=tuple(_role(chain, one) for one in winners),
        results=seen["results"],
        callback=seen["resultsCallback"],
    )


def _role(chain: LocalChain, address: str) -> str:
    roles = (role for role, one in chain.accounts.items() if one.address == address)
    return next(roles, address)
