"""Everything that needs the chain and the terms: runner, outbox, poller, demand.

Opens as soon as the terms are known and the node answers; recovery comes before demand.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from iexworker.core.client import Answer, SchedulerClient
from iexworker.core.login import Tokens
from iexworker.core.messages import Grant, Notification
from iexworker.core.session import Terms
from iexworker.errors import ChainError, JournalError, SchedulerError
from iexworker.outbox.gas import PriceRule
from iexworker.poco.models import Profile, TaskDescription
from iexworker.recovery.contributions import Contributions
from iexworker.recovery.lost_grants import LostGrants
from iexworker.recovery.recovery import Recovery, why_incomplete
from iexworker.retry import patiently, pauses
from iexworker.scheduling.chain_polling import ChainPoller
from iexworker.scheduling.collaborators import Collaborators
from iexworker.scheduling.connection import Connection
from iexworker.scheduling.containers import Containers, Sweeper
from iexworker.scheduling.demand import Demand, Market
from iexworker.scheduling.effects import EffectExecutor
from iexworker.scheduling.probes import ChainProbe, HostProbe, StakeProbe
from iexworker.scheduling.runner import Runner
from iexworker.scheduling.scheduler_queries import SchedulerQueries
from iexworker.scheduling.slots import Slots
from iexworker.scheduling.status_updates import Sender, details_of
from iexworker.scheduling.transactions import Transactions
from iexworker.scheduling.uploads import Uploads
from iexworker.settings.model import Settings
from iexworker.shared import handoff
from iexworker.shared.board import FactsBoard
from iexworker.shared.channels import Outcome
from iexworker.task.journal import Journal
from iexworker.task.replicate import Replicate, Step, Update
from iexworker.wallet import Wallet

if TYPE_CHECKING:
    from iexworker.scheduling.chain_gateway import ChainGateway
from iexworker.task.journal import JOURNAL_NAME

UPDATE_THREADS = 8
PAUSED = "paused by the operator: `iexworker resume` asks for work again"
# No answer, or one that could not be read: the scheduler may have granted a task all the same.
_GRANT_MAY_BE_LOST = (None, 200)

log = logging.getLogger(__name__)


class Service:
    """The work of `scheduling`, from known terms on."""

    def __init__(
        self,
        settings: Settings,
        wallet: Wallet,
        journal: Journal,
        facts: FactsBoard,
        client: SchedulerClient,
        tokens: Tokens,
        slots: Slots,
        containers: Containers,
        host: HostProbe,
        gateway_class: Callable[[], type[ChainGateway]],
        *,
        fail_fast: bool,
    ) -> None:
        self._settings = settings
        self._wallet = wallet
        self._journal = journal
        self._facts = facts
        self._client = client
        self._tokens = tokens
        self._slots = slots
        self._sweeper = Sweeper(containers, self._replicates)
        self._host = host
        self._gateway_class = gateway_class
        self._fail_fast = fail_fast
        self._updates = ThreadPoolExecutor(UPDATE_THREADS, thread_name_prefix="updates")
        self._connection: Connection
        self._gateway: ChainGateway
        self._runner: Runner | None = None
        self._asking = asyncio.Lock()
        self._queries = SchedulerQueries(client, tokens, wallet.address)
        self._effects: EffectExecutor
        self._journal_errors = 0
        self._draining = False
        # Without a chain node nobody takes these up, and just then an operator asks for them.
        self._kept = journal.all_replicates()

    def bind(self, connection: Connection) -> None:
        """Name whom the notifications come from."""
        self._connection = connection

    async def run(self) -> None:
        """Open, then serve for ever."""
        importing = asyncio.create_task(asyncio.to_thread(self._gateway_class))
        terms = await self._connection.terms()
        self._gateway = await self._open_gateway(terms, await importing)
        probe = ChainProbe(self._facts, self._gateway)
        stake = StakeProbe(self._facts, self._gateway)
        runner = self._make_runner()
        lacking = await patiently(self._why_incomplete, math.inf)
        if not lacking:
            await self._sweeper.sweep()
        self._runner = runner
        runner.recover()
        recovery = self._make_recovery(runner, lacking)
        poller = ChainPoller(
            runner.replicates, self._effects.observe, self._gateway.configuration.block_time_s
        )
        demand = Demand(self._market(probe, stake, recovery))
        transactions = Transactions(self._gateway, runner)
        async with asyncio.TaskGroup() as group:
            for part in (recovery, self._sweeper, probe, stake, poller, demand, transactions):
                group.create_task(part.run())

    def notify(self, notification: Notification) -> None:
        """Take a message of a topic."""
        if self._runner is not None:
            self._runner.notify(notification)

    def outcome(self, message: Outcome) -> None:
        """Take what a slot has found."""
        if self._runner is not None:
            self._effects.outcome(message)

    def drain(self) -> None:
        """Ask for no more work."""
        self._draining = True

    def idle(self) -> bool:
        """Tell whether nothing is left that an orderly stop would wait for."""
        return self._runner is None or not self._runner.replicates

    def show(self) -> None:
        """Put the counts that an operator watches on the board."""
        runner = self._runner
        replicates = self._kept if runner is None else list(runner.replicates.values())
        at_risk = [item for item in replicates if item.staked and not item.revealed]
        known = [] if runner is None else self._reveal_deadlines_s(at_risk)
        self._facts.set(
            tasks_open=len(replicates),
            stake_at_risk=len(at_risk),
            nearest_reveal_deadline_s=min(known, default=None),
            journal_errors=self._journal_errors,
        )
        if runner is not None:
            tally = self._gateway.tally
            self._facts.set(
                tx_success=tally.success,
                tx_failure=tally.failure,
                tx_replaced=tally.replaced,
                tx_pending=tally.pending,
            )

    def _reveal_deadlines_s(self, replicates: Sequence[Replicate]) -> list[int]:
        """Return those that the chain has shown."""
        found = [self._effects.reveal_deadline_s(item.task_id) for item in replicates]
        return [deadline_s for deadline_s in found if deadline_s]

    async def _open_gateway(self, terms: Terms, gateway_class: type[ChainGateway]) -> ChainGateway:
        node_url = self._settings.node_url_override or terms.chain.node_url
        prices = PriceRule(self._settings.gas_price_multiplier, self._settings.gas_price_cap_wei)
        gateway = gateway_class(
            terms.chain, node_url, self._wallet, prices, self._settings.pool_address
        )
        for pause_s in pauses():
            try:
                await asyncio.to_thread(gateway.open, self._settings.root / JOURNAL_NAME)
            except ChainError as error:
                if self._fail_fast:
                    raise
                self._facts.set(chain_ok=False, chain_text=str(error))
                log.error("chain node cannot be used, trying again", extra={"error": str(error)})
                await asyncio.sleep(pause_s)
            else:
                return gateway
        raise AssertionError("pauses never end")

    def _make_runner(self) -> Runner:
        uploads = Uploads(self._wallet, self._connection.current_terms)
        self._effects = EffectExecutor(
            Collaborators(
                chain=self._gateway,
                slots=self._slots,
                sweeper=self._sweeper,
                folder_of=self._folder_of,
                subscribe=self._connection.stream.subscribe,
                unsubscribe=self._connection.stream.unsubscribe,
                upload=uploads.upload,
                scheduler_task=self._queries.saw,
                returned_s=lambda: self._connection.returned_s,
                tee_refusal=_tee_refusal,
            )
        )
        runner = Runner(self._journal, self._gateway.key, self._effects, self._journal_failed)
        self._effects.bind(runner, Sender(runner, self._post, self._connection.allowed))
        return runner

    async def _why_incomplete(self) -> str:
        """Say why the chain may show tasks that the journal lacks, empty when it does not."""
        searched = self._journal.rebuilt_at(self._gateway.key)
        nonces = await self._gateway.nonces()
        return why_incomplete(searched, await self._gateway.signed_nonce(), nonces.latest)

    def _make_recovery(self, runner: Runner, lacking: str) -> Recovery:
        contributions = Contributions(
            self._gateway,
            self._settings.root,
            self._wallet.address,
            self._gateway.configuration.block_time_s,
            self._profile,
        )

        def adopt(replicate: Replicate) -> None:
            self._connection.stream.subscribe(replicate.task_id)
            runner.adopt(replicate)

        async def search_chain() -> None:
            nonce = (await self._gateway.nonces()).latest
            async for replicate in contributions.search(runner.replicates.keys()):
                adopt(replicate)
            self._journal.set_rebuilt(self._gateway.key, nonce)

        grants = LostGrants(
            chain=self._gateway,
            scheduler=self._queries,
            root=self._settings.root,
            wallet=self._wallet.address,
            profile=self._profile,
            known=runner.replicates,
            foreign=self._journal.task_ids,
            asking=self._asking,
            adopt=adopt,
            observe=self._effects.observe,
            search_chain=search_chain,
        )
        return Recovery(
            lacking=lacking,
            rebuild=search_chain,
            look=grants.look,
            allowed=self._connection.allowed,
            missed=self._connection.missed,
            # A container may belong to a task that is only found now: the slot adopts it.
            done=self._sweeper.sweep if lacking else _nothing,
        )

    def _journal_failed(self) -> None:
        self._journal_errors += 1

    def _folder_of(self, task_id: str) -> Path:
        return self._settings.task_dir(task_id)

    def _replicates(self) -> Iterable[Replicate]:
        if self._runner is None:
            return self._journal.replicates(self._gateway.key)
        return self._runner.replicates.values()

    async def _post(self, task_id: str, update: Update) -> Answer:
        def send() -> Answer:
            outcome = None
            if update.with_logs:
                outcome = handoff.read_outcome(self._folder_of(task_id), Step.COMPUTE.value)
            details = details_of(update, outcome)
            return self._tokens.with_token(
                lambda: self._client.update_status(task_id, update.status, details)
            )

        return await asyncio.get_running_loop().run_in_executor(self._updates, send)

    def _market(self, probe: ChainProbe, stake: StakeProbe, recovery: Recovery) -> Market:
        return Market(
            obstacles=(
                lambda: "the worker is stopping" if self._draining else "",
                lambda: PAUSED if self._facts.read().paused else "",
                self._connection.obstacle,
                recovery.obstacle,
                lambda: self._host.obstacle,
                probe.obstacle,
                stake.obstacle,
                self._slots_obstacle,
            ),
            period_s=self._period_s,
            ask=lambda: self._ask(probe.block_number),
            take=self._take,
            report=lambda asked_s, words: self._facts.set(
                demand_text=words, **({} if asked_s is None else {"last_demand_s": asked_s})
            ),
            pass_on=self._connection.renew,
        )

    def _slots_obstacle(self) -> str:
        if self._runner is None:
            return "recovery is not done"
        held = sum(item.holds_slot for item in self._runner.replicates.values())
        return "" if held < len(self._slots) else f"all slots are taken ({held})"

    def _profile(self) -> Profile:
        terms = self._connection.current_terms()
        if terms is None:
            raise SchedulerError("the scheduler's terms are not known")
        return terms.profile

    def _period_s(self) -> float:
        terms = self._connection.current_terms()
        return 5.0 if terms is None else max(terms.configuration.ask_period_ms / 1000, 0.1)

    async def _ask(self, block_number: int) -> Grant | None:
        async with self._asking:
            try:
                return await asyncio.to_thread(
                    self._tokens.with_token, lambda: self._client.available(block_number)
                )
            except SchedulerError as error:
                if error.status in _GRANT_MAY_BE_LOST:
                    self._connection.missed.set()
                raise

    def _take(self, grant: Grant) -> None:
        terms = self._connection.current_terms()
        if self._runner is None or terms is None:
            raise JournalError("grant before the terms were known")
        try:
            self._runner.grant(grant, terms.profile)
        except JournalError:
            self._connection.missed.set()
            raise


def import_gateway() -> type[ChainGateway]:
    """Import web3 (0.3 s) while the login is under way (design section 2)."""
    from iexworker.scheduling.chain_gateway import ChainGateway

    return ChainGateway


async def _nothing() -> None:
    """Do nothing: the containers were looked at before."""


def _tee_refusal(description: TaskDescription) -> str | None:
    """Return the cause for a task that needs an enclave: this worker has none to offer."""
    return None if description.tee_framework is None else "TEE_NOT_SUPPORTED"
