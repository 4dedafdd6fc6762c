"""What a worker is told to join the sandbox: variables, and files to source them from."""

from __future__ import annotations

import json
import shlex

from iexworker.sandbox.network.files import write_whole
from iexworker.sandbox.network.network import KEYSTORE_PASSWORD, Network

WORKERS = ("worker1", "worker2", "worker3", "worker4")
FIRST_PORT = 13100
_USUAL_SCHEDULER_PORT = 13000


def variables(network: Network, worker: str = "worker1") -> dict[str, str]:
    """Give the environment of one of the four workers that have a stake."""
    deployed = json.loads(network.deployed_path.read_text(encoding="utf-8"))
    return {
        "IEXEC_CORE_URL": network.scheduler_url,
        "POOL_ADDRESS": deployed["workerpool"],
        "IEXEC_WORKER_NAME": worker,
        "IEXEC_WORKER_PORT": _port(network, worker),
        "IEXEC_WORKER_BASE_DIR": str(network.path / "workers"),
        "IEXEC_WORKER_WALLET_PATH": str(network.keystore_path(worker)),
        "IEXEC_WORKER_WALLET_PASSWORD": KEYSTORE_PASSWORD,
        # The sandbox's own addresses are private ones, which a worker refuses otherwise.
        "IEXWORKER_PRIVATE_URLS_ALLOWED": "true",
        "IEXWORKER_IPFS_GATEWAYS": network.proxy_url,
    }


def _port(network: Network, worker: str) -> str:
    """Return the worker's port; any free one beside a network that has the usual ports."""
    usual = network.scheduler_port == _USUAL_SCHEDULER_PORT
    return str(FIRST_PORT + WORKERS.index(worker)) if usual else "0"


def write(network: Network) -> None:
    """Write `worker.env` (the first worker's), and `worker2.env` and so on beside it."""
    for worker in WORKERS:
        lines = [
            f"export {name}={shlex.quote(value)}\n"
            for name, value in variables(network, worker).items()
        ]
        name = "worker.env" if worker == WORKERS[0] else f"{worker}.env"
        write_whole(network.path / name, "".join(lines))
