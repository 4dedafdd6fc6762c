"""Measure: `scripts/bench [--only PART ...] [--json FILE] [--strict]`."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from benchmarks import report, rings, tasks, tree
from benchmarks.worker import BenchError, running
from iexworker.errors import SandboxError
from iexworker.sandbox import stack
from iexworker.sandbox.network.network import Network

_LOOK_S = 2.0
_QUIET_PERCENT = 10.0

PARTS = ("ring", "start", "rest", "load", "cli", "tasks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts asked for; 0 unless something failed, or a bar was missed in `--strict`."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON there")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar is missed")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    busy_percent = psutil.cpu_percent(_LOOK_S)
    if busy_percent > _QUIET_PERCENT:
        _say(f"others use {busy_percent:.0f} % of this machine: the figures will be worse for it")
    try:
        values = _measure(options.only)
    except (BenchError, SandboxError) as error:
        _say(f"bench: {error}")
        return 1
    _say(report.table(values))
    text = json.dumps(report.document(values, busy_percent), indent=2)
    if options.json is None:
        _say(text)
    else:
        options.json.write_text(text + "\n", encoding="utf-8")
    missed = [item for item in report.measured(values) if not item.met(values[item.name])]
    return 1 if missed and options.strict else 0


def _measure(parts: Sequence[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    if "ring" in parts:
        _say("the ring ...")
        values |= rings.measure()
    if set(parts) - {"ring"}:
        with _network() as network:
            values |= _measure_worker(network, parts)
    return values


def _measure_worker(network: Network, parts: Sequence[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    if "start" in parts:
        _say("starts of the worker ...")
        values |= tree.starts(network)
    if not set(parts) & {"rest", "load", "cli", "tasks"}:
        return values
    with running(network) as worker:
        if "rest" in parts or "load" in parts:
            _say("the worker at rest ...")
            values |= tree.rest(worker)
        if "load" in parts:
            _say("the worker under load ...")
            values |= tree.under_load(worker, values["memory"])
        if "cli" in parts:
            _say("the command line ...")
            values |= tree.command_line(worker)
        if "tasks" in parts:
            _say("tasks, one after the other ...")
            values |= tasks.measure(network, worker)
    return values


@contextlib.contextmanager
def _network() -> Iterator[Network]:
    """Run a sandbox network with the real scheduler's timers, on free ports."""
    with tempfile.TemporaryDirectory(prefix="iexworker-bench-") as folder:
        directory = Path(folder) / "network"
        options = stack.Options(ports=dict.fromkeys(stack.DEFAULT_PORTS, 0))
        network, _ = stack.up(directory, options)
        try:
            yield network
        finally:
            stack.down(directory, delete=True)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
