"""The scheduler's HTTP interface (docs/spec/03, 1.1, 2.2 and 6.1)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from iexworker.core import sockjs
from iexworker.sandbox.endpoint import (
    TEXT,
    HttpError,
    Request,
    Response,
    Routes,
    as_json,
    as_text,
)
from iexworker.sandbox.scheduler import bodies
from iexworker.sandbox.scheduler.models import Profile
from iexworker.sandbox.scheduler.push import POLLING, STREAMING, Broker
from iexworker.sandbox.scheduler.scheduler import OutOfService, Scheduler

log = logging.getLogger(__name__)

_T = TypeVar("_T")

JAVASCRIPT = "application/javascript;charset=UTF-8"
_SCHEME = "Bearer "


def scheduler_routes(
    scheduler: Scheduler, broker: Broker, profile: Profile, base_url: str
) -> Routes:
    """Return all that a scheduler at `base_url` answers."""
    calls = _Calls(scheduler, profile, base_url)
    channel = _Channel(broker)
    session = "/connect/{server}/{session}"
    return Routes(
        (
            ("GET", "/version", lambda _: as_text(profile.version)),
            ("GET", "/workers/config", lambda _: as_json(scheduler.configuration)),
            ("GET", "/workers/challenge", calls.challenge),
            ("POST", "/workers/login", calls.login),
            ("POST", "/workers/register", calls.register),
            ("POST", "/workers/ping", calls.ping),
            ("GET", "/workers/computing", calls.computing),
            ("GET", "/replicates/available", calls.available),
            ("GET", "/replicates/interrupted", calls.interrupted),
            ("POST", "/replicates/{task}/updateStatus", calls.update),
            ("GET", "/tasks/{task}", calls.task),
            ("GET", "/tasks/{task}/replicates/{wallet}/logs", calls.logs),
            ("GET", "/connect/info", channel.info),
            ("GET", "/connect", lambda _: as_text("Welcome to SockJS!\n")),
            # The real scheduler switches this transport off so: no upgrade, and no error either.
            ("GET", "/connect/websocket", lambda _: Response()),
            ("POST", f"{session}/{STREAMING}", channel.stream),
            ("POST", f"{session}/{POLLING}", channel.poll),
            ("POST", f"{session}/xhr_send", channel.send),
        )
    )


class _Calls:
    """What workers call; parameters and body are read before the token is looked at."""

    def __init__(self, scheduler: Scheduler, profile: Profile, base_url: str) -> None:
        self._scheduler = scheduler
        self._profile = profile
        self._base_url = base_url

    def challenge(self, request: Request) -> Response:
        return as_text(_known(self._scheduler.login.challenge(request.parameter("walletAddress"))))

    def login(self, request: Request) -> Response:
        wallet = request.parameter("walletAddress")
        signature = _read(lambda: bodies.signature(request.json()))
        return as_text(_known(self._scheduler.login.token(wallet, signature)))

    def register(self, request: Request) -> Response:
        token = request.header("authorization")
        told = _read(lambda: bodies.registration(request.json()))
        return as_json(self._scheduler.register(self._wallet(token), told))

    def ping(self, request: Request) -> Response:
        return as_text(self._scheduler.ping(self._wallet(request.header("authorization"))))

    def computing(self, request: Request) -> Response:
        return as_json(self._scheduler.computing(self._wallet(request.header("authorization"))))

    def available(self, request: Request) -> Response:
        block, token = _block(request), request.header("authorization")
        wallet = self._wallet(token)
        found = _served(lambda: self._scheduler.available(wallet, block))
        return Response(204) if found is None else as_json(found)

    def interrupted(self, request: Request) -> Response:
        block, token = _block(request), request.header("authorization")
        wallet = self._wallet(token)
        return as_json(_served(lambda: self._scheduler.interrupted(wallet, block)))

    def update(self, request: Request) -> Response:
        token = request.header("authorization")
        task_id = request.parts["task"]
        try:
            status, details = bodies.status_update(request.json(), self._profile)
        except (bodies.Unreadable, bodies.Unexpected) as error:
            self._tell_unreadable(task_id, token, str(error))
            raise HttpError(400 if isinstance(error, bodies.Unreadable) else 500) from None
        except HttpError:
            self._tell_unreadable(task_id, token, "it is no JSON")
            raise
        wallet = self._wallet(token)
        outcome = _served(lambda: self._scheduler.update(task_id, wallet, status, details))
        if outcome.action is None:
            return Response(outcome.verdict.value)
        return as_json(outcome.action.value, outcome.verdict.value)

    def _tell_unreadable(self, task_id: str, token: str, reason: str) -> None:
        wallet = self._scheduler.login.wallet(token.removeprefix(_SCHEME)) or ""
        facts = {"task": task_id, "worker": wallet, "reason": reason}
        log.warning("update unreadable", extra=facts)
        self._scheduler.note_refusal(task_id, wallet, "update", reason)

    def task(self, request: Request) -> Response:
        return _found(self._scheduler.task(request.parts["task"], self._base_url))

    def logs(self, request: Request) -> Response:
        return _found(self._scheduler.logs(request.parts["task"], request.parts["wallet"]))

    def _wallet(self, authorization: str) -> str:
        wallet = None
        if authorization.startswith(_SCHEME):
            wallet = self._scheduler.login.wallet(authorization.removeprefix(_SCHEME))
        return _known(wallet)


class _Channel:
    """SockJS over XHR; the other transports are switched off."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def info(self, request: Request) -> Response:
        _require_own_origin(request)
        entropy = random.randrange(2**31)  # noqa: S311 - the protocol's word for any number
        body = {
            "entropy": entropy,
            "origins": ["*:*"],
            "cookie_needed": True,
            "websocket": False,
        }
        answer = as_json(body)
        # Written by another part of Spring than the calls: in one piece, with a charset.
        return Response(200, "application/json;charset=UTF-8", answer.body)

    def stream(self, request: Request) -> Response:
        return self._receive(request, STREAMING)

    def poll(self, request: Request) -> Response:
        return self._receive(request, POLLING)

    def _receive(self, request: Request, transport: str) -> Response:
        _require_own_origin(request)
        session = self._broker.open(request.parts["session"], transport)
        if session is None:
            raise HttpError(404, with_body=False)
        return Response(200, JAVASCRIPT, stream=(line.encode() for line in session.receive()))

    def send(self, request: Request) -> Response:
        _require_own_origin(request)
        session = self._broker.find(request.parts["session"])
        if session is None:
            raise HttpError(404, with_body=False)
        try:
            texts = sockjs.decode_send(request.body.decode())
        except ValueError:
            return Response(500, TEXT, b"Broken JSON encoding.")
        self._broker.take(session, texts)
        return Response(204, TEXT)


def _require_own_origin(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HttpError(403, with_body=False)


def _found(body: dict[str, object] | None) -> Response:
    if body is None:
        raise HttpError(404, with_body=False)
    return as_json(body)


def _known(text: str | None) -> str:
    if text is None:
        raise HttpError(401, with_body=False)
    return text


def _block(request: Request) -> int:
    try:
        return int(request.parameter("blockNumber"))
    except ValueError:
        raise HttpError(400) from None


def _read(read: Callable[[], _T]) -> _T:
    try:
        return read()
    except bodies.Unreadable:
        raise HttpError(400) from None
    except bodies.Unexpected:
        raise HttpError(500) from None


def _served(call: Callable[[], _T]) -> _T:
    try:
        return call()
    except OutOfService:
        raise HttpError(503, with_body=False) from None
