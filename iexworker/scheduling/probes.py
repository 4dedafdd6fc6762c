"""What scheduling looks at before it asks for work: Docker, GPU, disk, gas, stake, chain head.

Each finding is put on the board, where readiness and the status read it, and kept as the
obstacle that it is to the next request for work.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from iexworker import file_errors, machine, outage
from iexworker.errors import Unavailable
from iexworker.poco.models import ChainAccount
from iexworker.shared import thresholds
from iexworker.shared.board import FactsBoard

if TYPE_CHECKING:
    from iexworker.scheduling.chain_gateway import ChainGateway
    from iexworker.scheduling.gas_probe import GasProbe

HEAD_EVERY_S = 5.0
"""As upstream polls it (docs/spec/05, 5.4)."""
ENGINE_EVERY_S = 5.0
HOST_EVERY_S = 10.0
"""For what takes a program to look at."""
DEPOSIT_EVERY_S = 30.0
GPUS_LOST_EVERY_S = 30.0
GPUS_GIVEN_EVERY_S = 600.0
"""A try starts a container: 0.3 s, and lines in the engine's log."""
STAKE_PAUSE_S = 600.0
"""After a deposit that was too low: tasks of other deals may lock less."""

log = logging.getLogger(__name__)


class ProbedEngine(Protocol):
    """The Docker engine as the probe needs it; calls block and raise `DockerError`."""

    def ping(self) -> None:
        """Return when the engine answers."""

    def runtimes(self) -> Collection[str]:
        """Return the names of the container runtimes that the engine knows."""

    def gpu_trouble(self, gpus: str) -> str:
        """Say why the engine cannot give these GPUs to a container, empty when it can."""


class HostProbe:
    """Docker, disk, the GPU of a worker that declares one, and the GPUs that apps are given.

    With `fail_fast` the first look ends the worker when it finds no engine, or no GPU.
    """

    def __init__(
        self,
        facts: FactsBoard,
        root: Path,
        engine: ProbedEngine,
        *,
        gpu: bool,
        gpus_to_apps: str = "",
        fail_fast: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facts = facts
        self._root = root
        self._engine = engine
        self._gpu = gpu
        self._gpus_to_apps = gpus_to_apps
        self._gpus_tried_s = -math.inf
        self._gpus_trouble = ""
        self._fail_fast = fail_fast
        self._clock = clock
        self.obstacle = "the Docker engine has not answered yet"
        self._lacking = ""
        self._gpu_found = ""
        self._gpu_looked_s = -math.inf

    async def run(self) -> None:
        """Look for ever; raises `Unavailable` after the first look, with `fail_fast` only."""
        missing = await self.look()
        if missing and self._fail_fast:
            raise Unavailable(missing)
        while True:
            await asyncio.sleep(ENGINE_EVERY_S)
            await self.look()

    async def look(self) -> str:
        """Look once; return what is missing of engine and GPU."""
        docker = await asyncio.to_thread(self._look_at_docker)
        gpu = "" if docker else await asyncio.to_thread(self._look_at_gpus)
        disk = await asyncio.to_thread(self._look_at_disk)
        self._facts.set(
            docker_ok=not docker,
            docker_text=docker,
            gpu_text=gpu,
            disk_ok=not disk,
            disk_text=disk,
        )
        self._show(gpu or disk)
        self.obstacle = docker or gpu or disk
        return docker or gpu

    def _show(self, lacking: str) -> None:
        """Log what the machine lacks, when that changes; the engine's outage is logged as one."""
        if lacking != self._lacking:
            if lacking:
                log.error("host cannot take work", extra={"reason": lacking})
            else:
                log.info("host can take work")
        self._lacking = lacking

    def _look_at_docker(self) -> str:
        try:
            self._engine.ping()
        except Unavailable as error:
            outage.of(outage.DOCKER).failed("ping", error)
            return str(error)
        outage.of(outage.DOCKER).worked("ping")
        return ""

    def _gpu_now(self) -> str:
        now_s = time.monotonic()
        if now_s - self._gpu_looked_s >= HOST_EVERY_S:
            self._gpu_found, self._gpu_looked_s = self._look_at_gpu(), now_s
        return self._gpu_found

    def _look_at_gpus(self) -> str:
        return (self._gpu_now() if self._gpu else "") or self._try_gpus_of_apps()

    def _try_gpus_of_apps(self) -> str:
        """Say why apps cannot have their GPUs: a container is started with them, now and then."""
        now = self._clock()
        every_s = GPUS_LOST_EVERY_S if self._gpus_trouble else GPUS_GIVEN_EVERY_S
        if self._gpus_to_apps and now - self._gpus_tried_s >= every_s:
            try:
                trouble = self._engine.gpu_trouble(self._gpus_to_apps)
            except Unavailable as error:
                # No answer about GPUs: it is asked again at the next look.
                return f"whether Docker gives GPUs is not known: {error}"
            self._gpus_tried_s, self._gpus_trouble = now, trouble
        if not self._gpus_trouble:
            return ""
        return (
            f"apps are given the GPUs {self._gpus_to_apps!r} and Docker cannot give them: "
            f"{self._gpus_trouble}; mend that, or unset IEXWORKER_GPUS_TO_APPS"
        )

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
        try:
            return thresholds.free_space(self._root).problem
        except OSError as error:
            return f"{self._root} cannot be looked at: {file_errors.why(self._root, error)}"


class ChainProbe:
    """The chain's head and the wallet's gas; also the watch over the wallet's counts."""

    def __init__(self, facts: FactsBoard, gateway: ChainGateway, gas: GasProbe) -> None:
        self._facts = facts
        self._gateway = gateway
        self._gas_probe = gas
        self._base_fee_wei: int | None = None
        self._seen_s: float | None = None
        self._chain = "the chain node has not given a block yet"
        self._gas = ""
        self.block_number = 0

    def obstacle(self) -> str:
        """Return why the chain forbids to ask for work, empty when it does not."""
        return self._chain or thresholds.head_problem(self._seen_s, time.monotonic()) or self._gas

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
            self._gas = await self._try(lambda: self._gas_probe.look(self._base_fee_wei))
            self._facts.set(gas_ok=not self._gas, gas_text=self._gas)

    async def _try(self, look: Callable[[], Awaitable[str]]) -> str:
        try:
            words = await look()
        except Unavailable as error:
            outage.of(outage.CHAIN).failed("probe", error)
            return str(error)
        outage.of(outage.CHAIN).worked("probe")
        return words

    async def _look_at_head(self) -> str:
        head, nonces = await asyncio.gather(self._gateway.head(), self._gateway.nonces())
        if head.number == 0:
            return "the chain node is at block 0: not synchronised"
        self._base_fee_wei = head.base_fee_wei
        self._facts.set(wallet_tx_latest=nonces.latest, wallet_tx_pending=nonces.pending)
        if head.number != self.block_number:
            self.block_number = head.number
            self._seen_s = time.monotonic()
            self._facts.set(last_block=head.number, last_block_s=time.time())
        return ""


class StakeProbe:
    """The wallet's deposit: shown always, and in the way of work where it did not cover a task.

    No task is known before it is granted, and one that ends by contributeAndFinalize locks nothing:
    so a low deposit by itself is a warning.
    """

    def __init__(
        self, facts: FactsBoard, gateway: ChainGateway, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._facts = facts
        self._gateway = gateway
        self._clock = clock
        self._since_s = 0.0
        self._wanted_nrlc = 0
        self._looked_s = -math.inf
        self._told = False

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
        if not self._wanted_nrlc and self._clock() - self._looked_s < DEPOSIT_EVERY_S:
            return
        covered = False
        try:
            account = await self._gateway.account()
        except Unavailable as error:
            outage.of(outage.CHAIN).failed("deposit", error)
        else:
            outage.of(outage.CHAIN).worked("deposit")
            self._looked_s = self._clock()
            self._show(account)
            covered = account.stake >= self._wanted_nrlc
        if self._wanted_nrlc:
            self._end_pause(covered=covered)

    def _show(self, account: ChainAccount) -> None:
        low = ""
        if account.stake <= 0:
            low = (
                f"nothing of the deposit of wallet {self._gateway.key.wallet} is free: tasks that "
                "lock stake will fail (STAKE_TOO_LOW); deposit some"
            )
        self._facts.set(deposit_nrlc=account.stake, locked_nrlc=account.locked, deposit_text=low)
        if low and not self._told:
            log.warning("deposit is low", extra={"reason": low})
        self._told = True

    def _end_pause(self, *, covered: bool) -> None:
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
