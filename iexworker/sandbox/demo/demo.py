"""The demonstration: a fresh local network, a real worker, a deal with three tasks, their results.

Everything it starts it stops again, also when it fails. Exit code 0 only when all tasks are
COMPLETED on the chain and the worker was paid.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import requests

from iexworker.errors import EXIT_INTERNAL, EXIT_OK, SandboxError
from iexworker.sandbox import image, stack
from iexworker.sandbox.chain import deals, history
from iexworker.sandbox.chain.chain import LocalChain
from iexworker.sandbox.demo.worker import ContainerWorker, ProcessWorker, Worker, docker_network
from iexworker.sandbox.network.network import Network
from iexworker.sandbox.proxy import result

TASKS = 3
SLOTS = 2
PATIENCE_S = 240.0
NRLC_PER_RLC = 10**9
_MARKS = {"UNSET": "bought", "ACTIVE": "computing", "REVEALING": "contributed"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--profile", choices=("9", "8"), default="9", help="scheduler generation")
    parser.add_argument("--image", metavar="NAME", help="run the worker in this container image")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="iexworker-demo-") as folder:
        try:
            return _demonstrate(Path(folder), options.profile, options.image)
        except SandboxError as error:
            _say(f"demo: {error}")
            return EXIT_INTERNAL
        except KeyboardInterrupt:
            _say("demo: interrupted, everything it started is stopped")
            return 130


def _demonstrate(folder: Path, profile: str, image_name: str | None) -> int:
    started_s = time.monotonic()
    with contextlib.ExitStack() as stage:
        lan, address = "", "127.0.0.1"
        if image_name:
            lan, address = stage.enter_context(docker_network(image.engine()))
        _say(
            f"1. a local iExec network, profile {profile}: chain, scheduler, result proxy, registry"
        )
        network = stage.enter_context(_network(folder / "network", profile, address))
        _say("2. an app image, built and pushed to the local registry")
        chain = LocalChain.open(network.deployed_path)
        app = image.publish(image.engine(), network.registry)
        before = _stake(chain)
        with _worker(network, image_name, lan) as worker:
            where = f" in the image {image_name}" if image_name else ""
            _say(f"3. a worker with {SLOTS} slots{where}; a deal with {TASKS} tasks of {app}")
            params = deals.default_params("hello", network.proxy_url)
            deal = deals.buy(chain, deals.Purchase(image=app, params=params, volume=TASKS))
            completed = _follow(chain, deal.task_ids, worker)
            _show_results(network, chain, deal.task_ids)
            _say(f"worker's /metrics: {_get(worker.url + '/metrics')}")
        earned = (_stake(chain) - before) / NRLC_PER_RLC
        _say(f"the worker earned {earned:g} RLC; its stake is free again")
    _say(f"done in {time.monotonic() - started_s:.0f} s, everything is stopped")
    _say("next: `.venv/bin/iexworker sandbox --help`, docs/architecture.md")
    return EXIT_OK if completed and earned > 0 else EXIT_INTERNAL


@contextlib.contextmanager
def _network(folder: Path, profile: str, address: str) -> Iterator[Network]:
    free_ports = dict.fromkeys(stack.DEFAULT_PORTS, 0)
    options = stack.Options(profile=profile, listen=address, ports=free_ports)
    network, _ = stack.up(folder, options, say=_say)
    try:
        yield network
    finally:
        stack.down(folder, delete=True)


@contextlib.contextmanager
def _worker(network: Network, image_name: str | None, lan: str) -> Iterator[Worker]:
    """Run a real worker against the network."""
    worker: ProcessWorker | ContainerWorker
    if image_name:
        worker = ContainerWorker(image.engine(), network, SLOTS, image_name, lan)
    else:
        worker = ProcessWorker(network, SLOTS)
    try:
        yield worker
    finally:
        worker.stop()


def _follow(chain: LocalChain, tasks: Sequence[str], worker: Worker) -> bool:
    """Show the tasks' progress until all have ended; True when all are COMPLETED."""
    until_s = time.monotonic() + PATIENCE_S
    shown = ""
    while time.monotonic() < until_s:
        if worker.ended:
            raise SandboxError(f"the worker has ended:\n{worker.log_tail()}")
        states = [chain.task_status(task) for task in tasks]
        line = "  ".join(
            f"{task[:8]} {_MARKS.get(state, state)}"
            for task, state in zip(tasks, states, strict=True)
        )
        shown = _progress(line, shown)
        if all(state in history.ENDED for state in states):
            _progress_end()
            return all(state == "COMPLETED" for state in states)
        time.sleep(0.25)
    raise SandboxError(f"not all tasks have ended after {PATIENCE_S:.0f} s:\n{worker.log_tail()}")


def _progress(line: str, shown: str) -> str:
    """Show a line of progress: in its place on a terminal, as a new line elsewhere."""
    if line != shown:
        if sys.stdout.isatty():
            sys.stdout.write(f"\r\x1b[K   {line}")
        else:
            sys.stdout.write(f"   {line}\n")
        sys.stdout.flush()
    return line


def _progress_end() -> None:
    if sys.stdout.isatty():
        sys.stdout.write("\n")


def _show_results(network: Network, chain: LocalChain, tasks: Sequence[str]) -> None:
    for task_id in tasks:
        task = history.task(chain, task_id)
        _say(f"--- result of {task_id}, computed by {', '.join(task.winners)}")
        _say(result.show(result.fetch(network, history.result_location(task))))


def _stake(chain: LocalChain) -> int:
    """Return the first worker's stake in nRLC, free and locked."""
    account = chain.struct("viewAccount", chain.accounts["worker1"].address)
    return int(account["stake"]) + int(account["locked"])


def _get(url: str) -> str:
    return requests.get(url, timeout=10).text


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the terminal is ours
