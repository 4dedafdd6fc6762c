"""`GET /actuator/prometheus`: the families in text form, kept while nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from falcon.asgi import Request, Response
from prometheus_client import exposition
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from iexworker.web.negotiation import preferred
from iexworker.web.prometheus_families import Families
from iexworker.web.request_metrics import Traffic
from iexworker.web.worker_view import Source

_TEXT = "text/plain;version=0.0.4"
_OPENMETRICS = "application/openmetrics-text;version=1.0.0"
_CHARSET = ";charset=utf-8"
_ENCODERS: dict[str, Callable[[Collector], bytes]] = {
    _TEXT: exposition.generate_latest,
    _OPENMETRICS: openmetrics.generate_latest,
}


class _Chosen(Collector):
    """Families that were collected before, all or some of them."""

    def __init__(self, families: list[Metric], names: frozenset[str] = frozenset()) -> None:
        self._families = families
        self._names = names

    def collect(self) -> Iterator[Metric]:
        """Yield those of the names asked for, by family or by sample; all where none was."""
        for family in self._families:
            if not self._names or not self._names.isdisjoint(
                (family.name, *(sample.name for sample in family.samples))
            ):
                yield family


class PrometheusResource:
    """The exposition, made anew when ring or board have changed, and each second."""

    def __init__(self, source: Source, traffic: Traffic) -> None:
        self._source = source
        self._collector = Families(source, traffic)
        self._state: tuple[int, int, int] | None = None
        self._families: list[Metric] = []
        self._bodies: dict[str, bytes] = {}

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer text 0.0.4, or OpenMetrics to who prefers it; `includedNames` limits it."""
        form = preferred(req, (_TEXT, _OPENMETRICS)) or _TEXT
        resp.content_type = form + _CHARSET
        self._refresh()
        if req.query_string and (names := _included(req)):
            resp.data = _ENCODERS[form](_Chosen(self._families, names))
            return
        body = self._bodies.get(form)
        if body is None:
            body = self._bodies[form] = _ENCODERS[form](_Chosen(self._families))
        resp.data = body

    on_head = on_get

    def _refresh(self) -> None:
        source = self._source
        state = (source.ring.version, source.board.version, int(source.clock()))
        if state != self._state:
            self._families = list(self._collector.collect())
            self._bodies = {}
            self._state = state


def _included(req: Request) -> frozenset[str]:
    """Return the names of the query; empty ones mean nothing."""
    return frozenset(filter(None, req.get_param_as_list("includedNames", delimiter=",") or ()))
