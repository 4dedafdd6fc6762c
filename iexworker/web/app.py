"""The ASGI application: which path is answered by what (docs/spec/08, section 1)."""

from __future__ import annotations

from falcon.asgi import App, Request, Response

from iexworker.web import error_documents
from iexworker.web.actuator import HealthResource, Info, Links
from iexworker.web.metrics import MetricsResource, VersionResource
from iexworker.web.prometheus import PrometheusResource
from iexworker.web.request_metrics import Traffic
from iexworker.web.status_page import StatusPage
from iexworker.web.worker_view import Source


def create_app(source: Source) -> App[Request, Response]:
    """Return the application; an actuator endpoint that is not exposed has no route (404)."""
    traffic = Traffic()
    app = App(middleware=[traffic])
    error_documents.install(app)
    app.add_route("/", StatusPage(source))
    app.add_route("/metrics", MetricsResource(source))
    app.add_route("/version", VersionResource(source))
    app.add_route("/actuator", Links(source))
    if source.exposes("health"):
        health = HealthResource(source)
        app.add_route("/actuator/health", health)
        app.add_route("/actuator/health/{part}", health, suffix="part")
    if source.exposes("info"):
        app.add_route("/actuator/info", Info(source))
    if source.exposes("prometheus"):
        app.add_route("/actuator/prometheus", PrometheusResource(source, traffic))
    return app
