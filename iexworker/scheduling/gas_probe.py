"""Looks at cap and money for gas on a chain with fees, and explains a scheduler that is silent.

On a chain where transactions are free it finds nothing to say.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from iexworker.outbox.gas import CONTRIBUTE_GAS, REVEAL_GAS, GasFunds
from iexworker.scheduling import gas_words
from iexworker.shared.board import FactsBoard
from iexworker.task.replicate import Replicate, Step, Work

if TYPE_CHECKING:
    from iexworker.scheduling.chain_gateway import ChainGateway

MONEY_EVERY_S = 30.0
"""Between two looks at the balance while it is enough; otherwise every look counts."""
NO_GRANT_S = 600.0
"""Without a grant for so long, a poor wallet is a likely reason."""

log = logging.getLogger(__name__)


def gas_owed(replicate: Replicate) -> int:
    """Return the gas of what a task has yet to send."""
    contributes = replicate.step.rank <= Step.CONTRIBUTE.rank and replicate.work is not Work.FAILED
    contribution = CONTRIBUTE_GAS if contributes else 0
    return contribution + (REVEAL_GAS if contributes or replicate.at_risk else 0)


class GasProbe:
    """Cap, price and balance; `owed_gas` is the gas of what tasks under way have yet to send."""

    def __init__(
        self,
        facts: FactsBoard,
        gateway: ChainGateway,
        owed_gas: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facts = facts
        self._gateway = gateway
        self._owed_gas = owed_gas
        self._clock = clock
        self._funds: GasFunds | None = None
        self._looked_s = -math.inf
        self._asked_in_vain_s: float | None = None
        self._answered_s = -math.inf
        self._warned = False
        self._explained = False

    def answered(self, *, granted: bool) -> None:
        """Take note of the scheduler's answer to a request for work."""
        now_s = self._clock()
        if granted:
            self._asked_in_vain_s, self._explained = None, False
        elif self._asked_in_vain_s is None or now_s - self._answered_s > NO_GRANT_S:
            self._asked_in_vain_s = now_s  # a time without requests is no time in vain
        self._answered_s = now_s

    async def look(self, base_fee_wei: int | None) -> str:
        """Look once; return why no work can be asked for, empty when it can."""
        funds = await self._look_at_money()
        if funds is None:
            return ""
        self._show(funds)
        problem = gas_words.cap_trouble(funds.rule, base_fee_wei)
        return problem or gas_words.money_trouble(funds, self._gateway.key.wallet)

    async def _look_at_money(self) -> GasFunds | None:
        now_s, funds = self._clock(), self._funds
        if funds is None or not funds.enough or now_s - self._looked_s >= MONEY_EVERY_S:
            funds = self._funds = await self._gateway.gas_funds(self._owed_gas())
            self._looked_s = now_s
        return funds

    def _show(self, funds: GasFunds) -> None:
        note = self._note(funds)
        self._facts.set(
            balance_wei=funds.balance_wei,
            gas_wanted_wei=funds.wanted_wei,
            gas_wanted_text=gas_words.wanted(funds),
            gas_note=note,
        )
        if note and not self._warned:
            log.warning("gas money is low", extra={"reason": note})
        self._warned = bool(note)

    def _note(self, funds: GasFunds) -> str:
        since_s = self._asked_in_vain_s
        waited_s = 0.0 if since_s is None else self._answered_s - since_s
        if waited_s <= NO_GRANT_S or not gas_words.too_poor_for_others(funds):
            return gas_words.note(funds)
        words = gas_words.no_grants(funds, waited_s)
        if not self._explained:
            self._explained = True
            log.warning("no task for long", extra={"reason": words})
        return words
