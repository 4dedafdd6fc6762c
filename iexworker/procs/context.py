"""What a process gets when it is born: values, shared memory and its ends of the queues."""

from __future__ import annotations

import os
import queue
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iexworker.shared.channels import Channel, Hello, Message, Ready, Stop

if TYPE_CHECKING:
    from iexworker.secrets import Secrets
    from iexworker.settings.model import Settings
    from iexworker.shared.board import Board
    from iexworker.shared.ring import Ring

SUPERVISOR = "supervisor"
SCHEDULING = "scheduling"
HEARTBEAT = "heartbeat"
HTTP = "http"
SLOT_PREFIX = "compute-"
WALLET_PASSWORD = "wallet_password"  # noqa: S105 - the name of a secret, not the secret


def compute_role(slot: int) -> str:
    """Return the role of the process that serves this slot."""
    return f"{SLOT_PREFIX}{slot}"


def roles(slots: int) -> tuple[str, ...]:
    """Return every role of a tree in the order of birth: first what has most to do at a start."""
    return (SCHEDULING, HTTP, HEARTBEAT, *(compute_role(slot) for slot in range(slots)))


@dataclass(frozen=True, slots=True)
class Channels:
    """The queues between children, by what travels on them."""

    orders: tuple[Channel, ...]
    """Order, Cancel, Hello: scheduling to the slot of that index."""
    outcomes: tuple[Channel, ...]
    """Outcome, Hello: the slot of that index to scheduling."""
    tokens: Channel
    """Token: scheduling to heartbeat."""
    heartbeat_events: Channel
    """Hello, TokenRefused, SessionChanged: heartbeat to scheduling."""

    @classmethod
    def create(cls, slots: int) -> Channels:
        """Make the queues of a tree with so many slots, before the first fork."""
        return cls(
            orders=tuple(Channel(f"orders-{slot}") for slot in range(slots)),
            outcomes=tuple(Channel(f"outcomes-{slot}") for slot in range(slots)),
            tokens=Channel("tokens"),
            heartbeat_events=Channel("heartbeat-events"),
        )


@dataclass(frozen=True, slots=True)
class Context:
    """All that a process's `run(context)` gets; it holds no client and no thread."""

    role: str
    slot: int | None
    """The index of a compute process, None for the others."""
    settings: Settings
    """Without the wallet password, which only `secrets` has."""
    board: Board
    ring: Ring
    channels: Channels
    control: Channel
    """Stop: the parent to this process."""
    reports: Channel
    """Ready: this process to the parent."""
    secrets: Secrets
    """Open in `scheduling` only."""
    boot_id: str
    """Names this start of the tree; containers carry it as a label."""
    parent_pid: int
    fail_fast: bool
    """End with exit code 69 when a peer cannot be reached at the start."""
    listener: socket.socket | None = None
    """Open in `http` only, which serves it; the parent keeps it while processes come and go."""

    def hello(self) -> Hello:
        """Return the message that asks a partner for what still stands."""
        return Hello(self.role, os.getpid())

    def ready(self) -> None:
        """Tell the parent that this process does its work from now on."""
        self.reports.put_nowait(Ready(self.role))

    def stop_order(self) -> Stop | None:
        """Return the parent's order to leave when it is there, without waiting."""
        message: Message
        try:
            message = self.control.get_nowait()
        except queue.Empty:
            return None
        return message if isinstance(message, Stop) else None


"""What `Context.secrets` knows the keystore's password as."""
