"""Runs the task loop as soon as the scheduler's terms and the chain are available.

Contributed tasks go on as soon as the terms are known or remembered and the node answers;
recovery comes before demand.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from iexworker import outage
from iexworker.core.messages import Notification
from iexworker.core.session import Terms
from iexworker.errors import ChainError, JournalFull, SettingsError
from iexworker.outbox.gas import PriceRule
from iexworker.recovery.recovery import why_incomplete
from iexworker.retry import patiently, until_it_works
from iexworker.scheduling import gas_words
from iexworker.scheduling.open_tasks import rows
from iexworker.scheduling.task_loop import Parts, TaskLoop
from iexworker.shared.channels import Outcome
from iexworker.task.journal import JOURNAL_NAME

if TYPE_CHECKING:
    from iexworker.scheduling.chain_gateway import ChainGateway
    from iexworker.settings.model import Settings

log = logging.getLogger(__name__)


class Service:
    """Creates the task loop when its parts are available, and puts its counts on the board.

    `import_gateway` imports web3, which takes 0.3 s, while the login is under way.
    """

    def __init__(
        self,
        parts: Parts,
        import_gateway: Callable[[], type[ChainGateway]],
        *,
        fail_fast: bool,
    ) -> None:
        self._parts = parts
        self._import_gateway = import_gateway
        self._fail_fast = fail_fast
        self._tasks: TaskLoop | None = None
        self._draining = False
        # Shown while there is no chain node, which is when an operator asks for them.
        self._kept = parts.journal.all_replicates()

    async def run(self) -> None:
        """Open the chain, then serve for ever."""
        importing = asyncio.create_task(asyncio.to_thread(self._import_gateway))
        terms = await self._parts.connection.terms()
        self._weigh_cap(terms)
        gateway = await self._open_gateway(terms, await importing)
        lacking = await patiently(lambda: self._why_incomplete(gateway), math.inf)
        self._tasks = TaskLoop(self._parts, gateway, lacking, lambda: self._draining)
        await self._tasks.run()

    def notify(self, notification: Notification) -> None:
        """Handle a message of a topic; without a task loop it is dropped, recovery makes up."""
        if self._tasks is not None:
            self._tasks.runner.notify(notification)

    def outcome(self, message: Outcome) -> None:
        """Handle a slot's outcome; without a task loop it is dropped, and ordered again later."""
        if self._tasks is not None:
            self._tasks.effects.outcome(message)

    def drain(self) -> None:
        """Ask for no more work."""
        self._draining = True

    def idle(self) -> bool:
        """Tell whether nothing is left that an orderly stop would wait for."""
        return self._tasks is None or not self._tasks.runner.replicates

    def show(self) -> None:
        """Put the counts that an operator watches on the board."""
        if self._tasks is not None:
            self._tasks.show()
            return
        at_risk = sum(item.at_risk for item in self._kept)
        self._parts.facts.set(
            tasks_open=len(self._kept),
            open_tasks=rows(self._kept, lambda _task_id: None),
            stake_at_risk=at_risk,
        )

    def _weigh_cap(self, terms: Terms) -> None:
        """End a first start with a cap that pays nothing where there are fees.

        With tasks in the journal, or after a reload, the worker goes on and asks for no work.
        """
        if terms.chain.sidechain or self._kept or self._parts.facts.read().last_block is not None:
            return
        if self._parts.settings.gas_price_cap_wei == 0:
            raise SettingsError([gas_words.cap_trouble(price_rule(self._parts.settings), None)])

    async def _open_gateway(self, terms: Terms, gateway_class: type[ChainGateway]) -> ChainGateway:
        settings = self._parts.settings

        def show(error: Exception) -> None:
            if isinstance(error, JournalFull):
                log.error("journal cannot be written, trying again", extra={"error": str(error)})
                return
            if self._fail_fast:
                raise error
            self._parts.facts.set(chain_ok=False, chain_text=str(error))
            trial.failed(outage.CHAIN, error)

        with outage.trial() as trial:
            return await until_it_works(
                lambda: asyncio.to_thread(
                    gateway_class,
                    terms.chain,
                    settings.node_url_override or terms.chain.node_url,
                    self._parts.wallet,
                    price_rule(settings),
                    settings.pool_address,
                    settings.root / JOURNAL_NAME,
                ),
                (ChainError, JournalFull),
                show,
            )

    async def _why_incomplete(self, gateway: ChainGateway) -> str:
        """Say why the chain may show tasks that the journal lacks, empty when it does not."""
        searched = self._parts.journal.rebuilt_at(gateway.key)
        nonces = await gateway.nonces()
        return why_incomplete(searched, await gateway.signed_nonce(), nonces.latest)


def price_rule(settings: Settings) -> PriceRule:
    """Return what the operator is willing to pay for gas."""
    return PriceRule(
        settings.gas_price_multiplier,
        settings.gas_price_cap_wei,
        reveal_may_pass_cap=settings.reveal_may_pass_cap,
    )


def import_gateway() -> type[ChainGateway]:
    """Import web3 (0.3 s), and return what needs it."""
    from iexworker.scheduling.chain_gateway import ChainGateway

    return ChainGateway
