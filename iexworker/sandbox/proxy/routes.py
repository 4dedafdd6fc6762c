"""HTTP interface of result proxy and configuration server (docs/spec/09, 2.2; 02, 4.2)."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping
from typing import Any

from iexworker.sandbox.endpoint import (
    HttpError,
    Request,
    Response,
    Routes,
    as_json,
    as_text,
)
from iexworker.sandbox.proxy.proxy import Refused, ResultProxy, authorization
from iexworker.sandbox.scheduler.models import Profile

log = logging.getLogger(__name__)

BINARY = "application/octet-stream"
_VERSIONS = {Profile.V8: "8.5.0", Profile.V9: "9.1.0"}


def proxy_routes(proxy: ResultProxy, profile: Profile) -> Routes:
    """Return all that the result proxy answers; `/ipfs/<hash>` is the store's gateway."""
    calls = _Calls(proxy)
    return Routes(
        (
            ("GET", "/version", lambda _: as_text(_VERSIONS[profile])),
            ("POST", "/v1/results/token", calls.token),
            ("POST", "/v1/results", calls.upload),
            ("GET", "/v1/results/{task}/ipfshash", calls.hash),
            ("HEAD", "/v1/results/{task}", calls.check),
            ("GET", "/ipfs/{hash}", calls.content),
        )
    )


def config_routes(chain_config: Mapping[str, Any]) -> Routes:
    """Return all that the configuration server answers."""
    return Routes((("GET", "/config/chain", lambda _: as_json(chain_config)),))


class _Calls:
    def __init__(self, proxy: ResultProxy) -> None:
        self._proxy = proxy

    def token(self, request: Request) -> Response:
        header = request.header("authorization")
        body = request.json()
        try:
            given = authorization(body)
        except ValueError:
            raise HttpError(500) from None
        try:
            return as_text(self._proxy.token(header, given))
        except Refused as error:
            raise _refusal("token refused", given.task_id, given.wallet, error) from None

    def upload(self, request: Request) -> Response:
        token = request.header("authorization")
        body = request.json()
        task_id, archive = _result(body)
        try:
            return as_text(self._proxy.upload(token, task_id, archive))
        except Refused as error:
            wallet = self._proxy.wallet_of(token) or ""
            raise _refusal("upload refused", task_id, wallet, error) from None

    def hash(self, request: Request) -> Response:
        name = self._proxy.result_hash(request.parts["task"])
        if name is None:
            raise HttpError(404, with_body=False)
        return as_text(name)

    def check(self, request: Request) -> Response:
        if self._proxy.wallet_of(request.header("authorization")) is None:
            raise HttpError(401, with_body=False)
        found = self._proxy.has_result(request.parts["task"])
        return Response(204 if found else 404)

    def content(self, request: Request) -> Response:
        content = self._proxy.content(request.parts["hash"])
        if content is None:
            raise HttpError(404, with_body=False)
        return Response(200, BINARY, content)


def _result(body: object) -> tuple[str, bytes]:
    """Read task and archive of a `ResultModel`; the other fields are not looked at (09, 2.4)."""
    data = body if isinstance(body, Mapping) else {}
    task_id, text = data.get("chainTaskId"), data.get("zip")
    if not isinstance(task_id, str) or not isinstance(text, str | None):
        raise HttpError(400)
    try:
        return task_id, base64.b64decode(text or "", validate=True)
    except binascii.Error:
        raise HttpError(400) from None


def _refusal(event: str, task: str, wallet: str, error: Refused) -> HttpError:
    log.warning(event, extra={"task": task, "worker": wallet, "reason": str(error)})
    return HttpError(error.status, with_body=False)
