"""The fake chain as a rollup's sequencer shows it: no pool, a base fee, blocks only when needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from iexworker.outbox.actions import Action
from iexworker.outbox.evidence import BroadcastAnswer, Evidence, Position
from iexworker.poco.models import Head
from tests.helpers.fake_chain import FakeChain, Sent


class SequencedChain(FakeChain):
    """A node without a pool; `late` and `away` are its faults, beside those of the fake chain."""

    def __init__(self) -> None:
        super().__init__()
        self.base_fee_wei = 500
        self.network_wei = self.base_fee_wei
        self.next_base_fee_wei: int | None = None
        """What the base fee becomes between the next look at the position and the broadcast."""
        self.late: list[bool] = []
        """Look by look: whether evidence comes from a node that knows nothing of ours."""
        self.away = False
        self.purse_wei = 10**18

    def head(self) -> Head:
        return Head(self.state.number, self.time_s, self.base_fee_wei, has_pool=False)

    def position(self) -> Position:
        found = super().position()
        if self.next_base_fee_wei is not None:
            self.base_fee_wei = self.network_wei = self.next_base_fee_wei
        return found

    def evidence(
        self, hashes: Sequence[str], tasks: Sequence[str], trials: Sequence[Action]
    ) -> Evidence:
        found = super().evidence(hashes, tasks, trials)
        if self.late and self.late.pop(0):
            return replace(found, receipts={}, known=frozenset(), head_number=0)
        return replace(found, known=frozenset(found.receipts), head_number=self.state.number)

    def broadcast(self, raw: bytes) -> tuple[BroadcastAnswer, str]:
        if self.away:
            self.reach()
            return BroadcastAnswer.REFUSED, "sequencer temporarily not available"
        return super().broadcast(raw)

    def _take(self, sent: Sent) -> BroadcastAnswer:
        self._all[sent.tx_hash] = sent
        refusals = (
            (sent.nonce < self.state.nonce, BroadcastAnswer.NONCE_SPENT),
            (sent.nonce > self.state.nonce, BroadcastAnswer.NONCE_AHEAD),
            (sent.gas_limit < self.intrinsic_gas, BroadcastAnswer.SHORT_OF_GAS),
            (sent.price_wei < self.base_fee_wei, BroadcastAnswer.UNDERPRICED),
            (sent.price_wei * sent.gas_limit > self.purse_wei, BroadcastAnswer.POOR),
        )
        for refused, answer in refusals:
            if refused:
                return answer
        self.state.number += 1
        self._execute(sent)
        return BroadcastAnswer.TAKEN
