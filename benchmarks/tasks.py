"""One no-op task after the other, timed by the worker's own log."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmarks.worker import Worker
from iexworker.sandbox import image
from iexworker.sandbox.chain import deals
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.network.network import Network

_TASKS = 5
_PATIENCE_S = 120.0


def measure(network: Network, worker: Worker) -> Mapping[str, float]:
    """Return the medians from the grant to COMPUTED and COMPLETED, and of the computation."""
    chain = LocalChain.open(network.deployed_path)
    params = deals.default_params("", network.proxy_url)
    app = image.publish(image.engine(), network.registry)
    computing, computed, completed = [], [], []
    for number in range(_TASKS + 1):
        deal = deals.buy(chain, deals.Purchase(image=app, params=params))
        task = deal.task_ids[0]
        end_s = _status_s(worker, task, "COMPLETED")
        if number == 0:  # it pulled the image, which the others find
            continue
        grant_s = worker.wait_event("grant journalled", task=task)
        computed_s = _status_s(worker, task, "COMPUTED")
        computing.append(computed_s - _status_s(worker, task, "COMPUTING"))
        computed.append(computed_s - grant_s)
        completed.append(end_s - grant_s)
    return {
        "computing": statistics.median(computing),
        "computed": statistics.median(computed),
        "completed": statistics.median(completed),
    }


def _status_s(worker: Worker, task: str, status: str) -> float:
    return worker.wait_event("update answered", _PATIENCE_S, task=task, status=status)
