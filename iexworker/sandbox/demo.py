"""The demonstration: a fresh local network, a real worker, a deal with three tasks, their results.

Everything it starts it stops again, also when it fails. Exit code 0 only when all tasks are
COMPLETED on the chain and the worker was paid.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from iexworker.errors import EXIT_INTERNAL, EXIT_OK, SandboxError
from iexworker.sandbox import deals, history, image, result, stack, worker_env
from iexworker.sandbox.chain import LocalChain
from iexworker.sandbox.network import Network

TASKS = 3
SLOTS = 2
PATIENCE_S = 240.0
STOP_S = 30.0
NRLC_PER_RLC = 10**9
_MARKS = {"UNSET": "bought", "ACTIVE": "computing", "REVEALING": "contributed"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--profile", choices=("9", "8"), default="9", help="scheduler generation")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="iexworker-demo-") as folder:
        try:
            return _demonstrate(Path(folder), options.profile)
        except SandboxError as error:
            _say(f"demo: {error}")
            return EXIT_INTERNAL
        except KeyboardInterrupt:
            _say("demo: interrupted, everything it started is stopped")
            return 130


def _demonstrate(folder: Path, profile: str) -> int:
    started_s = time.monotonic()
    _say(f"1. a local iExec network, profile {profile}: chain, scheduler, result proxy, registry")
    free_ports = dict.fromkeys(stack.DEFAULT_PORTS, 0)
    options = stack.Options(profile=profile, ports=free_ports)
    with _network(folder / "network", options) as network:
        _say("2. an app image, built and pushed to the local registry")
        chain = LocalChain.open(network.deployed_path)
        app = image.publish(image.engine(), network.registry)
        before = _stake(chain)
        with _worker(network) as worker:
            _say(f"3. a worker with {SLOTS} slots; a deal with {TASKS} tasks of {app}")
            params = deals.default_params("hello", network.proxy_url)
            deal = deals.buy(chain, deals.Purchase(image=app, params=params, volume=TASKS))
            completed = _follow(chain, deal.task_ids, worker, network)
            _show_results(network, chain, deal.task_ids)
            _say(f"worker's /metrics: {_get(network, '/metrics')}")
        earned = (_stake(chain) - before) / NRLC_PER_RLC
        _say(f"the worker earned {earned:g} RLC; its stake is free again")
        _say(f"done in {time.monotonic() - started_s:.0f} s, everything is stopped")
    _say("next: `.venv/bin/iexworker sandbox --help`, docs/architecture.md")
    return EXIT_OK if completed and earned > 0 else EXIT_INTERNAL


@contextlib.contextmanager
def _network(folder: Path, options: stack.Options) -> Iterator[Network]:
    network, _ = stack.up(folder, options)
    try:
        yield network
    finally:
        stack.down(folder)


@contextlib.contextmanager
def _worker(network: Network) -> Iterator[subprocess.Popen[bytes]]:
    """Run a real worker against the network; its log is in the network's folder."""
    log = network.logs_path / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "iexworker", "run"],
            env=_environment(network),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(network: Network) -> Mapping[str, str]:
    ours = worker_env.variables(network)
    ours |= {
        "IEXEC_WORKER_PORT": "0",
        "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": str(SLOTS),
        "IEXWORKER_SHUTDOWN_GRACE": "PT5S",
    }
    return {**os.environ, **ours}


def _follow(
    chain: LocalChain, tasks: Sequence[str], worker: subprocess.Popen[bytes], network: Network
) -> bool:
    """Show the tasks' progress until all have ended; True when all are COMPLETED."""
    until_s = time.monotonic() + PATIENCE_S
    shown = ""
    while time.monotonic() < until_s:
        if worker.poll() is not None:
            raise SandboxError(f"the worker has ended:\n{_tail(network)}")
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
    raise SandboxError(f"not all tasks have ended after {PATIENCE_S:.0f} s:\n{_tail(network)}")


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


def _get(network: Network, path: str) -> str:
    report = subprocess.run(
        [sys.executable, "-m", "iexworker", "status", "--json"],
        env=_environment(network),
        capture_output=True,
        text=True,
        check=False,
    )
    port = json.loads(report.stdout)["facts"]["http_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def _tail(network: Network) -> str:
    lines = (network.logs_path / "worker.log").read_text(errors="replace").splitlines()
    return "\n".join(lines[-25:])


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the terminal is ours


if __name__ == "__main__":
    sys.exit(main())
