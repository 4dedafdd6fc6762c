"""The metric families of `/actuator/prometheus` (docs/spec/08, sections 6.2 and 6.4)."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from iexworker.shared import money
from iexworker.shared.board import EntryView, State
from iexworker.shared.facts import Facts
from iexworker.shared.statistics import Statistics
from iexworker.web import process_usage
from iexworker.web.health import Status, examine
from iexworker.web.request_metrics import Traffic, outcome
from iexworker.web.worker_view import Source

_APPLICATION = "iexworker"
_STATISTICS = {
    "min": "minimum",
    "max": "maximum",
    "average": "average",
    "samples_count": "count",
}


class Families(Collector):
    """Everything there is to tell, read anew at each `collect`."""

    def __init__(self, source: Source, traffic: Traffic) -> None:
        self._source = source
        self._traffic = traffic
        self._reader = source.ring.reader()
        self._cpu = process_usage.CpuUsage()
        self._created_s = source.clock()

    def collect(self) -> Iterator[Metric]:
        """Yield every family; all of them exist from the start, before any task."""
        facts = self._source.board.facts.read()
        entries = self._source.board.entries()
        yield from self._durations(facts)
        yield from _chain(facts, self._source.version())
        yield from _money(facts)
        yield from _risk(facts, self._source.clock())
        yield from _tree(facts, entries)
        yield from self._health()
        yield from self._start(facts)
        yield from self._usage(entries)
        yield from self._disk()
        yield from self._requests()
        yield _counter("logback_events", "Log lines by level", "level", self._source.board.events())

    def _durations(self, facts: Facts) -> Iterator[Metric]:
        durations = self._reader.durations()
        stages = {"pre": durations.pre, "app": durations.app, "post": durations.post}
        for stage, statistics in stages.items():
            yield from _stage(f"{stage}_compute", statistics, facts.wallet)

    def _health(self) -> Iterator[Metric]:
        health = examine(self._source)
        ready = GaugeMetricFamily(
            "iexworker_component_up",
            "1 where nothing of this component keeps the worker from taking work",
            labels=["component"],
        )
        for name, component in health.components.items():
            ready.add_metric([name], component.status is Status.UP)
        yield ready
        yield _gauge(
            "iexworker_ready", "1 when the worker can take work", health.readiness is Status.UP
        )

    def _start(self, facts: Facts) -> Iterator[Metric]:
        started_s = facts.started_s or self._created_s
        yield _gauge("process_start_time_seconds", "Start of the worker, Unix time", started_s)
        yield _gauge(
            "process_uptime_seconds", "Age of the worker", self._source.clock() - started_s
        )
        ready_s = math.nan if facts.ready_s is None else facts.ready_s - started_s
        for moment in ("started", "ready"):
            yield _gauge(
                f"application_{moment}_time_seconds",
                f"Time from the start until the worker was {moment}",
                ready_s,
                main_application_class=_APPLICATION,
            )

    def _usage(self, entries: list[EntryView]) -> Iterator[Metric]:
        pids = {entry.role: entry.pid for entry in entries if entry.pid}
        # gunicorn serves from a child of the process that stands on the board.
        found = process_usage.processes(pids | {"http worker": os.getpid()})
        memory = GaugeMetricFamily(
            "iexworker_process_resident_memory_bytes",
            "Resident memory by process; pages shared between them count in each",
            labels=["role"],
        )
        for role, item in found.items():
            memory.add_metric([role], item.resident_bytes)
        yield memory
        yield _gauge(
            "process_cpu_usage", "The worker's share of the CPUs", self._cpu.own(found.values())
        )
        yield _gauge(
            "process_files_open_files",
            "Open descriptors of the process that has the most",
            max(item.open_files for item in found.values()),
        )
        yield _gauge(
            "process_files_max_files", "Descriptors a process may open", process_usage.max_files()
        )
        yield _gauge("system_cpu_usage", "The machine's CPU use", self._cpu.everybody())
        yield _gauge("system_cpu_count", "CPUs the worker may use", process_usage.cpu_count())
        yield _gauge("system_load_average_1m", "Load average", os.getloadavg()[0])

    def _disk(self) -> Iterator[Metric]:
        directory = self._source.directory
        try:
            usage = shutil.disk_usage(directory)
            free, total = usage.free, usage.total
        except OSError:
            free = total = 0
        yield _gauge("disk_free_bytes", "Free bytes for the worker", free, path=str(directory))
        yield _gauge("disk_total_bytes", "Size of that file system", total, path=str(directory))

    def _requests(self) -> Iterator[Metric]:
        labels = ["exception", "error", "method", "outcome", "status", "uri"]
        requests = SummaryMetricFamily(
            "http_server_requests_seconds", "Answers of this server", labels=labels
        )
        slowest = GaugeMetricFamily(
            "http_server_requests_seconds_max", "Slowest recent answer", labels=labels
        )
        now = time.monotonic()
        for method, route, status, tally in self._traffic.tallies():
            values = ["None", "none", method, outcome(status), str(status), route]
            requests.add_metric(values, count_value=tally.count, sum_value=tally.total_s)
            slowest.add_metric(values, tally.slowest_s(now))
        yield requests
        yield slowest


def _gauge(name: str, text: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _known(value: int | None) -> float:
    return math.nan if value is None else value


def _counter(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    """Return a counter with a series for each value of its label; `_total` is added to `name`."""
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _stage(phase: str, statistics: Statistics, wallet: str) -> Iterator[Metric]:
    for suffix, field in _STATISTICS.items():
        unit = "" if field == "count" else " (ms)"
        yield _gauge(
            f"iexec_{phase}_duration_{suffix}",
            f"{field.capitalize()} of the last {phase.replace('_', '-')} durations{unit}",
            getattr(statistics, field),
            phase=phase,
            wallet=wallet,
        )


def _chain(facts: Facts, version: str) -> Iterator[Metric]:
    yield _gauge(
        "iexec_version_info",
        "The version shown to the pool",
        1,
        iexecAppName="iexec-worker",
        iexecAppVersion=version,
    )
    yield _gauge("iexec_chain_block_latest", "Latest block seen", facts.last_block or 0)
    counts = GaugeMetricFamily(
        "iexec_chain_wallet_tx_count", "Transaction count of the wallet", labels=["block"]
    )
    counts.add_metric(["latest"], facts.wallet_tx_latest)
    counts.add_metric(["pending"], facts.wallet_tx_pending)
    yield counts
    yield _counter(
        "iexec_poco_transaction",
        "Mined transactions by receipt status",
        "status",
        {"success": facts.tx_success, "failure": facts.tx_failure},
    )


def _money(facts: Facts) -> Iterator[Metric]:
    """Yield the wallet's two purses."""
    unknown = "NaN before it was read"
    free = f"{unknown}, and where transactions are free"
    for name, text, amount, unit in (
        ("deposit_rlc", f"Free stake, {unknown}", facts.deposit_nrlc, money.NRLC_PER_RLC),
        ("locked_rlc", f"Locked stake, {unknown}", facts.locked_nrlc, money.NRLC_PER_RLC),
        ("balance_ether", f"Money for gas, {free}", facts.balance_wei, money.WEI_PER_ETHER),
        ("wanted_ether", f"What it should be, {free}", facts.gas_wanted_wei, money.WEI_PER_ETHER),
    ):
        value = math.nan if amount is None else amount / unit
        yield _gauge(f"iexworker_wallet_{name}", text, value)
    spent = CounterMetricFamily("iexworker_gas_cost_ether", "Ether paid for mined transactions")
    spent.add_metric([], facts.gas_spent_wei / money.WEI_PER_ETHER)
    yield spent


def _risk(facts: Facts, now_s: float) -> Iterator[Metric]:
    """Yield what an operator of this worker wakes up for."""
    deadline_s = facts.nearest_reveal_deadline_s
    yield _gauge(
        "iexworker_stake_at_risk_tasks",
        "Tasks contributed and not yet revealed, NaN until the journal was read",
        _known(facts.stake_at_risk),
    )
    yield _gauge(
        "iexworker_nearest_reveal_deadline_seconds",
        "Seconds until the first of their reveal deadlines, NaN without one",
        math.nan if deadline_s is None else deadline_s - now_s,
    )
    yield _counter(
        "iexworker_transactions",
        "Transactions that have ended, by outcome",
        "outcome",
        {
            "success": facts.tx_success,
            "failure": facts.tx_failure,
            "replaced": facts.tx_replaced,
        },
    )
    yield _gauge("iexworker_transactions_pending", "Sent and not mined yet", facts.tx_pending)
    yield _gauge(
        "iexworker_last_ping_timestamp_seconds",
        "Last ping that the scheduler answered, Unix time, 0 before the first",
        facts.last_ping_s or 0,
    )
    yield _gauge(
        "iexworker_last_demand_timestamp_seconds",
        "Last time we asked for work, Unix time, 0 before the first",
        facts.last_demand_s or 0,
    )
    errors = CounterMetricFamily(
        "iexworker_journal_errors", "Failed reads or writes of the journal"
    )
    errors.add_metric([], facts.journal_errors)
    yield errors
    yield _gauge("iexworker_tasks_open", "Tasks in the journal", _known(facts.tasks_open))


def _tree(facts: Facts, entries: list[EntryView]) -> Iterator[Metric]:
    yield _gauge("iexworker_paused", "1 while the operator wants no new task", facts.paused)
    alive = GaugeMetricFamily("iexworker_process_up", "1 while the process lives", labels=["role"])
    for entry in entries:
        alive.add_metric([entry.role], bool(entry.pid) and entry.state is not State.DOWN)
    yield alive
    restarts = {entry.role: facts.restarts.get(entry.role, 0) for entry in entries}
    yield _counter(
        "iexworker_process_restarts", "Starts of the process after the first", "role", restarts
    )
    slots = [entry for entry in entries if entry.role.startswith("compute-")]
    yield _gauge("iexworker_slots", "Tasks that can be computed at once", len(slots))
    busy = sum(entry.state is State.BUSY for entry in slots)
    yield _gauge("iexworker_slots_busy", "Slots that compute now", busy)
