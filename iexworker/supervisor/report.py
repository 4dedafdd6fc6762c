"""What the parent knows of its tree, as one document for `iexworker status` and for systemd."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

from iexworker import __version__
from iexworker.shared.facts import Facts
from iexworker.supervisor.status import Report
from iexworker.web.health import Status, examine
from iexworker.web.worker_view import Source


def report(source: Source, ready_roles: Collection[str], pid: int) -> Report:
    """Return everything that is known, as JSON; instants are Unix seconds.

    Ready means what `/actuator/health/readiness` means: one judge, two ways to ask.
    """
    facts = source.board.facts.read()
    health = examine(source)
    return {
        "worker": __version__,
        "pid": pid,
        "now_s": source.clock(),
        "state": _state(facts, ready=health.readiness is Status.UP),
        "ready": health.readiness is Status.UP,
        "problems": health.reasons(),
        "processes": [
            {
                **asdict(entry),
                "ready": entry.role in ready_roles,
                "restarts": facts.restarts.get(entry.role, 0),
            }
            for entry in source.board.entries()
        ],
        "facts": asdict(facts),
    }


def _state(facts: Facts, *, ready: bool) -> str:
    """Return the one word for the worker: a pause or a stop is no lack of readiness."""
    if facts.stopping:
        return "stopping"
    if facts.paused:
        return "paused"
    return "ready" if ready else "not ready"
