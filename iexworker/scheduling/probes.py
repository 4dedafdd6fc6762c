"""What scheduling looks at before it asks for work: Docker, GPU, disk, gas, stake, chain head.

Each finding is put on the board, where readiness and the status read it, and kept as the
obstacle that it is to the next request for work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from iexworker import machine
from iexworker.errors import Unavailable
from iexworker.shared import limits
from iexworker.shared.board import FactsBoard

if TYPE_CHECKING:
    from iexworker.scheduling.chain_gateway import ChainGateway

HEAD_EVERY_S = 5.0
"""As upstream polls it (docs/spec/05, 5.4)."""
HOST_EVERY_S = 10.0
STAKE_PAUSE_S = 600.0
"""After a deposit that was too low: tasks of other deals may lock less."""

log = logging.getLogger(__name__)


class ProbedEngine(Protocol):
    """The Docker engine as the probe needs it; calls block and raise `DockerError`."""

    def ping(self) -> None:
        """Return when the engine answers."""

    def runtimes(self) -> Collection[str]:
        """Return the names of the container runtimes that the engine knows."""


class HostProbe:
    """Docker, disk, and the GPU of a worker that declares one.

    With `fail_fast` the first look ends the worker when it finds no engine, or no GPU to declare.
    """

    def __init__(
        self, facts: FactsBoard, root: Path, engine: ProbedEngine, *, gpu: bool, fail_fast: bool
    ) -> None:
        self._facts = facts
        self._root = root
        self._engine = engine
        self._gpu = gpu
        self._fail_fast = fail_fast
        self.obstacle = "the Docker engine has not answered yet"

    async def run(self) -> None:
        """Look for ever; raises `Unavailable` after the first look, with `fail_fast` only."""
        missing = await self.look()
        if missing and self._fail_fast:
            raise Unavailable(missing)
        while True:
            await asyncio.sleep(HOST_EVERY_S)
            await self.look()

    async def look(self) -> str:
        """Look once; return what is missing of engine and GPU."""
        docker = await asyncio.to_thread(self._look_at_docker)
        gpu = await asyncio.to_thread(self._look_at_gpu) if self._gpu and not docker else ""
        disk = await asyncio.to_thread(self._look_at_disk)
        self._facts.set(
            docker_ok=not docker,
            docker_text=docker,
            gpu_text=gpu,
            disk_ok=not disk,
            disk_text=disk,
        )
        self._show(docker or gpu or disk)
        return docker or gpu

    def _show(self, obstacle: str) -> None:
        if obstacle != self.obstacle:
            if obstacle:
                log.error("host cannot take work", extra={"reason": obstacle})
            else:
                log.info("host can take work")
        self.obstacle = obstacle

    def _look_at_docker(self) -> str:
        try:
            self._engine.ping()
        except Unavailable as error:
            return f"the Docker engine does not answer: {error}"
        return ""

    def _look_at_gpu(self) -> str:
        try:
            problem = machine.gpu_problem(self._engine.runtimes())
        except Unavailable as error:
            problem = str(error)
        if problem is None:
            return ""
        return (
            f"a GPU is declared and none can be used: {problem}; mend that, or unset "
            "IEXEC_WORKER_GPU_ENABLED"
        )

    def _look_at_disk(self) -> str:
        return limits.free_space(self._root).problem


class ChainProbe:
    """The chain's head and the wallet's gas; also the watch over the wallet's counts."""

    def __init__(self, facts: FactsBoard, gateway: ChainGateway) -> None:
        self._facts = facts
        self._gateway = gateway
        self._seen_s: float | None = None
        self._chain = "the chain node has not given a block yet"
        self._gas = ""
        self.block_number = 0

    def obstacle(self) -> str:
        """Return why the chain forbids to ask for work, empty when it does not."""
        return self._chain or limits.head_problem(self._seen_s, time.monotonic()) or self._gas

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(HEAD_EVERY_S)

    async def look(self) -> None:
        """Look once."""
        self._chain = await self._try(self._look_at_head)
        self._facts.set(chain_ok=not self._chain, chain_text=self._chain)
        if not self._chain:
            self._gas = await self._try(self._look_at_gas)
            self._facts.set(gas_ok=not self._gas, gas_text=self._gas)

    async def _try(self, look: Callable[[], Awaitable[str]]) -> str:
        try:
            return await look()
        except Unavailable as error:
            return f"the chain node does not answer: {error}"

    async def _look_at_head(self) -> str:
        head, nonces = await asyncio.gather(self._gateway.head(), self._gateway.nonces())
        if head.number == 0:
            return "the chain node is at block 0: not synchronised"
        self._facts.set(wallet_tx_latest=nonces.latest, wallet_tx_pending=nonces.pending)
        if head.number != self.block_number:
            self.block_number = head.number
            self._seen_s = time.monotonic()
            self._facts.set(last_block=head.number, last_block_s=time.time())
        return ""

    async def _look_at_gas(self) -> str:
        reserve = await self._gateway.gas_reserve()
        if reserve.enough:
            return ""
        return (
            f"wallet {self._gateway.key.wallet} cannot pay for one transaction: send it gas money"
        )


class StakeProbe:
    """The wallet's deposit, from the first task on that it did not cover."""

    def __init__(
        self, facts: FactsBoard, gateway: ChainGateway, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._facts = facts
        self._gateway = gateway
        self._clock = clock
        self._since_s = 0.0
        self._wanted_nrlc = 0

    def want(self, stake_nrlc: int) -> None:
        """Take note that a task locks so much, and the deposit does not cover it."""
        if not self._wanted_nrlc:
            self._since_s = self._clock()
            self._wanted_nrlc = stake_nrlc
            self._facts.set(stake_text=self.obstacle())
            log.error("stake too low", extra={"reason": self.obstacle()})

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(HEAD_EVERY_S)

    async def look(self) -> None:
        """Look once whether the deposit covers what was wanted, or the pause is over."""
        if not self.obstacle():
            return
        try:
            covered = await self._gateway.deposit_nrlc() >= self._wanted_nrlc
        except Unavailable as error:
            log.warning("deposit not read", extra={"error": str(error)})
            covered = False
        if covered or self._clock() - self._since_s > STAKE_PAUSE_S:
            log.info("work is asked for again", extra={"deposit_covers_stake": covered})
            self._wanted_nrlc = 0
            self._facts.set(stake_text="")

    def obstacle(self) -> str:
        """Return why the deposit forbids to ask for work, empty when it does not."""
        if not self._wanted_nrlc:
            return ""
        return (
            f"the deposit of wallet {self._gateway.key.wallet} does not cover the "
            f"{self._wanted_nrlc} nRLC that the last task locks: deposit more; work is asked for "
            f"again then, or after {STAKE_PAUSE_S / 60:.0f} minutes"
        )
