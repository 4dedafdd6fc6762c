"""What of the public network's behaviour is on: changed by name while the node runs.

The defaults are what the public network does on a good day (docs/spec/11, 1 and 5).
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field

BASE_FEE_WEI = 20_000_000
"""The least base fee of Arbitrum One, 0.02 gwei."""
L1_PRICE = 1.0
"""The price of a unit of L1 data in base fees; today's was not measured."""
NONCE_WAIT_S = 1.0

AWAY_TEXTS = {
    "sequencer": "sequencer temporarily not available",
    "forwarder": "failed to publish transaction to any of the forwarding targets",
    "endpoint": "publishing transactions not supported by this endpoint",
    "surplus": "currently not accepting transactions due to expected surplus being below threshold",
}
"""How a sequencer that is away is told of, by who tells it."""


class Answer(enum.Enum):
    """What a slow sequencer's client hears in the end."""

    KEPT = "kept"
    ERROR = "error"
    SILENCE = "silence"


class RateAnswer(enum.Enum):
    """How a provider says that there were too many calls."""

    STATUS = "429"
    STATUS_WITH_PAUSE = "429-retry-after"
    OBJECT = "object"
    """With 200: -32005, one object for a whole batch."""
    OBJECT_29 = "object-32029"


class LogAnswer(enum.Enum):
    """How a provider says that a range of logs is too wide."""

    INFURA = "infura"
    QUICKNODE = "quicknode"
    FREE = "free"
    GETH = "geth"


@dataclass(frozen=True, slots=True)
class Slow:
    """A sequencer that answers late."""

    delay_s: float
    until: float
    """By the monotonic clock."""
    mined: bool = True
    answer: Answer = Answer.SILENCE


@dataclass(slots=True)
class Switches:
    """All options; a plain assignment changes one at once."""

    # The rules that are always there; off for a test of one thing alone.
    no_pool: bool = True
    nonces: bool = True
    l1_gas: bool = True
    prices: bool = True
    funds: bool = True
    extra_fields: bool = True
    same_second: bool = True
    """Blocks of one second share its timestamp; else each is a second later, at least."""

    base_fee_wei: int = BASE_FEE_WEI
    l1_price: float = L1_PRICE
    nonce_wait_s: float = NONCE_WAIT_S
    out_of_gas: int = 0
    """So many transactions run out of gas when they are executed."""

    away_until: float = 0.0
    away_text: str = AWAY_TEXTS["sequencer"]
    slow: Slow | None = None

    lag_s: float = 0.0
    """How much one of the two nodes is behind; 0: there is one node."""
    always_late: bool = False
    """The late node answers everything, not every second request only."""
    finality_s: float = 800.0
    """How far `safe` and `finalized` are behind."""

    rate_limit: int = 0
    """Calls a second, each of a batch counted; 0: any number."""
    rate_answer: RateAnswer = RateAnswer.STATUS
    retry_after_s: int = 1
    log_range: int = 0
    """Blocks that `eth_getLogs` takes; 0: any number."""
    log_answer: LogAnswer = LogAnswer.INFURA
    log_results: int = 0
    """Logs that one answer may have; 0: any number."""

    clock_shift_s: float = field(default=0.0)
    """How far the sequencer's clock is ahead, by `evm_increaseTime`."""

    def send_away(self, seconds: float, text: str = "sequencer") -> None:
        """Have the sequencer take nothing for a time; the text is one of `AWAY_TEXTS`."""
        self.away_text = AWAY_TEXTS.get(text, text)
        self.away_until = time.monotonic() + seconds

    def slow_down(
        self,
        delay_s: float,
        lasting_s: float = 3600.0,
        *,
        mined: bool = True,
        answer: Answer = Answer.SILENCE,
    ) -> None:
        """Have each answer of the sequencer take that long, and be lost, or be an error."""
        self.slow = Slow(delay_s, time.monotonic() + lasting_s, mined, answer)

    def sequencer_well(self) -> None:
        """Have the sequencer there, and fast."""
        self.away_until, self.slow = 0.0, None

    def limit_rate(
        self, calls: int, answer: RateAnswer = RateAnswer.STATUS, retry_after_s: int = 1
    ) -> None:
        """Take so many calls a second."""
        self.rate_answer, self.retry_after_s = answer, retry_after_s
        self.rate_limit = calls

    def limit_logs(self, blocks: int, answer: LogAnswer = LogAnswer.INFURA) -> None:
        """Take ranges of logs up to that many blocks."""
        self.log_answer = answer
        self.log_range = blocks

    @property
    def away(self) -> bool:
        """Whether the sequencer takes nothing now."""
        return time.monotonic() < self.away_until

    @property
    def slowness(self) -> Slow | None:
        """How the sequencer is slow now."""
        slow = self.slow
        return slow if slow is not None and time.monotonic() < slow.until else None
