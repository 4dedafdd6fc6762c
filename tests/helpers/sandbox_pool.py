"""The sandbox's scheduler with a clock, chain, result proxy and push channel that the test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from iexworker.poco.hashing import keccak
from iexworker.sandbox.network.network import Timers
from iexworker.sandbox.scheduler.bodies import Registration
from iexworker.sandbox.scheduler.context import World
from iexworker.sandbox.scheduler.interfaces import (
    ChainContribution,
    ChainRefused,
    ChainTask,
    ChainTaskStatus,
    ChainUnreachable,
    ContributionStatus,
    Mined,
)
from iexworker.sandbox.scheduler.models import (
    ZERO_ADDRESS,
    AbortCause,
    Action,
    Deal,
    Details,
    Profile,
    Replicate,
    ReplicateStatus,
    Task,
    TaskStatus,
)
from iexworker.sandbox.scheduler.replicates import Outcome, Verdict
from iexworker.sandbox.scheduler.scheduler import Addresses, Scheduler
from iexworker.sandbox.scheduler.store import Book

ALICE = "0x" + "aa" * 20
BOB = "0x" + "bb" * 20
CAROL = "0x" + "cc" * 20
HASH = "0x" + "11" * 32
OTHER_HASH = "0x" + "22" * 32
OWNER_KEY = b"\1" * 32
"""Of the workerpool's owner, who signs the authorisations."""
NOW_S = 1_800_000_000
TIMEREF_S = 300
BLOCK_TIME_S = 1.0
LINK = '{ "storage": "ipfs", "location": "/ipfs/Qm" }'

STEPS = (
    *("STARTING", "STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED", "DATA_DOWNLOADING"),
    *("DATA_DOWNLOADED", "COMPUTING", "COMPUTED", "CONTRIBUTING", "CONTRIBUTED", "REVEALING"),
    *("REVEALED", "RESULT_UPLOADING", "RESULT_UPLOADED", "COMPLETING", "COMPLETED"),
)
"""What a worker tells of a standard task, in order."""


def status(name: str) -> ReplicateStatus:
    return ReplicateStatus[name]


class FakeClock:
    """Stands still until the test, or a sleeper, moves it."""

    def __init__(self) -> None:
        self.time_s = float(NOW_S)
        self.slept: list[float] = []

    def now_s(self) -> float:
        return self.time_s

    def sleep(self, duration_s: float) -> None:
        self.slept.append(duration_s)
        self.time_s += duration_s


class PoolChain:
    """A chain on which things are so because the test says so."""

    owner: str | None = None
    """Of the workerpool of every deal."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.reachable = True
        self.tasks: dict[str, ChainTask] = {}
        self.contributions: dict[tuple[str, str], ChainContribution] = {}
        self.weights: dict[str, int] = {}
        self.deals: list[tuple[int, Deal]] = []
        self.block = 100
        self.block_at_s: float | None = None
        self.gas = True
        self.mines = True
        self.reverts = False
        self.out_of_gas = False
        self.refuses = ""
        """Why the node takes no transaction."""
        self.sent: list[tuple[str, ...]] = []

    def head(self) -> tuple[int, int]:
        self._reach()
        at_s = self._clock.now_s() if self.block_at_s is None else self.block_at_s
        return self.block, int(at_s)

    def deals_since(self, block: int) -> Sequence[tuple[int, str]]:
        self._reach()
        return [(at, deal.deal_id) for at, deal in self.deals if at >= block]

    def deal(self, deal_id: str) -> Deal | None:
        self._reach()
        return next((deal for _, deal in self.deals if deal.deal_id == deal_id), None)

    def deal_owner(self, deal_id: str) -> str | None:
        self._reach()
        return self.owner

    def task(self, task_id: str) -> ChainTask | None:
        self._reach()
        return self.tasks.get(task_id)

    def contribution(self, task_id: str, wallet: str) -> ChainContribution:
        self._reach()
        unset = ChainContribution(ContributionStatus.UNSET, "0x" + "00" * 32, 0)
        return self.contributions.get((task_id, wallet), unset)

    def worker_weight(self, wallet: str) -> int:
        self._reach()
        return self.weights.get(wallet, 2)

    def consensus_block(self, task_id: str) -> int:
        return self.block

    def has_gas(self, wallet: str) -> bool:
        return self.gas

    def initialize(self, deal_id: str, index: int) -> str:
        self._take()
        self.sent.append(("initialize", deal_id, str(index)))
        task_id = task_of(deal_id, index)
        if self.mines and not self.reverts:
            self.tasks[task_id] = chain_task(deal_id)
        return f"init-{len(self.sent)}"

    def finalize(self, task_id: str, results: str, callback_data: str) -> str:
        self._take()
        self.sent.append(("finalize", task_id, results, callback_data))
        if self.mines and not self.reverts:
            self.change(task_id, status=ChainTaskStatus.COMPLETED)
        return f"finalize-{len(self.sent)}"

    def mined(self, transaction: str) -> Mined | None:
        self._reach()
        return Mined(self.block, not self.reverts, self.out_of_gas) if self.mines else None

    def change(self, task_id: str, **fields: object) -> None:
        self.tasks[task_id] = replace(self.tasks[task_id], **fields)  # type: ignore[arg-type]  # names are the fields'

    def contribute(self, task_id: str, wallet: str, result_hash: str = HASH) -> None:
        made = ChainContribution(ContributionStatus.CONTRIBUTED, result_hash, 1)
        self.contributions[task_id, wallet] = made

    def agree(self, task_id: str, winners: int, result_hash: str = HASH) -> None:
        self.change(
            task_id,
            status=ChainTaskStatus.REVEALING,
            consensus=result_hash,
            winners=winners,
            reveal_deadline_s=int(self._clock.now_s()) + 2 * TIMEREF_S,
        )

    def reveal(self, task_id: str, wallet: str) -> None:
        made = self.contributions[task_id, wallet]
        self.contributions[task_id, wallet] = replace(made, status=ContributionStatus.PROVED)
        self.change(task_id, reveals=self.tasks[task_id].reveals + 1)

    def _take(self) -> None:
        self._reach()
        if self.refuses:
            raise ChainRefused(self.refuses)

    def _reach(self) -> None:
        if not self.reachable:
            raise ChainUnreachable("the test cut the line")


def task_of(deal_id: str, index: int = 0) -> str:
    return "0x" + keccak(bytes.fromhex(deal_id[2:]), index.to_bytes(32, "big")).hex()


def chain_task(deal_id: str) -> ChainTask:
    final_s = NOW_S + 10 * TIMEREF_S
    return ChainTask(ChainTaskStatus.ACTIVE, deal_id, "0x" + "00" * 32, 0, final_s, 0, 0)


class FakeResults:
    """A result proxy that has what the test put there."""

    def __init__(self) -> None:
        self.tasks: set[str] = set()

    def has_result(self, task_id: str) -> bool:
        return task_id in self.tasks


@dataclass(frozen=True)
class Pushed:
    task_id: str
    action: Action
    recipients: tuple[str, ...]
    block: int | None
    cause: AbortCause | None


class FakePush:
    """A push channel that remembers."""

    def __init__(self) -> None:
        self.sent: list[Pushed] = []

    def publish(
        self,
        task_id: str,
        action: Action,
        recipients: Sequence[str],
        *,
        block: int | None = None,
        cause: AbortCause | None = None,
    ) -> None:
        self.sent.append(Pushed(task_id, action, tuple(recipients), block, cause))

    def actions(self) -> list[str]:
        return [one.action.value for one in self.sent]


class Pool:
    """A scheduler and what surrounds it; one turn of its engine after each call of the helpers."""

    def __init__(
        self, profile: str = "9", path: Path | None = None, timers: Timers | None = None
    ) -> None:
        self.clock = FakeClock()
        self.chain = PoolChain(self.clock)
        self.results = FakeResults()
        self.push = FakePush()
        self.path = path
        self.profile = Profile(profile)
        self.timers = timers or Timers()
        self.start()

    def start(self) -> None:
        self.boot()
        self.scheduler.turn()
        self.pass_time(1)

    def boot(self) -> None:
        """Have a scheduler that has not had a turn yet."""
        self.book = Book(self.path)
        self.world = World(
            profile=self.profile,
            clock=self.clock,
            chain=self.chain,
            results=self.results,
            push=self.push,
            timers=self.timers,
            block_time_s=BLOCK_TIME_S,
        )
        self.scheduler = Scheduler(
            self.world, self.book, Addresses("0xP", "0xS", "http://c", "http://r"), OWNER_KEY
        )

    def restart(self) -> None:
        self.book.close()
        self.start()

    # --- time ---

    def pass_time(self, duration_s: float, *, pinging: Sequence[str] = ()) -> None:
        """Let time pass in steps of a second at most; a block comes with each."""
        until_s = self.clock.time_s + duration_s
        while self.clock.time_s < until_s:
            self.clock.time_s = min(until_s, self.clock.time_s + 1)
            self.chain.block += 1
            for wallet in pinging:
                self.scheduler.ping(wallet)
            self.scheduler.turn()

    # --- tasks and workers ---

    def buy(self, number: int = 1, **fields: object) -> Task:
        """Buy one task and have it initialised."""
        deal_id = "0x" + f"{number:064x}"
        deal = Deal(
            deal_id=deal_id,
            trust=1,
            tag="0x" + "00" * 32,
            app_type="DOCKER",
            app_image="app",
            command="",
            callback=ZERO_ADDRESS,
            max_execution_ms=TIMEREF_S * 1000,
            start_s=int(self.clock.time_s),
            first=0,
            size=1,
        )
        deal = replace(deal, **fields)  # type: ignore[arg-type]  # names are the fields'
        self.chain.deals.append((self.chain.block, deal))
        self.scheduler.tasks.receive(deal, 0, task_of(deal_id))
        self.scheduler.turn()
        self.pass_time(1)
        return self.book.tasks[task_of(deal_id)]

    def join(self, *wallets: str, slots: int = 4, **fields: object) -> None:
        told = Registration("w", "Linux", "amd64", slots, 8, tee=False, gpu=False, tdx=False)
        for wallet in wallets:
            self.scheduler.register(wallet, replace(told, **fields))  # type: ignore[arg-type]  # as above

    def ask(self, wallet: str) -> str | None:
        """Ask for work after the period; return the task given."""
        self.clock.time_s += 5
        found = self.scheduler.available(wallet, self.chain.block)
        if found is None:
            return None
        authorization = found["workerpoolAuthorization"]
        assert isinstance(authorization, dict)
        return str(authorization["chainTaskId"])

    def give(self, task: Task, *wallets: str) -> None:
        for wallet in wallets:
            assert self.ask(wallet) == task.task_id

    def tell(self, task: Task, wallet: str, name: str, details: Details | None = None) -> Outcome:
        outcome = self.scheduler.update(task.task_id, wallet, status(name), details or Details())
        self.scheduler.turn()
        return outcome

    def must_tell(self, task: Task, wallet: str, *names: str) -> None:
        for name in names:
            found = self.tell(task, wallet, name, details_for(name))
            assert found.verdict is Verdict.RECORDED, (name, found)

    def bring(self, task: Task, wallet: str, last: str) -> None:
        """Bring a worker of its own to a state; chain and proxy follow (trust 1 for consensus)."""
        done = [one.status.value for one in task.replicates[wallet].history]
        for name in STEPS[: STEPS.index(last) + 1]:
            if name in done:
                continue
            if name == "CONTRIBUTED":
                self.chain.contribute(task.task_id, wallet)
                if task.deal.trust == 1:
                    self.chain.agree(task.task_id, 1)
            elif name == "REVEALED":
                self.chain.reveal(task.task_id, wallet)
            elif name == "RESULT_UPLOADED":
                self.results.tasks.add(task.task_id)
            self.must_tell(task, wallet, name)

    def replicate(self, task: Task, wallet: str = ALICE) -> Replicate:
        return task.replicates[wallet]

    def task_at(self, last: str, wallet: str = ALICE, **fields: object) -> Task:
        """Buy a task and bring one worker to a state of it."""
        task = self.buy(**fields)  # type: ignore[arg-type]  # names are those of `buy` and of a deal
        self.join(wallet)
        self.give(task, wallet)
        if last != "CREATED":
            self.bring(task, wallet, last)
        return task


def details_for(name: str) -> Details:
    if name == "RESULT_UPLOADED":
        return Details(result_link=LINK, callback_data="")
    if name == "COMPUTED":
        return Details(exit_code=0, stdout="done\n")
    return Details()


def names(task: Task) -> list[str]:
    return [one.status.value for one in task.history]


def history(replicate: Replicate) -> list[str]:
    return [one.status.value for one in replicate.history]


def is_at(task: Task, name: str) -> bool:
    return task.status is TaskStatus[name]
