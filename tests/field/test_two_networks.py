"""Two sandboxes on one machine: the worker of each runs, one wallet still serves one worker."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker import control
from iexworker.errors import EXIT_ALREADY_RUNNING, WorkerError
from iexworker.sandbox import stack
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.network.network import Network
from iexworker.sandbox.network.worker_env import WORKERS, variables

PATIENCE_S = 60.0

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("two networks")]


def up(folder: Path) -> Network:
    ports = dict.fromkeys(stack.DEFAULT_PORTS, 0)
    return stack.up(folder, stack.Options(ports=ports, block_time_s=0.2))[0]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Network]]:
    folders = [tmp_path_factory.mktemp("networks") / name for name in ("a", "b")]
    try:
        yield [up(folder) for folder in folders]
    finally:
        for folder in folders:
            stack.down(folder, delete=True)


def start(network: Network, log: str) -> subprocess.Popen[bytes]:
    environ = {**os.environ, **variables(network), "IEXWORKER_SHUTDOWN_GRACE": "PT2S"}
    environ["IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT"] = "1"
    with (network.path / log).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "iexworker", "run"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def registered(network: Network) -> bool:
    try:
        report = control.ask(network.path / "workers" / WORKERS[0], "status")
    except WorkerError:
        return False
    return bool(report["facts"]["registered"])


def test_the_workers_of_two_networks_run_side_by_side_and_one_twice_does_not(
    networks: list[Network],
) -> None:
    workers = [start(network, "worker.log") for network in networks]
    try:
        until_s = time.monotonic() + PATIENCE_S
        while not all(registered(network) for network in networks):
            logs = [(network.path / "worker.log").read_text() for network in networks]
            assert [worker.poll() for worker in workers] == [None, None], logs
            assert time.monotonic() < until_s, logs
            time.sleep(0.1)
        # The wallet of the first network, in a folder of its own: it stays one worker's.
        copy = networks[0].path / "copy.json"
        copy.write_text(networks[0].keystore_path(WORKERS[0]).read_text())
        done = subprocess.run(
            [sys.executable, "-m", "iexworker", "run"],
            env={
                **os.environ,
                **variables(networks[1], WORKERS[1]),
                "IEXEC_WORKER_WALLET_PATH": str(copy),
                "IEXEC_WORKER_PORT": "0",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == EXIT_ALREADY_RUNNING
        assert f"the worker with pid {workers[0].pid} uses it" in done.stdout
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            worker.wait(PATIENCE_S)


@pytest.mark.parametrize(("scheduler_port", "port"), [(13000, "13101"), (20000, "0")])
def test_only_the_workers_of_the_network_with_the_usual_ports_have_the_usual_ones(
    networks: list[Network], scheduler_port: int, port: str
) -> None:
    network = dataclasses.replace(networks[0], scheduler_port=scheduler_port)
    assert variables(network, WORKERS[1])["IEXEC_WORKER_PORT"] == port


def test_each_network_has_worker_wallets_of_its_own_with_a_stake(networks: list[Network]) -> None:
    chains = [LocalChain.open(network.deployed_path) for network in networks]
    addresses = [[str(chain.accounts[role].address) for role in WORKERS] for chain in chains]
    assert not set(addresses[0]) & set(addresses[1])
    for network, chain in zip(networks, chains, strict=True):
        for role in WORKERS:
            account = chain.accounts[role]
            keystore = json.loads(network.keystore_path(role).read_text())
            assert keystore["address"].removeprefix("0x") == account.address.lower()[2:]
            assert chain.struct("viewAccount", account.address)["stake"] >= 10**9
            assert chain.web3.eth.get_balance(account.address) > 0


def test_a_network_keeps_its_wallets_when_it_begins_anew(networks: list[Network]) -> None:
    before = json.loads(networks[1].deployed_path.read_text())["accounts"]
    ports = {name: getattr(networks[1], f"{name}_port") for name in stack.DEFAULT_PORTS}
    again, _ = stack.up(networks[1].path, stack.Options(ports=ports, block_time_s=0.2), fresh=True)
    after = json.loads(again.deployed_path.read_text())["accounts"]
    assert [after[role]["address"] for role in WORKERS] == [
        before[role]["address"] for role in WORKERS
    ]
    chain = LocalChain.open(again.deployed_path)
    assert chain.struct("viewAccount", chain.accounts["worker1"].address)["stake"] >= 10**9
