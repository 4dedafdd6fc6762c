"""`/actuator`: links, health, info, in the Java framework's form (docs/spec/08, 3.2 to 3.5)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import falcon
from falcon.asgi import Request, Response

from iexworker.web.health import Component, Health, Status, examine
from iexworker.web.negotiation import ACTUATOR_FORMS, choose
from iexworker.web.worker_view import Source

_HTTP_STATUS = {
    Status.UP: falcon.HTTP_200,
    Status.DOWN: falcon.HTTP_503,
    Status.OUT_OF_SERVICE: falcon.HTTP_503,
}
_GROUPS = ("liveness", "readiness")


def _answer(req: Request, resp: Response, body: object) -> None:
    resp.content_type = choose(req, *ACTUATOR_FORMS)
    resp.text = json.dumps(body, separators=(",", ":"))


class Links:
    """`GET /actuator`: where to go from here."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the links to what is exposed."""
        base = f"{req.prefix}/actuator"
        links = {"self": (base, False)}
        if self._source.exposes("health"):
            links["health"] = (f"{base}/health", False)
            links["health-path"] = (f"{base}/health/{{*path}}", True)
        for endpoint in ("info", "prometheus"):
            if self._source.exposes(endpoint):
                links[endpoint] = (f"{base}/{endpoint}", False)
        named = {
            name: {"href": href, "templated": templated}
            for name, (href, templated) in links.items()
        }
        _answer(req, resp, {"_links": named})

    on_head = on_get


class HealthResource:
    """`GET /actuator/health`, its two groups and its components."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the health as a whole, whose status is that of the local processes."""
        health = examine(self._source)
        self._put(req, resp, health.liveness, health, groups=list(_GROUPS))

    async def on_get_part(self, req: Request, resp: Response, part: str) -> None:
        """Answer a group or a component; 404 for a name that is neither."""
        health = examine(self._source)
        if part == "liveness":
            only = Health({"processes": health.components["processes"]})
            self._put(req, resp, health.liveness, only)
        elif part == "readiness":
            self._put(req, resp, health.readiness, health)
        elif part in health.components:
            self._put_component(req, resp, health.components[part])
        else:
            raise falcon.HTTPNotFound()

    on_head = on_get
    on_head_part = on_get_part

    def _put(
        self, req: Request, resp: Response, status: Status, health: Health, **more: object
    ) -> None:
        resp.status = _HTTP_STATUS[status]
        components = {name: item.to_json() for name, item in health.components.items()}
        _answer(req, resp, {"status": status.value, "components": components, **more})

    def _put_component(self, req: Request, resp: Response, component: Component) -> None:
        resp.status = _HTTP_STATUS[component.status]
        _answer(req, resp, component.to_json())


class Info:
    """`GET /actuator/info`: which build this is."""

    def __init__(self, source: Source) -> None:
        self._source = source
        built = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
        self._time = built.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the build; the version is the one shown everywhere."""
        build = {
            "artifact": "iexec-worker",
            "name": "iexec-worker",
            "time": self._time,
            "version": self._source.version(),
            "group": "com.iexec.worker",
        }
        _answer(req, resp, {"build": build})

    on_head = on_get
