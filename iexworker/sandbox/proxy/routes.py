"""HTTP interface of result proxy and configuration server (docs/spec/09, 2.2; 02, 4.2)."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
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
TellRefusal = Callable[[str, str, str, str], None]
"""Takes the task, the wallet, what was refused (`token` or `upload`), and why."""

_VERSIONS = {Profile.V8: "8.5.0", Profile.V9: "9.1.0"}


def proxy_routes(
    proxy: ResultProxy, profile: Profile, tell: TellRefusal = lambda *_: None
) -> Routes:
    """Return all that the result proxy answers; `/ipfs/<hash>` is the store's gateway.

    What is refused is logged, and told to `tell`: the answer carries no reason.
    """
    calls = _Calls(proxy, tell)
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
    def __init__(self, proxy: ResultProxy, tell: TellRefusal) -> None:
        self._proxy = proxy
        self._tell = tell

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
            self._refuse("token", given.task_id, given.wallet, str(error))
            raise HttpError(error.status, with_body=False) from None

    def upload(self, request: Request) -> Response:
        token = request.header("authorization")
        body = request.json()
        task_id, text = _result(body)
        wallet = self._proxy.wallet_of(token) or ""
        try:
            archive = base64.b64decode(text, validate=True)
        except binascii.Error:
            self._refuse("upload", task_id, wallet, "the field zip is no Base64")
            raise HttpError(400) from None
        try:
            return as_text(self._proxy.upload(token, task_id, archive))
        except Refused as error:
            self._refuse("upload", task_id, wallet, str(error))
            raise HttpError(error.status, with_body=False) from None

    def _refuse(self, what: str, task_id: str, wallet: str, reason: str) -> None:
        facts = {"task": task_id, "worker": wallet, "reason": reason}
        log.warning("%s refused", what, extra=facts)
        self._tell(task_id, wallet, what, reason)

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


def _result(body: object) -> tuple[str, str]:
    """Read task and archive of a `ResultModel`; the other fields are not looked at (09, 2.4)."""
    data = body if isinstance(body, Mapping) else {}
    task_id, text = data.get("chainTaskId"), data.get("zip")
    if not isinstance(task_id, str) or not isinstance(text, str | None):
        raise HttpError(400)
    return task_id, text or ""
