"""What the HTTP server has answered, by route: the `http_server_requests` family (6.4)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import falcon
from falcon.asgi import Request, Response

_UNKNOWN_ROUTE = "/**"
_UNKNOWN_METHOD = "UNKNOWN"
_RECENT_S = 60.0
_STARTED = "iexworker.started"


@dataclass(slots=True)
class RouteTally:
    """The answers of one route, method and status."""

    count: int = 0
    total_s: float = 0.0
    _current_s: float = 0.0
    _previous_s: float = 0.0
    _since: float = 0.0

    def add(self, elapsed_s: float, now: float) -> None:
        """Count an answer that took `elapsed_s`, at monotonic instant `now`."""
        self._turn(now)
        self.count += 1
        self.total_s += elapsed_s
        self._current_s = max(self._current_s, elapsed_s)

    def slowest_s(self, now: float) -> float:
        """Return the longest of the last one to two minutes."""
        self._turn(now)
        return max(self._current_s, self._previous_s)

    def _turn(self, now: float) -> None:
        age = now - self._since
        if age >= _RECENT_S:
            self._previous_s = self._current_s if age < 2 * _RECENT_S else 0.0
            self._current_s = 0.0
            self._since = now


class Traffic:
    """Falcon middleware that counts every answer; its keys are few whatever clients ask for."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, int], RouteTally] = {}

    async def process_request(self, req: Request, resp: Response) -> None:
        """Note when the request came."""
        req.scope[_STARTED] = time.monotonic()

    async def process_response(
        self, req: Request, resp: Response, resource: object, req_succeeded: bool
    ) -> None:
        """Count the answer."""
        now = time.monotonic()
        method = req.method if req.method in falcon.HTTP_METHODS else _UNKNOWN_METHOD
        key = (method, req.uri_template or _UNKNOWN_ROUTE, resp.status_code)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = RouteTally()
        tally.add(now - req.scope[_STARTED], now)

    def tallies(self) -> Iterator[tuple[str, str, int, RouteTally]]:
        """Yield method, route, status and what they add up to."""
        for (method, route, status), tally in sorted(self._tallies.items()):
            yield method, route, status, tally


def outcome(status: int) -> str:
    """Return the framework's word for a class of statuses."""
    if status < 300:
        return "SUCCESS"
    if status < 400:
        return "REDIRECTION"
    return "CLIENT_ERROR" if status < 500 else "SERVER_ERROR"
