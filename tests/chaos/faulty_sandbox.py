"""A sandbox whose every partner of the worker can fail, without being touched itself.

The worker meets each through a proxy; the Docker daemon least of all is ever stopped.
"""

from __future__ import annotations

import contextlib
import enum
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker.errors
from eth_account import Account

from iexworker.sandbox.chain import deals
from iexworker.sandbox.chain.accounts import write_keystores
from iexworker.sandbox.chain.deployment import WEI_PER_NRLC
from iexworker.sandbox.chain.sender import Sender
from iexworker.sandbox.network.network import KEYSTORE_PASSWORD
from tests.helpers.fault_proxy import Address, FaultProxy, Mood
from tests.helpers.live_worker import QUICK, LiveSandbox, LiveWorker

CLOCK_FOLDER = Path(__file__).with_name("clock")
DOCKER_SOCKET = "/var/run/docker.sock"
DISK_MIB = 640
"""Of the worker's own file system; it takes no work with less than 512 MiB free."""
TIMERS = replace(QUICK, consensus_check_s=2.0)
"""Each task ends here; where many stay open, this look at all of them would keep the node busy."""
ROLE = "worker1"
STAKE_NRLC = 10**9
SWEPT_S = 60.0
"""How long containers may outlive their task where Docker was away: two looks of the sweeper."""


class Partner(enum.Enum):
    """Whom the worker talks to."""

    SCHEDULER = "scheduler"
    NODE = "chain node"
    RESULTS = "result proxy"
    DOCKER = "Docker"
    REGISTRY = "registry"


class FaultySandbox(LiveSandbox):
    """A sandbox whose worker meets everybody through proxies, on a small disk of its own."""

    def __init__(self, folder: Path, profile: str) -> None:
        super().__init__(folder, profile, timers=TIMERS)
        self.base = self.network.path / "workers"
        self.base.mkdir(exist_ok=True)
        self._clock = self.network.path / "clock"
        _mount(self.base)
        network = self.network
        results = FaultProxy(_loopback(network.proxy_port)).open()
        targets: dict[Partner, Address] = {
            Partner.NODE: _loopback(network.chain_port),
            Partner.REGISTRY: _loopback(network.registry_port),
        }
        self.proxies = {partner: FaultProxy(target).open() for partner, target in targets.items()}
        self.proxies[Partner.RESULTS] = results
        self.proxies[Partner.DOCKER] = FaultProxy(
            DOCKER_SOCKET, network.path / "docker.sock"
        ).open()
        self.proxies[Partner.SCHEDULER] = FaultProxy(
            _loopback(network.scheduler_port), rewrites={network.proxy_url: results.url}
        ).open()
        self.app = self.app.replace(network.registry_address, self._registry)
        self._own_wallet()

    def _own_wallet(self) -> None:
        """Give the worker a new wallet, with little gas money."""
        account = Account.create()
        write_keystores({ROLE: account}, self.network.path / "wallets", KEYSTORE_PASSWORD)
        self.chain.accounts = {**self.chain.accounts, ROLE: account}
        self.ask("anvil_setBalance", account.address, hex(10**18))
        self.deposit(STAKE_NRLC)

    def deposit(self, amount_nrlc: int) -> None:
        """Raise the worker's stake."""
        payer = Sender(self.chain.web3, self.chain.accounts["requester"], self.network.chain_id)
        call = self.chain.hub.encode_abi("depositFor", args=[self.chain.accounts[ROLE].address])
        payer.run(self.chain.hub.address, call, value_wei=amount_nrlc * WEI_PER_NRLC)

    def stake_nrlc(self) -> tuple[int, int]:
        """Return the worker's stake, free and locked."""
        account = self.chain.struct("viewAccount", self.chain.accounts[ROLE].address)
        return account["stake"], account["locked"]

    @property
    def _registry(self) -> str:
        return f"127.0.0.1:{self.proxies[Partner.REGISTRY].port}"

    def set_clock(self, ahead_s: float) -> None:
        """Set the clock of a worker that was made with `clock`."""
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:
            file.write(struct.pack("d", ahead_s))

    def worker(self, *, clock: bool = False, slots: int = 1) -> LiveWorker:
        """Make a worker, not started; with `clock` its clock can be set."""
        more = {
            "IEXEC_CORE_URL": self.proxies[Partner.SCHEDULER].url,
            "IEXEC_WORKER_OVERRIDE_BLOCKCHAIN_NODE_ADDRESS": self.proxies[Partner.NODE].url,
            "DOCKER_HOST": self.proxies[Partner.DOCKER].url,
            "PYTHONPATH": "",
        }
        if clock:
            self.set_clock(0)
            more |= {"PYTHONPATH": str(CLOCK_FOLDER), "CHAOS_CLOCK": str(self._clock)}
        return LiveWorker(self, ROLE, slots=slots, **more)

    def buy(self, arguments: str = "hello", **wanted: Any) -> tuple[str, ...]:
        params = deals.default_params(arguments, self.proxies[Partner.RESULTS].url)
        return super().buy(arguments, **{"params": params, **wanted})

    def containers(self, task_id: str = "") -> list[Any]:
        found = self.engine.containers.list(
            all=True, ignore_removed=True, filters={"label": "iexworker.task"}
        )
        return [
            item
            for item in found
            if task_id in item.labels["iexworker.task"]
            and item.attrs["Config"]["Image"].startswith(self._registry)
        ]

    def forget_image(self) -> None:
        """Take the app out of the engine, so that it has to be pulled."""
        # Not looked for in a list: of all images, one that goes meanwhile makes it fail.
        with contextlib.suppress(docker.errors.ImageNotFound):
            self.engine.images.remove(self.app, force=True)

    def ask(self, method: str, *params: object) -> Any:
        """Make a call of the node's own."""
        answer: Any = self.chain.web3.provider.make_request(method, list(params))  # type: ignore[arg-type]  # any method
        assert "error" not in answer, answer
        return answer["result"]

    def well(self) -> None:
        """Let every partner be well."""
        for proxy in self.proxies.values():
            proxy.turn(Mood.WELL)

    def close(self) -> None:
        for proxy in self.proxies.values():
            proxy.close()
        self.forget_image()
        subprocess.run(["umount", "--lazy", self.base], check=True)
        super().close()


def _loopback(port: int) -> Address:
    return "127.0.0.1", port


def _mount(folder: Path) -> None:
    options = f"size={DISK_MIB}m,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "iexworker-chaos", folder], check=True)
