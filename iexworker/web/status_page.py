"""`GET /`: the worker at a glance, for an operator with a browser; plain HTML, no script."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from falcon.asgi import Request, Response

from iexworker.shared import money
from iexworker.shared.board import EntryView
from iexworker.shared.facts import Facts
from iexworker.shared.ring import Reader
from iexworker.shared.statistics import Durations, Statistics
from iexworker.web.health import Health, Status, examine
from iexworker.web.worker_view import Source

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--bad:#cf222e}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}
code{font-size:.85em;overflow-wrap:anywhere}
.good{color:var(--good)}.bad{color:var(--bad);font-weight:600}
footer{margin-top:2rem;opacity:.75}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_LINKS = ("/metrics", "/actuator/health/readiness", "/actuator/prometheus", "/actuator/info")


class StatusPage:
    """What each process does, what keeps the worker from working, and what it has at stake."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._reader: Reader = source.ring.reader()

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the page; it loads itself again every 5 s."""
        resp.content_type = "text/html;charset=UTF-8"
        resp.set_header("Content-Security-Policy", _POLICY)
        resp.set_header("Cache-Control", "no-store")
        board = self._source.board
        resp.text = _page(
            version=self._source.version(),
            facts=board.facts.read(),
            entries=board.entries(),
            health=examine(self._source),
            durations=self._reader.durations(),
            now_s=self._source.clock(),
        )

    on_head = on_get


def _page(
    *,
    version: str,
    facts: Facts,
    entries: list[EntryView],
    health: Health,
    durations: Durations,
    now_s: float,
) -> str:
    wallet = f" <code>{escape(facts.wallet)}</code>" if facts.wallet else ""
    return "".join(
        (
            "<!doctype html><html lang=en><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width'>",
            "<meta http-equiv=refresh content=5><title>iexworker</title>",
            f"<style>{_STYLE}</style>",
            f"<h1>iexworker{wallet}</h1><p>",
            _readiness(health, paused=facts.paused),
            f" Version shown: {escape(version)}.",
            _table("Processes", ("process", "state", "since", "what"), _processes(entries, now_s)),
            _table("Work", ("", ""), _work(facts, now_s)),
            _table("Needs", ("", ""), _needs(health)),
            _table("Durations (ms)", ("stage", "count", "min", "mean", "max"), _stages(durations)),
            "<footer>",
            " · ".join(f"<a href={link}>{link}</a>" for link in _LINKS),
            "</footer></html>",
        )
    )


def _readiness(health: Health, *, paused: bool) -> str:
    if paused:
        return "<span class=bad>Paused by the operator.</span>"
    if health.readiness is Status.UP:
        return "<span class=good>Ready for work.</span>"
    return "<span class=bad>Not ready for work.</span>"


def _table(title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table; the cells are HTML already."""
    head = "".join(f"<th scope=col>{text}</th>" for text in heads) if any(heads) else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}</tr>{body}</table>"


def _processes(entries: list[EntryView], now_s: float) -> Iterable[tuple[str, ...]]:
    for entry in entries:
        doing = " ".join(filter(None, (entry.step, entry.text)))
        task = f"<code>{escape(entry.task)}</code> " if entry.task else ""
        state = "bad" if entry.state == "down" else ""
        yield (
            escape(entry.role),
            f"<span class='{state}'>{entry.state.value}</span>",
            _age(entry.since_s or None, now_s),
            task + escape(doing),
        )


def _work(facts: Facts, now_s: float) -> Iterable[tuple[str, ...]]:
    demand = _age(facts.last_demand_s, now_s)
    yield "last ping answered", _age(facts.last_ping_s, now_s)
    yield "last asked for work", f"{demand} {escape(facts.demand_text)}"
    yield "block", _count(facts.last_block)
    yield "tasks open", _count(facts.tasks_open)
    deposit = f"{_count(facts.deposit_nrlc)} nRLC free, {_count(facts.locked_nrlc)} locked"
    low = f" <span class=bad>{escape(facts.deposit_text)}</span>" if facts.deposit_text else ""
    yield "deposit", deposit + low
    if facts.balance_wei is not None:
        gas = "; ".join(filter(None, (facts.gas_wanted_text, facts.gas_note)))
        yield "money for gas", escape(f"{money.ether(facts.balance_wei)}; {gas}")
    risk = _count(facts.stake_at_risk)
    yield (
        "contributed, not revealed",
        f"<span class=bad>{risk}</span>" if facts.stake_at_risk else risk,
    )
    if facts.nearest_reveal_deadline_s is not None:
        left_s = facts.nearest_reveal_deadline_s - now_s
        yield "nearest reveal deadline", f"in {left_s:.0f} s"
    yield (
        "transactions",
        f"{facts.tx_success} succeeded, {facts.tx_failure} failed, {facts.tx_pending} pending",
    )


def _needs(health: Health) -> Iterable[tuple[str, ...]]:
    reasons = health.reasons()
    for name in health.components:
        if name in reasons:
            yield escape(name), f"<span class=bad>{escape(reasons[name])}</span>"
        else:
            yield escape(name), "<span class=good>ok</span>"


def _stages(durations: Durations) -> Iterable[tuple[str, ...]]:
    yield "pre-compute", *_statistics(durations.pre)
    yield "app", *_statistics(durations.app)
    yield "post-compute", *_statistics(durations.post)
    yield "complete (TEE)", *_statistics(durations.complete)


def _statistics(statistics: Statistics) -> tuple[str, ...]:
    values = (statistics.minimum, statistics.average, statistics.maximum)
    cells = ("–" if math.isnan(value) else f"{value:,.0f}" for value in values)
    return (str(statistics.count), *cells)


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)


def _age(instant_s: float | None, now_s: float) -> str:
    """Return how long ago an instant was, in the largest unit that fits."""
    if instant_s is None:
        return "never"
    seconds = max(now_s - instant_s, 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
