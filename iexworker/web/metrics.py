"""`/metrics` and `/version`, as the Java worker prints them (docs/spec/08, sections 2 and 3.1)."""

from __future__ import annotations

import json
import math

from falcon.asgi import Request, Response

from iexworker.shared.statistics import Durations, Statistics
from iexworker.web.negotiation import JSON, choose, preferred
from iexworker.web.worker_view import Source

_TEXT = "text/plain;charset=UTF-8"
_TEXT_FORMS = ("text/plain", JSON)


class MetricsResource:
    """`GET /metrics`: statistics of the last durations of each stage."""

    def __init__(self, source: Source) -> None:
        self._ring = source.ring
        self._reader = source.ring.reader()
        self._version = -1
        self._body = b""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the four groups; 406 for a client that takes no JSON."""
        resp.content_type = choose(req, JSON)
        version = self._ring.version
        if version != self._version:
            self._body = json.dumps(_groups(self._reader.durations())).encode()
            self._version = version
        resp.data = self._body

    on_head = on_get


class VersionResource:
    """`GET /version`: the bare text, whatever the client takes it for."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the version without quotes; it is labelled JSON where JSON was asked for."""
        resp.content_type = JSON if preferred(req, _TEXT_FORMS) == JSON else _TEXT
        resp.text = self._source.version()

    on_head = on_get


def _groups(durations: Durations) -> dict[str, dict[str, object]]:
    return {
        "preComputeDurations": _group(durations.pre),
        "appComputeDurations": _group(durations.app),
        "postComputeDurations": _group(durations.post),
        "completeComputeDurations": _group(durations.complete),
    }


def _group(statistics: Statistics) -> dict[str, object]:
    return {
        "durationSamplesCount": statistics.count,
        "minDuration": _number(statistics.minimum),
        "maxDuration": _number(statistics.maximum),
        "averageDuration": _number(statistics.average),
    }


def _number(value: float) -> float | str:
    """Return a JSON value: `NaN` is no JSON number, and goes as a text (section 2)."""
    return "NaN" if math.isnan(value) else value
