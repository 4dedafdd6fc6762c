"""Error documents in the Java framework's form (docs/spec/08, section 1.1)."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import falcon
from falcon.asgi import App, Request, Response

from iexworker.web.negotiation import HTML, JSON, preferred

log = logging.getLogger(__name__)


def install(app: App[Request, Response]) -> None:
    """Make `app` answer every error with these documents."""
    app.set_error_serializer(serialize)
    app.add_error_handler(Exception, _unexpected)


def serialize(req: Request, resp: Response, error: falcon.HTTPError) -> None:
    """Write the document: an HTML page for a browser, JSON for all others."""
    if preferred(req, (JSON, HTML)) == HTML:
        resp.content_type = "text/html;charset=UTF-8"
        resp.text = page(error.status_code, req.path)
    else:
        resp.content_type = JSON
        resp.text = json.dumps(document(error.status_code, req.path), separators=(",", ":"))


def document(status: int, path: str) -> Mapping[str, object]:
    """Return the JSON form of an error; it has no `message`."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "timestamp": now,
        "status": status,
        "error": HTTPStatus(status).phrase,
        "path": path,
    }


def page(status: int, path: str) -> str:
    """Return the HTML form of an error."""
    title = f"{status} {HTTPStatus(status).phrase}"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>{title}</title><h1>{title}</h1><p>{html.escape(path)}"
        "<p>This is an iexworker. Its <a href=/>status page</a> links to what it serves.</html>"
    )


async def _unexpected(
    req: Request, resp: Response, error: Exception, params: Mapping[str, Any]
) -> None:
    """Answer 500 to what nobody foresaw, and log it."""
    log.error("request failed", exc_info=error, extra={"method": req.method, "path": req.path})
    raise falcon.HTTPInternalServerError() from error
