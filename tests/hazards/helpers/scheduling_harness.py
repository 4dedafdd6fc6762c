"""The worker's task machinery among a sandbox scheduler, its chain and a scripted slot.

Real are journal, runner, lifecycle, effects, gateway, slots and sender, and the scheduler's state
machine with its clock, which only the test moves; the calls between them are made without HTTP.
Pauses and patience are scaled down.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from iexworker import retry
from iexworker.compute.folders import TaskFolder
from iexworker.core.client import Answer
from iexworker.core.messages import AbortCause as WireCause
from iexworker.core.messages import AnswerKind, Grant, Notification, NotificationType
from iexworker.errors import SchedulerError
from iexworker.outbox.actions import ActionMined
from iexworker.outbox.gas import PriceRule
from iexworker.poco.models import ChainConfiguration, Profile, TaskDescription
from iexworker.sandbox.network.network import Timers
from iexworker.sandbox.scheduler.models import ENDED, Details, Task
from iexworker.sandbox.scheduler.replicates import Verdict
from iexworker.scheduling import effects
from iexworker.scheduling.chain_polling import SLOW_S, ChainPoller
from iexworker.scheduling.collaborators import Collaborators
from iexworker.scheduling.containers import Sweeper
from iexworker.scheduling.effects import EffectExecutor
from iexworker.scheduling.runner import Runner
from iexworker.scheduling.slots import Slots
from iexworker.scheduling.status_updates import StatusUpdates
from iexworker.shared.channels import Channel, Order, Outcome
from iexworker.task import events, push_timeout
from iexworker.task.journal import Journal, connect
from iexworker.task.replicate import Replicate, Step, Update
from iexworker.wallet import Wallet
from tests.hazards.helpers.hazard_check import patience_s
from tests.hazards.helpers.pool_chain import PoolNode
from tests.hazards.helpers.scripted_slot import FakeDocker, finished
from tests.helpers.fake_gateway import gateway_class
from tests.helpers.sandbox_pool import LINK, Pool

POLL_S = 0.005
STEP_S = 0.05
"""What passes for the scheduler between two looks: its clock must not outrun a busy machine."""
CHAIN = ChainConfiguration(134, "0x" + "42" * 20, "http://node", True, 1.0)
TIMERS = Timers(finalize_delay_s=0.5)
_BEFORE_CONSENSUS = ("RECEIVED", "INITIALIZING", "INITIALIZED", "RUNNING", "FAILED")
_KINDS = {
    Verdict.RECORDED: AnswerKind.ACCEPTED,
    Verdict.ALREADY: AnswerKind.ALREADY,
    Verdict.REFUSED: AnswerKind.REFUSED,
}

Scenario = Callable[["SchedulingHarness"], Coroutine[object, object, None]]


class SchedulingHarness:
    """One worker and all around it."""

    def __init__(self, folder: Path, pool: Pool, slots: int) -> None:
        self.folder = folder
        self.pool = pool
        self.wallet = Wallet(secrets.token_bytes(32))
        self.node = PoolNode(pool, self.wallet.address)
        self.docker = FakeDocker()
        self.channels = [Channel(f"orders-{index}") for index in range(slots)]
        self.held: set[str] = set()
        """Steps that the slots begin and do not end."""
        self.orders: list[Order] = []
        self.scheduler_trouble = ""
        self.post_troubles: list[Exception] = []
        """What the next updates end with, one each."""
        self.refuses: set[str] = set()
        """Statuses that the scheduler refuses, without a look at the replicate."""
        self.hears = True
        """Whether what is pushed reaches us."""
        self.topics: set[str] = set()
        self.posts: list[tuple[str, str]] = []
        """Every update sent: task and status."""
        self.begun_uploads: list[str] = []
        self.uploads: list[str] = []
        self.upload_trouble: Exception | None = None
        self.upload_hangs = False
        self._heard = 0
        self._now_s = 0.0
        self._life: list[asyncio.Task[None]] = []
        pool.join(self.wallet.address, slots=slots)

    # --- the worker's life -----------------------------------------------------------------------

    async def start(self) -> None:
        """Make the worker's parts on the journal, and recover."""
        self.journal = Journal(connect(self.folder / "journal.sqlite"))
        self.gateway = await asyncio.to_thread(
            gateway_class(self.node),
            CHAIN,
            "",
            self.wallet,
            PriceRule(1.0, 0),
            None,
            self.folder / "journal.sqlite",
        )
        self.slots = Slots(self.channels, self._outcome)
        self.allowed = asyncio.Event()
        self.allowed.set()
        self.sweeper = Sweeper(self.docker, lambda: self.journal.replicates(self.gateway.key))
        self.runner = Runner(self.journal, self.gateway.key, self._make_effects, lambda: None)
        self.poller = ChainPoller(
            self.runner.replicates,
            self.effects.observe,
            1.0,
            lambda: 0.0,
            lambda task_id: self.runner.push_timeout(task_id).ends_s(0.0),
        )
        before = asyncio.all_tasks()
        loops = (self._work(), self._mine(), self.sweeper.run())
        self._life = [asyncio.create_task(loop) for loop in loops]
        self._before = before
        await self.sweeper.sweep()
        self.runner.recover()

    def _make_effects(self, runner: Runner) -> EffectExecutor:
        collaborators = Collaborators(
            chain=self.gateway,
            slots=self.slots,
            sweeper=self.sweeper,
            folder_of=self.folder_of,
            subscribe=self.topics.add,
            unsubscribe=self.topics.discard,
            upload=self.upload,
            scheduler_task=self._scheduler_task,
            returned_s=lambda: 0.0,
            stake_too_low=lambda _: None,
            tee_refusal=lambda _: None,
        )
        updates = StatusUpdates(runner, self.post, self.allowed)
        self.effects = EffectExecutor(collaborators, runner, updates)
        return self.effects

    async def crash(self) -> None:
        """Lose all but journal, folders and containers."""
        doomed = asyncio.all_tasks() - self._before
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)
        self.journal.close()
        self.gateway.close()
        for channel in self.channels:
            while not channel.empty():
                channel.get_nowait()
        self.orders.clear()

    def close(self) -> None:
        self.journal.close()
        self.gateway.close()
        self.pool.book.close()
        for channel in self.channels:
            channel.close()

    def folder_of(self, task_id: str) -> Path:
        return self.folder / task_id

    # --- what a scenario does ----------------------------------------------------------------

    def grant(self, number: int = 1, **deal: object) -> Task:
        """Buy a task and have it granted to us."""
        task = self.buy(number, **deal)
        self.take(task)
        return task

    def buy(self, number: int = 1, **deal: object) -> Task:
        """Buy a task."""
        return self.pool.buy(number, **deal)

    def take(self, task: Task) -> None:
        """Ask for work, and get that task."""
        self.pool.clock.time_s += 5
        found = self.pool.scheduler.available(self.wallet.address, self.pool.chain.block)
        grant = Grant.from_json(found)
        assert grant.authorization.task_id == task.task_id
        self.runner.grant(grant, Profile(self.pool.profile.value))

    def asks_in_vain(self) -> bool:
        """Tell whether the scheduler has no slot, or no task, for us."""
        self.pool.clock.time_s += 5
        return self.pool.scheduler.available(self.wallet.address, self.pool.chain.block) is None

    def statuses(self, task: Task) -> list[str]:
        """Return what the scheduler has recorded of our replicate."""
        return [one.status.value for one in task.replicates[self.wallet.address].history]

    def record(self, task: Task) -> Replicate:
        """Return the worker's record of a task that has not ended."""
        found = self.runner.get(task.task_id)
        assert found is not None, "the worker has forgotten the task"
        return found

    def has(self, task: Task, *names: str) -> Callable[[], bool]:
        """Return a look at whether the scheduler has recorded these statuses of ours."""
        return lambda: set(names) <= set(self.statuses(task))

    async def comes_to(self, task: Task, name: str) -> None:
        """Wait until the scheduler has recorded this status."""
        await self.until(self.has(task, name), name)

    async def completes(self, *tasks: Task) -> None:
        """Wait, and let the chain and the scheduler's clock go on, until these tasks have ended."""
        await self.until(lambda: all(map(self.has_ended, tasks)), "COMPLETED")
        await self.forgets(*tasks)

    async def forgets(self, *tasks: Task) -> None:
        """Wait until the worker has no record of these tasks."""
        known = self.runner.replicates
        await self.until(lambda: not any(one.task_id in known for one in tasks), "no record left")

    async def until(self, look: Callable[[], bool], what: str) -> None:
        """Wait for what the worker does by itself; it looks at the chain meanwhile."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + patience_s()
        while not look():
            assert loop.time() < until_s, f"waited in vain: {what}{self._told()}"
            self.look()
            await asyncio.sleep(POLL_S)

    def _told(self) -> str:
        """Describe all tasks for whoever has to find out why one does not go on."""
        return "".join(
            f"\n{task.task_id}: task {task.status.value}, ours {self.statuses(task)},"
            f" sent {[status for one, status in self.posts if one == task.task_id][-9:]},"
            f" ours is {self._state(task)}"
            for task in self.pool.book.tasks.values()
            if self.wallet.address in task.replicates
        )

    def _state(self, task: Task) -> str:
        found = self.runner.get(task.task_id)
        return "forgotten" if found is None else f"{found.step.value} {found.work.value}"

    async def rest(self, seconds: float = 0.1) -> None:
        """Give the worker time to do what it must not do."""
        await asyncio.sleep(seconds)

    def look(self) -> None:
        """Let so much time pass that the worker looks at the chain for each of its tasks."""
        self.poller.turn(self._now_s)
        self._now_s += 2 * SLOW_S
        self.poller.turn(self._now_s)

    async def computes(self, task: Task) -> None:
        """Wait until a slot computes the task."""
        await self.until(lambda: task.task_id in self.docker.running, "the app runs")

    def push(self, task: Task, kind: NotificationType, *, block: int = 0) -> None:
        """Push a message to us alone, whatever the scheduler thinks of it."""
        recipients = (self.wallet.address,)
        self.runner.notify(Notification(task.task_id, recipients, kind, block_number=block))

    def push_abort(self, task: Task) -> None:
        """Push an abort to us alone."""
        self.push(task, NotificationType.PLEASE_ABORT)

    def pass_time(self, seconds: float, *others: str) -> None:
        """Let the scheduler's and the chain's time pass while we, and others, ping."""
        self.pool.pass_time(seconds, pinging=(self.wallet.address, *others))
        self._deliver()

    # --- around the worker -----------------------------------------------------------------------

    def has_ended(self, task: Task) -> bool:
        """Tell whether a task is COMPLETED; else let a little time pass."""
        if task.status in ENDED:
            return task.status.value == "COMPLETED"
        self.pass_time(STEP_S)
        return False

    async def post(self, task_id: str, update: Update) -> Answer:
        """Give the scheduler an update."""
        self.posts.append((task_id, update.status.value))
        await asyncio.sleep(0)
        if self.post_troubles:
            raise self.post_troubles.pop(0)
        if self.scheduler_trouble:
            raise SchedulerError(self.scheduler_trouble)
        details = Details(
            receipt_block=update.receipt.block_number if update.receipt else 0,
            result_link=update.result_link,
            callback_data=update.callback_data,
            cause=update.cause,
        )
        if update.status.value in self.refuses:
            return Answer(AnswerKind.REFUSED, NotificationType.PLEASE_ABORT)
        task = self.pool.book.tasks[task_id]
        outcome = self.pool.tell(task, self.wallet.address, update.status.value, details)
        asyncio.get_running_loop().call_soon(self._deliver)
        wants = None if outcome.action is None else NotificationType[outcome.action.value]
        return Answer(_KINDS[outcome.verdict], wants)

    def _deliver(self) -> None:
        pushed, self._heard = self.pool.push.sent[self._heard :], len(self.pool.push.sent)
        for one in pushed:
            message = Notification(
                one.task_id,
                one.recipients,
                NotificationType[one.action.value],
                one.block or 0,
                WireCause.UNKNOWN if one.cause is None else WireCause[one.cause.value],
            )
            if self.hears and one.task_id in self.topics and message.concerns(self.wallet.address):
                self.runner.notify(message)

    async def _scheduler_task(self, task_id: str) -> events.SchedulerSaw:
        task = self.pool.book.tasks[task_id]
        asked = task.uploader == self.wallet.address
        return events.SchedulerSaw(task.status.value not in _BEFORE_CONSENSUS, asked)

    async def upload(self, replicate: Replicate, description: TaskDescription, folder: Path) -> str:
        """Take the archive for the result proxy."""
        self.begun_uploads.append(replicate.task_id)
        if self.upload_trouble is not None:
            raise self.upload_trouble
        while self.upload_hangs:
            await asyncio.sleep(POLL_S)
        assert TaskFolder(folder).archive.is_file(), "no archive"
        self.uploads.append(replicate.task_id)
        self.pool.results.tasks.add(replicate.task_id)
        return LINK

    async def _mine(self) -> None:
        while True:
            for result in (await self.gateway.turn_outbox())[0]:
                step = Step(result.kind.value)
                if isinstance(result, ActionMined):
                    assert result.receipt is not None
                    event: events.Event = events.Mined(step, result.receipt)
                else:
                    event = events.NotMined(step, result.cause)
                self.runner.apply(result.task_id, event)
            await asyncio.sleep(POLL_S)

    async def _work(self) -> None:
        while True:
            for index, channel in enumerate(self.channels):
                while not channel.empty():
                    message = channel.get_nowait()
                    if isinstance(message, Order):
                        self.serve(index, message)
            await asyncio.sleep(POLL_S)

    def serve(self, index: int, order: Order) -> None:
        """Do what a slot does with an order."""
        self.orders.append(order)
        if order.step == "compute":
            self.docker.running.add(order.task_id)
        if order.step not in self.held:
            self.finish(index, order)

    def finish(self, index: int, order: Order) -> None:
        """Have a slot end what it was ordered."""
        if order.step == "compute":
            self.docker.running.discard(order.task_id)
        self.slots.heard(index, finished(TaskFolder(self.folder_of(order.task_id)), order))

    def _outcome(self, message: Outcome) -> None:
        self.effects.outcome(message)


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Scale down what the worker waits for in real time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "FIRST_PAUSE_S", 0.01)
        patch.setattr(retry, "LONGEST_PAUSE_S", 0.02)
        patch.setattr(effects, "START_PATIENCE_S", 0.1)
        patch.setattr(push_timeout, "PUSH_PATIENCE_S", -1.0)
        patch.setattr(push_timeout, "MISSED_PATIENCE_S", -1.0)
        yield


def leave() -> None:
    """End the process as a worker would: SystemExit would end the tests' own."""
    asyncio.get_running_loop().stop()


def run_scenario(scenario: Scenario, *, slots: int = 1, profile: str = "9") -> None:
    """Run one scenario on a harness of its own; a worker that leaves has failed."""

    async def act(harness: SchedulingHarness) -> None:
        await harness.start()
        await scenario(harness)

    with tempfile.TemporaryDirectory() as folder, hurried():
        harness = SchedulingHarness(Path(folder), Pool(profile, timers=TIMERS), slots)
        try:
            asyncio.run(act(harness))
        except RuntimeError as error:
            if "Event loop stopped" not in str(error):
                raise
            raise AssertionError("the process has left") from error
        finally:
            harness.close()
