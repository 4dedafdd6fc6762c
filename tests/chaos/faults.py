"""What can go wrong around a worker for a while: partners, disk, clock, processes, chain."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iexworker.sandbox.chain.sender import GAS_PRICE_WEI
from tests.chaos.faulty_sandbox import ROLE, FaultySandbox, Partner
from tests.helpers.fault_proxy import FAULTS, Mood
from tests.helpers.live_worker import LiveWorker, eventually

PAGE = 4096
FILLED_BY = 2048 * PAGE
"""8 MiB at a time: less than what the worker takes for a full disk (16 MiB free)."""
CLOCK_JUMPS_S = (600, -3600)
"""The first is less than the time to contribute, past which nothing is begun by either clock."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault happens."""

    sandbox: FaultySandbox
    worker: LiveWorker
    pids: Mapping[str, int]
    """Of the worker's processes, by role."""

    @property
    def wallet(self) -> str:
        """The worker's address as the chain writes it."""
        return str(self.sandbox.chain.accounts[self.worker.role].address)


Happens = Callable[[Scene], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong; `happens` makes it so at its beginning, and well again at its end."""

    name: str
    happens: Happens
    clock: bool = False
    """The worker has to run with a clock that can be set."""
    partner: Partner | None = None
    mood: Mood | None = None
    lasts_s: float = 6.0
    may_give_up: bool = False
    """The worker may give the task up, as long as nothing is contributed."""
    app: str = "sleep=1"
    """What the app is told."""


def _of_partner(partner: Partner, mood: Mood) -> Fault:
    @contextlib.contextmanager
    def happens(scene: Scene) -> Iterator[None]:
        scene.sandbox.proxies[partner].turn(mood)
        try:
            yield
        finally:
            scene.sandbox.proxies[partner].turn(Mood.WELL)

    return Fault(f"{partner.value} {mood.value}", happens, partner=partner, mood=mood)


def _stopped(role: str) -> Fault:
    @contextlib.contextmanager
    def happens(scene: Scene) -> Iterator[None]:
        os.kill(scene.pids[role], signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(scene.pids[role], signal.SIGCONT)

    return Fault(f"{role} stopped", happens)


def fill(ballast: Path) -> None:
    """Fill a file's disk, which is never emptier than it was but for the piece at its end.

    What a tmpfs cannot give whole it takes back whole: asked for all that is free, it is full, then
    empty again, and whoever was refused a write in that instant finds room when he looks for why.
    """
    piece = FILLED_BY
    with ballast.open("wb") as file:
        while piece >= PAGE:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
            except OSError:
                piece //= 2


@contextlib.contextmanager
def _disk_full(scene: Scene) -> Iterator[None]:
    ballast = scene.sandbox.base / "ballast"
    fill(ballast)
    try:
        yield
    finally:
        ballast.unlink()


def _clock(jump_s: int) -> Fault:
    @contextlib.contextmanager
    def happens(scene: Scene) -> Iterator[None]:
        scene.sandbox.set_clock(jump_s)
        try:
            yield
        finally:
            scene.sandbox.set_clock(0)

    return Fault(f"clock {jump_s:+d} s", happens, clock=True)


@contextlib.contextmanager
def _no_blocks(scene: Scene) -> Iterator[None]:
    """Let the chain stand still."""
    scene.sandbox.ask("evm_setIntervalMining", 0)
    try:
        yield
    finally:
        scene.sandbox.ask("evm_setIntervalMining", int(scene.sandbox.network.block_time_s))


def _waiting(scene: Scene) -> list[dict[str, Any]]:
    """Return the wallet's transactions that the node holds and has not mined."""
    pool = scene.sandbox.ask("txpool_content")["pending"]
    wallet = scene.wallet.lower()
    return [
        found
        for address, by_nonce in pool.items()
        if address.lower() == wallet
        for found in by_nonce.values()
    ]


@contextlib.contextmanager
def _dropped(scene: Scene) -> Iterator[None]:
    """Drop the wallet's next transaction from the node's pool."""
    with _no_blocks(scene):
        with contextlib.suppress(AssertionError):  # nothing is sent from here on
            for found in eventually(lambda: _waiting(scene), "a transaction that waits", 5):
                scene.sandbox.ask("anvil_dropTransaction", found["hash"])
        yield


@contextlib.contextmanager
def _outbid(scene: Scene) -> Iterator[None]:
    """Let somebody else with this key take the nonce of the wallet's next transaction."""
    with _no_blocks(scene):
        with contextlib.suppress(AssertionError):
            for found in eventually(lambda: _waiting(scene), "a transaction that waits", 5):
                _transfer(scene, int(found["nonce"], 16), 20 * GAS_PRICE_WEI)
        yield


@contextlib.contextmanager
def _nonce_taken(scene: Scene) -> Iterator[None]:
    """Let somebody else with this key send a transaction now."""
    web3 = scene.sandbox.chain.web3
    _transfer(
        scene,
        web3.eth.get_transaction_count(web3.to_checksum_address(scene.wallet), "pending"),
        20 * GAS_PRICE_WEI,
    )
    yield


def _transfer(scene: Scene, nonce: int, gas_price_wei: int) -> None:
    account = scene.sandbox.chain.accounts[scene.worker.role]
    signed = account.sign_transaction(
        {
            "to": account.address,
            "value": 0,
            "data": b"",
            "gas": 21_000,
            "gasPrice": gas_price_wei,
            "nonce": nonce,
            "chainId": scene.sandbox.network.chain_id,
        }
    )
    scene.sandbox.chain.web3.eth.send_raw_transaction(signed.raw_transaction)


def _of_others(scene: Scene, depth: int) -> list[str]:
    """Return the transactions of the last blocks that are not the worker's, in their order.

    A node takes up again what a reorganisation has thrown out, which anvil does not do. Of ours it
    shall not: the worker has to see to them.
    """
    head = int(scene.sandbox.ask("eth_blockNumber"), 16)
    blocks = [
        scene.sandbox.ask("eth_getBlockByNumber", hex(number), True)
        for number in range(max(head - depth, 0) + 1, head + 1)
    ]
    return [
        str(scene.sandbox.ask("eth_getRawTransactionByHash", found["hash"]))
        for block in blocks
        for found in block["transactions"]
        if found["from"].lower() != scene.wallet.lower()
    ]


def _reorganised(depth: int) -> Fault:
    @contextlib.contextmanager
    def happens(scene: Scene) -> Iterator[None]:
        lost = _of_others(scene, depth)
        scene.sandbox.ask("anvil_reorg", depth, [])
        for raw in lost:
            scene.sandbox.ask("eth_sendRawTransaction", raw)
        yield

    return Fault(f"{depth} blocks reorganised", happens, lasts_s=1.0)


@contextlib.contextmanager
def _dear(scene: Scene) -> Iterator[None]:
    """Let a block cost more than the worker may pay."""
    scene.sandbox.ask("anvil_setNextBlockBaseFeePerGas", hex(10**12))
    try:
        yield
    finally:
        scene.sandbox.ask("anvil_setNextBlockBaseFeePerGas", hex(0))


@contextlib.contextmanager
def _no_stake(scene: Scene) -> Iterator[None]:
    """Let the wallet's owner take its free stake away."""
    free, _ = scene.sandbox.stake_nrlc()
    scene.sandbox.chain.send(ROLE, "withdraw", free)
    try:
        yield
    finally:
        scene.sandbox.deposit(free)


def partner_faults() -> list[Fault]:
    """Return every partner in every bad mood."""
    return [_of_partner(partner, mood) for partner in Partner for mood in FAULTS]


ROLES = ("supervisor", "scheduling", "heartbeat", "compute-0", "http")


def machine_faults() -> list[Fault]:
    """Return what goes wrong on the worker's own machine."""
    return [
        *map(_stopped, ROLES),
        Fault("disk full", _disk_full),
        *map(_clock, CLOCK_JUMPS_S),
    ]


def chain_faults() -> list[Fault]:
    """Return what goes wrong on the chain, its node being well."""
    return [
        Fault("no blocks", _no_blocks),
        Fault("transaction dropped", _dropped, lasts_s=3.0),
        Fault("transaction outbid by another sender", _outbid, lasts_s=1.0),
        Fault("nonce taken by another sender", _nonce_taken, lasts_s=1.0),
        Fault("base fee above the cap", _dear),
        Fault("no stake", _no_stake, may_give_up=True, app="sleep=3"),
        _reorganised(1),
        _reorganised(3),
    ]


def all_faults() -> dict[str, Fault]:
    """Return every fault by its name."""
    found = [*partner_faults(), *machine_faults(), *chain_faults()]
    return {fault.name: fault for fault in found}
