"""The loops that run once terms and chain are known: recovery, demand, polling, transactions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iexworker.core.messages import Grant
from iexworker.errors import JournalError, SchedulerError
from iexworker.poco.models import Profile, TaskDescription
from iexworker.recovery.contributions import Contributions
from iexworker.recovery.lost_grants import LostGrants
from iexworker.recovery.recovery import Recovery
from iexworker.scheduling.chain_polling import ChainPoller
from iexworker.scheduling.collaborators import Collaborators
from iexworker.scheduling.containers import Sweeper
from iexworker.scheduling.demand import Demand, Market
from iexworker.scheduling.effects import EffectExecutor
from iexworker.scheduling.gas_probe import GasProbe, gas_owed
from iexworker.scheduling.open_tasks import rows
from iexworker.scheduling.probes import ChainProbe, StakeProbe
from iexworker.scheduling.runner import Runner
from iexworker.scheduling.scheduler_queries import SchedulerQueries
from iexworker.scheduling.status_updates import Poster, StatusUpdates
from iexworker.scheduling.transactions import Transactions
from iexworker.scheduling.uploads import Uploads
from iexworker.task.replicate import Replicate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iexworker.core.client import SchedulerClient
    from iexworker.core.login import Tokens
    from iexworker.scheduling.chain_gateway import ChainGateway
    from iexworker.scheduling.connection import Connection
    from iexworker.scheduling.containers import Containers
    from iexworker.scheduling.probes import HostProbe
    from iexworker.scheduling.slots import Slots
    from iexworker.settings.model import Settings
    from iexworker.shared.board import FactsBoard
    from iexworker.task.journal import Journal
    from iexworker.wallet import Wallet

PAUSED = "paused by the operator: `iexworker resume` asks for work again"
# Without an answer, or with an unreadable one, the scheduler may still have granted a task.
_GRANT_MAY_BE_LOST = (None, 200)


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts that exist before the scheduler's terms and the chain are known."""

    settings: Settings
    wallet: Wallet
    journal: Journal
    facts: FactsBoard
    client: SchedulerClient
    tokens: Tokens
    connection: Connection
    slots: Slots
    containers: Containers
    host: HostProbe


class TaskLoop:
    """The tasks of one wallet on one chain.

    `lacking` says why the chain may show tasks that the journal lacks, empty when it does not.
    """

    def __init__(
        self, parts: Parts, gateway: ChainGateway, lacking: str, draining: Callable[[], bool]
    ) -> None:
        self._parts = parts
        self._gateway = gateway
        self._lacking = lacking
        self._draining = draining
        self._connection = parts.connection
        self._asking = asyncio.Lock()
        self._journal_errors = 0
        self._queries = SchedulerQueries(parts.client, parts.tokens, parts.wallet.address)
        self._gas_probe = GasProbe(parts.facts, gateway, self._owed_gas)
        self._chain_probe = ChainProbe(parts.facts, gateway, self._gas_probe)
        self._stake_probe = StakeProbe(parts.facts, gateway)
        self._sweeper = Sweeper(parts.containers, lambda: self.runner.replicates.values())
        self.runner = Runner(parts.journal, gateway.key, self._make_effects, self._count_error)
        self._recovery = self._make_recovery()

    async def run(self) -> None:
        """Load the journal's tasks, then run all loops for ever."""
        self.runner.recover()
        if not self._lacking:
            await self._sweeper.sweep()
        loops = (
            self._recovery,
            self._sweeper,
            self._chain_probe,
            self._stake_probe,
            ChainPoller(
                self.runner.replicates,
                self.effects.observe,
                self._gateway.configuration.block_time_s,
                lambda: self._connection.returned_s,
                self._push_timeout_ends_s,
            ),
            Demand(self._market()),
            Transactions(self._gateway, self.runner),
        )
        async with asyncio.TaskGroup() as group:
            for loop in loops:
                group.create_task(loop.run())

    def show(self) -> None:
        """Put the counts that an operator watches on the board."""
        replicates = list(self.runner.replicates.values())
        at_risk = [item for item in replicates if item.at_risk]
        tally = self._gateway.tally
        self._parts.facts.set(
            tasks_open=len(replicates),
            open_tasks=rows(replicates, self.effects.reveal_deadline_s),
            stake_at_risk=len(at_risk),
            nearest_reveal_deadline_s=min(self._reveal_deadlines_s(at_risk), default=None),
            journal_errors=self._journal_errors,
            tx_success=tally.success,
            tx_failure=tally.failure,
            tx_replaced=tally.replaced,
            tx_pending=tally.pending,
            gas_spent_wei=tally.spent_wei,
        )

    def _reveal_deadlines_s(self, replicates: Sequence[Replicate]) -> list[int]:
        """Return the reveal deadlines that the chain has shown."""
        found = [self.effects.reveal_deadline_s(item.task_id) for item in replicates]
        return [deadline_s for deadline_s in found if deadline_s]

    def _make_effects(self, runner: Runner) -> EffectExecutor:
        parts, connection = self._parts, self._connection
        folder_of = parts.settings.task_dir
        uploads = Uploads(parts.wallet, connection.current_terms)
        post = Poster(parts.client, parts.tokens, folder_of).post
        self.effects = EffectExecutor(
            Collaborators(
                chain=self._gateway,
                slots=parts.slots,
                sweeper=self._sweeper,
                folder_of=folder_of,
                subscribe=connection.stream.subscribe,
                unsubscribe=connection.stream.unsubscribe,
                upload=uploads.upload,
                scheduler_task=self._queries.saw,
                returned_s=lambda: connection.returned_s,
                stake_too_low=self._stake_probe.want,
                tee_refusal=_tee_refusal,
            ),
            runner,
            StatusUpdates(runner, post, connection.allowed),
        )
        return self.effects

    def _make_recovery(self) -> Recovery:
        root, wallet = self._parts.settings.root, self._parts.wallet.address
        grants = LostGrants(
            chain=self._gateway,
            scheduler=self._queries,
            root=root,
            wallet=wallet,
            profile=self._profile,
            known=self.runner.replicates,
            foreign=self._parts.journal.task_ids,
            asking=self._asking,
            adopt=self._adopt,
            observe=self.effects.observe,
            search_chain=self._search_chain,
        )
        return Recovery(
            lacking=self._lacking,
            rebuild=self._search_chain,
            look=grants.look,
            allowed=self._connection.allowed,
            missed=self._connection.missed,
            # Only now: until recovery is done, a container may belong to a task that it will find.
            done=self._sweeper.sweep if self._lacking else _nothing,
        )

    def _adopt(self, replicate: Replicate) -> None:
        self._connection.stream.subscribe(replicate.task_id)
        self.runner.adopt(replicate)

    async def _search_chain(self) -> None:
        contributions = Contributions(
            self._gateway,
            self._parts.settings.root,
            self._parts.wallet.address,
            self._gateway.configuration.block_time_s,
            self._profile,
        )
        nonce = (await self._gateway.nonces()).latest
        async for replicate in contributions.search(self.runner.replicates.keys()):
            self._adopt(replicate)
        self._parts.journal.set_rebuilt(self._gateway.key, nonce)

    def _push_timeout_ends_s(self, task_id: str) -> float:
        return self.runner.push_timeout(task_id).ends_s(self._connection.returned_s)

    def _count_error(self) -> None:
        self._journal_errors += 1

    def _market(self) -> Market:
        facts = self._parts.facts
        return Market(
            obstacles=(
                lambda: "the worker is stopping" if self._draining() else "",
                lambda: PAUSED if facts.read().paused else "",
                self._connection.obstacle,
                self._recovery.obstacle,
                lambda: self._parts.host.obstacle,
                self._chain_probe.obstacle,
                self._stake_probe.obstacle,
            ),
            busy=self._slots_obstacle,
            period_s=self._period_s,
            ask=self._ask,
            take=self._take,
            report=lambda asked_s, words: facts.set(
                demand_text=words, **({} if asked_s is None else {"last_demand_s": asked_s})
            ),
            pass_on=self._connection.renew,
        )

    def _slots_obstacle(self) -> str:
        held = sum(item.holds_slot for item in self.runner.replicates.values())
        return "" if held < len(self._parts.slots) else f"all slots are taken ({held})"

    def _profile(self) -> Profile:
        terms = self._connection.current_terms()
        if terms is None:
            raise SchedulerError("the scheduler's terms are not known")
        return terms.profile

    def _period_s(self) -> float:
        terms = self._connection.current_terms()
        return 5.0 if terms is None else max(terms.configuration.ask_period_ms / 1000, 0.1)

    async def _ask(self) -> Grant | None:
        block_number = self._chain_probe.block_number
        client, tokens = self._parts.client, self._parts.tokens
        async with self._asking:
            try:
                grant = await asyncio.to_thread(
                    tokens.with_token, lambda: client.available(block_number)
                )
            except SchedulerError as error:
                if error.status in _GRANT_MAY_BE_LOST:
                    self._connection.missed.set()
                raise
        self._gas_probe.answered(granted=grant is not None)
        return grant

    def _owed_gas(self) -> int:
        """Return the gas of what the tasks under way have yet to send."""
        return sum(gas_owed(item) for item in self.runner.replicates.values())

    def _take(self, grant: Grant) -> None:
        try:
            self.runner.grant(grant, self._profile())
        except JournalError:
            self._connection.missed.set()
            raise


async def _nothing() -> None:
    """Do nothing: the containers were swept before."""


def _tee_refusal(description: TaskDescription) -> str | None:
    """Return the cause for a task that needs an enclave: this worker has none to offer."""
    return None if description.tee_framework is None else "TEE_NOT_SUPPORTED"
