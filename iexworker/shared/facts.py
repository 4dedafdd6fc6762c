"""What the worker as a whole knows now: the fields of the board's facts.

Instants are Unix seconds of the worker's clock, None before the first; texts are plain words for
an operator, empty where there is nothing to say. Each field has one writing process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

SUPERVISOR = "supervisor"
HEARTBEAT = "heartbeat"
SCHEDULING = "scheduling"
HTTP = "http"


def _by(owner: str, default: object = None, *, empty: bool = False) -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare a field that process `owner` writes."""
    if empty:
        return field(default_factory=dict, metadata={"owner": owner})
    return field(default=default, metadata={"owner": owner})


@dataclass(frozen=True, slots=True)
class Facts:
    """The worker-wide values, as one reader saw them."""

    started_s: float | None = _by(SUPERVISOR)
    """When the worker was executed."""
    ready_s: float | None = _by(SUPERVISOR)
    """When every process had said that it is ready."""
    stopping: bool = _by(SUPERVISOR, False)
    """An orderly stop is under way."""
    stopping_until_s: float | None = _by(SUPERVISOR)
    """When what is left of it is ended."""
    paused: bool = _by(SUPERVISOR, False)
    """The operator wants no new task asked for; those under way go on."""
    paused_since_s: float | None = _by(SUPERVISOR)
    restarts: Mapping[str, int] = _by(SUPERVISOR, empty=True)
    """Role -> how often its process was started again."""

    last_ping_s: float | None = _by(HEARTBEAT)
    """The last ping that the scheduler answered."""
    last_ping_ok: bool | None = _by(HEARTBEAT)
    """Whether the latest ping was answered."""
    ping_text: str = _by(HEARTBEAT, "")
    """Why the latest was not."""
    session_id: str = _by(HEARTBEAT, "")

    version: str = _by(SCHEDULING, "")
    """The version shown, empty until the scheduler has named the one it wants."""
    profile: str = _by(SCHEDULING, "")
    """"8" or "9", empty until known."""
    profile_text: str = _by(SCHEDULING, "")
    """Why the scheduler's version cannot be served."""
    wallet: str = _by(SCHEDULING, "")
    """Our address, lower case."""
    registered: bool = _by(SCHEDULING, False)
    scheduler_text: str = _by(SCHEDULING, "")
    """Why login, registration or the event stream does not stand."""
    stream_open: bool | None = _by(SCHEDULING)
    """Whether the event stream stands; None before the first."""
    last_block: int | None = _by(SCHEDULING)
    """The number of the chain's head."""
    last_block_s: float | None = _by(SCHEDULING)
    """When the node last gave it."""
    chain_ok: bool | None = _by(SCHEDULING)
    """False when the node cannot be used: out of reach, another chain, a head that stands still."""
    chain_text: str = _by(SCHEDULING, "")
    last_demand_s: float | None = _by(SCHEDULING)
    """The last time we asked for work."""
    demand_text: str = _by(SCHEDULING, "")
    """Why no task came, or why we did not ask."""
    docker_ok: bool | None = _by(SCHEDULING)
    docker_text: str = _by(SCHEDULING, "")
    disk_ok: bool | None = _by(SCHEDULING)
    disk_text: str = _by(SCHEDULING, "")
    gas_ok: bool | None = _by(SCHEDULING)
    gas_text: str = _by(SCHEDULING, "")
    balance_wei: int | None = _by(SCHEDULING)
    """What the wallet has for gas; None before it was read, and where transactions are free."""
    gas_wanted_wei: int | None = _by(SCHEDULING)
    """What it should have for what it is about to send."""
    gas_wanted_text: str = _by(SCHEDULING, "")
    """The same in words, with what for and by which setting."""
    gas_note: str = _by(SCHEDULING, "")
    """What others may think of that balance; it keeps no work away by itself."""
    stake_text: str = _by(SCHEDULING, "")
    """Why the wallet's deposit keeps work away."""
    deposit_nrlc: int | None = _by(SCHEDULING)
    """The wallet's free stake, which contributions can lock; None before it was read."""
    locked_nrlc: int | None = _by(SCHEDULING)
    """What contributions have locked of it."""
    deposit_text: str = _by(SCHEDULING, "")
    """What the deposit will not do; it keeps no work away by itself."""
    gpu_text: str = _by(SCHEDULING, "")
    """Why the declared GPU cannot be used."""
    tasks_open: int | None = _by(SCHEDULING)
    """Tasks of the journal that are not purged; None until the journal was read."""
    open_tasks: Mapping[str, Mapping[str, Any]] = _by(SCHEDULING, empty=True)
    """The most urgent of them by id, as scheduling/open_tasks.py describes them."""
    stake_at_risk: int | None = _by(SCHEDULING)
    """Tasks contributed and not yet revealed; None until the journal was read."""
    nearest_reveal_deadline_s: float | None = _by(SCHEDULING)
    """The earliest reveal deadline among them."""
    tx_success: int = _by(SCHEDULING, 0)
    """Transactions mined with receipt status 1 since the start."""
    tx_failure: int = _by(SCHEDULING, 0)
    tx_replaced: int = _by(SCHEDULING, 0)
    tx_pending: int = _by(SCHEDULING, 0)
    """Transactions sent and not mined, now."""
    gas_spent_wei: int = _by(SCHEDULING, 0)
    """What the mined ones have cost since the start, where the node tells it."""
    wallet_tx_latest: int = _by(SCHEDULING, 0)
    """The wallet's transaction count at the head."""
    wallet_tx_pending: int = _by(SCHEDULING, 0)
    journal_errors: int = _by(SCHEDULING, 0)

    http_port: int | None = _by(HTTP)
    """The port that is bound; another than the setting's where that is 0."""


OWNERS: Mapping[str, str] = {item.name: item.metadata["owner"] for item in fields(Facts)}
"""Field -> the process that writes it."""
