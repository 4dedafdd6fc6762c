"""Is the worker alive, and can it take work? Judged from the board alone.

Liveness follows the local processes only: an outage of others is no reason to restart a worker.
Readiness follows everything that a task needs, each with its reason in words.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from iexworker.shared import money, thresholds
from iexworker.shared.board import EntryView, State
from iexworker.shared.facts import Facts
from iexworker.shared.spans import ago
from iexworker.web.worker_view import Source

TICK_FRESH_S = 30.0

_TICKING = ("supervisor", "heartbeat", "scheduling")
"""Whose loops turn at all times; a slot is rightly silent while its container runs."""


class Status(enum.Enum):
    """The framework's words."""

    UP = "UP"
    DOWN = "DOWN"
    OUT_OF_SERVICE = "OUT_OF_SERVICE"


@dataclass(frozen=True, slots=True)
class Component:
    """One part of the health, and what there is to say of it."""

    status: Status
    details: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the framework's form; `details` only where there are any."""
        document: dict[str, object] = {"status": self.status.value}
        if self.details:
            document["details"] = dict(self.details)
        return document


@dataclass(frozen=True, slots=True)
class Health:
    """All components; the processes decide on liveness, the worst of all on readiness."""

    components: Mapping[str, Component]

    @property
    def liveness(self) -> Status:
        """UP as long as a restart of the worker would not help."""
        return self.components["processes"].status

    @property
    def readiness(self) -> Status:
        """OUT_OF_SERVICE while the worker cannot take or finish work."""
        up = all(item.status is Status.UP for item in self.components.values())
        return Status.UP if up else Status.OUT_OF_SERVICE

    def reasons(self) -> dict[str, str]:
        """Return component -> why it is not UP."""
        return {
            name: str(item.details.get("reason", item.status.value))
            for name, item in self.components.items()
            if item.status is not Status.UP
        }


def examine(source: Source) -> Health:
    """Return the health of now."""
    facts = source.board.facts.read()
    now = source.clock()
    checks: Mapping[str, Callable[[Facts, float], Component]] = {
        "worker": _worker,
        "scheduler": _scheduler,
        "profile": _profile,
        "chain": _chain,
        "docker": _docker,
        "gas": _gas,
        "stake": _stake,
        "gpu": _gpu,
    }
    components = {
        "processes": _processes(source.board.entries(), stopping=facts.stopping),
        **{name: check(facts, now) for name, check in checks.items()},
        "disk": _disk(facts, source.directory),
    }
    return Health(components)


def _up(**details: object) -> Component:
    return Component(Status.UP, {name: value for name, value in details.items() if value})


def _out(reason: str, **details: object) -> Component:
    return Component(Status.OUT_OF_SERVICE, {"reason": reason, **details})


def _processes(entries: list[EntryView], *, stopping: bool) -> Component:
    states = {entry.role: entry.state.value for entry in entries}
    troubles = [] if stopping else list(_troubles(entries))
    if troubles:
        return Component(Status.DOWN, {"reason": "; ".join(troubles), **states})
    return Component(Status.UP, states)


def _troubles(entries: list[EntryView]) -> Iterator[str]:
    now_ns = time.monotonic_ns()
    for entry in entries:
        silent_s = (now_ns - entry.tick_ns) / 1e9
        if entry.state is State.DOWN:
            yield f"{entry.role} is down" + (f": {entry.text}" if entry.text else "")
        elif entry.role in _TICKING and entry.tick_ns and silent_s > TICK_FRESH_S:
            yield f"{entry.role} has not moved for {silent_s:.0f} s"


def _worker(facts: Facts, now: float) -> Component:
    if facts.stopping:
        return _out("the worker is stopping")
    reasons = ["the worker is starting"] if facts.ready_s is None else []
    if facts.paused:
        since = "" if facts.paused_since_s is None else f" {ago(facts.paused_since_s, now)}"
        reasons.append(f"paused by the operator{since}: `iexworker resume` asks for work again")
    return _out("; ".join(reasons)) if reasons else _up()


def _scheduler(facts: Facts, now: float) -> Component:
    if facts.scheduler_text:
        return _out(facts.scheduler_text)
    if not facts.registered:
        return _out("not registered yet")
    if facts.last_ping_s is None:
        return _out(facts.ping_text or "no ping answered yet")
    age_s = now - facts.last_ping_s
    if age_s > thresholds.PING_FRESH_S:
        return _out(facts.ping_text or f"no ping answered for {age_s:.0f} s")
    return _up(session=facts.session_id)


def _profile(facts: Facts, now: float) -> Component:
    if facts.profile_text:
        return _out(facts.profile_text)
    return _up(profile=facts.profile, version=facts.version)


def _chain(facts: Facts, now: float) -> Component:
    if facts.chain_ok is False:
        return _out(facts.chain_text or "the node cannot be used")
    if problem := thresholds.head_problem(facts.last_block_s, now):
        return _out(facts.chain_text or problem)
    return _up(block=facts.last_block)


def _docker(facts: Facts, now: float) -> Component:
    return _told("Docker", facts.docker_ok, facts.docker_text)


def _gas(facts: Facts, now: float) -> Component:
    component = _told("the wallet's balance", facts.gas_ok, facts.gas_text)
    if facts.balance_wei is None:
        return component
    return Component(component.status, {**component.details, **_money(facts, facts.balance_wei)})


def _money(facts: Facts, balance_wei: int) -> dict[str, object]:
    """Return what the wallet has where gas has a price: ether for it, RLC for stakes."""
    found = {"balance": money.ether(balance_wei), "wanted": facts.gas_wanted_text}
    if facts.deposit_nrlc is not None:
        found["deposit"] = money.rlc(facts.deposit_nrlc)
    return {**found, **({"note": facts.gas_note} if facts.gas_note else {})}


def _stake(facts: Facts, now: float) -> Component:
    return _out(facts.stake_text) if facts.stake_text else _up()


def _gpu(facts: Facts, now: float) -> Component:
    return _out(facts.gpu_text) if facts.gpu_text else _up()


def _told(what: str, ok: bool | None, text: str) -> Component:
    """Return the component for what another process has looked at."""
    if ok is None:
        return _out(text or f"{what} has not been checked yet")
    return _up(text=text) if ok else _out(text or f"{what} is not usable")


def _disk(facts: Facts, directory: Path) -> Component:
    if facts.disk_ok is False:
        return _out(facts.disk_text or "too little room")
    try:
        space = thresholds.free_space(directory)
    except OSError as error:
        return _out(f"{directory}: {error.strerror}")
    if space.problem:
        return _out(space.problem)
    return _up(total=space.total, free=space.free, threshold=space.needed, path=str(directory))
