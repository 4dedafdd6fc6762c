"""Ask the worker's own port whether it is alive, for `iexworker healthcheck`."""

from __future__ import annotations

import http.client
import json

LIVENESS = "/actuator/health/liveness"

_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, not by us


def problem(listen_address: str, port: int, timeout_s: float) -> str | None:
    """Return why the worker is not alive, None when it is.

    An answer of 404 is a sign of life too: the operator does not expose the health.
    """
    host = _LOCAL.get(listen_address, listen_address)
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", LIVENESS, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read(65536)
    except (OSError, http.client.HTTPException) as error:
        return f"http://{host}:{port}{LIVENESS} does not answer: {error}"
    finally:
        connection.close()
    if answer.status in (200, 404):
        return None
    return f"not alive: HTTP {answer.status}, {_status_of(body)}"


def _status_of(body: bytes) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        return "no JSON"
    return str(document.get("status")) if isinstance(document, dict) else "no object"
