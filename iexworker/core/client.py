"""The scheduler's REST interface, one method a call (docs/spec/03, sections 1 to 8).

No method retries: whether and when to repeat is the caller's to know. All of them may be called
from any thread.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from iexworker import peers
from iexworker.core import chainconfig
from iexworker.core.malformed import Malformed
from iexworker.core.messages import (
    AnswerKind,
    Details,
    Grant,
    Notification,
    NotificationType,
    PublicConfiguration,
    Registration,
    ReplicateStatus,
    update_body,
)
from iexworker.core.transport import READ_TIMEOUT_S, NoAnswer, Reply, Transport
from iexworker.errors import SchedulerError, Unauthorized
from iexworker.json_fields import MalformedMessage
from iexworker.peers import Peer
from iexworker.poco.models import ChainConfiguration, Profile

HELD_READ_TIMEOUT_S = 180.0
"""For updates whose answer the scheduler holds while it checks the chain (8.1)."""

PING_READ_TIMEOUT_S = 15.0
"""Short, for the next ping is due: the scheduler gives a silent worker up after 60 s."""

_HELD = frozenset(
    (
        ReplicateStatus.CONTRIBUTED,
        ReplicateStatus.REVEALED,
        ReplicateStatus.CONTRIBUTE_AND_FINALIZE_DONE,
    )
)

_SESSION_ID = re.compile(r"[0-9A-Za-z_-]{0,128}")

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a status update."""

    kind: AnswerKind
    next: NotificationType | None
    """What to do; None when the scheduler names no next action."""
    text: str = ""
    """The body as received, cut."""


class SchedulerClient:
    """Calls to one scheduler.

    `token` is the JWT that authorised calls carry, None before the first login; whoever logs in
    sets it (`login.Tokens`). Every call raises `SchedulerError` (with the HTTP status, None when
    there was no answer), authorised ones `Unauthorized` on a 401 and while no token is held.
    """

    def __init__(self, base_url: str) -> None:
        self.token: str | None = None
        self._transport = Transport(base_url)
        self._malformed = Malformed()

    @property
    def peer(self) -> Peer:
        """The scheduler, as its errors name it."""
        return self._transport.peer

    @property
    def base_url(self) -> str:
        """The scheduler's URL without a slash at its end."""
        return self._transport.base_url

    def close(self) -> None:
        """Close the connections of all threads."""
        self._transport.close()

    def version(self) -> str:
        """Return the scheduler's version text, such as `9.2.1` (5.1)."""
        return self._call("GET", "/version").text

    def config(self) -> PublicConfiguration:
        """Return the public configuration (5.2)."""
        return self._get("/workers/config", PublicConfiguration.from_json)

    def profile(self, configuration: PublicConfiguration) -> Profile:
        """Return the generation of the scheduler, by its version, else its configuration (10)."""
        try:
            profile = Profile.from_version(self.version())
        except SchedulerError as error:
            log.warning("scheduler version unknown", extra={"error": str(error)})
            profile = None
        if profile is None:
            profile = Profile.V8 if configuration.has_adapter_url else Profile.V9
        return profile

    def chain_configuration(self, config_server_url: str) -> ChainConfiguration:
        """Return the chain configuration that the config server holds (docs/spec/02, 4.2)."""
        url = config_server_url.rstrip("/")
        transport = Transport(url, peers.configuration_server(url))
        with contextlib.closing(transport):
            reply = self._call("GET", "/config/chain", transport=transport)
            return self._read("/config/chain", reply, chainconfig.chain_configuration, transport)

    def challenge(self, wallet: str) -> str:
        """Return the text to sign for a login of this lower-case address (3.1)."""
        return self._call("GET", f"/workers/challenge?walletAddress={wallet}").text

    def login(self, wallet: str, signature: str) -> str:
        """Return the JWT for a signed challenge (3.1)."""
        path = f"/workers/login?walletAddress={wallet}"
        return self._call("POST", path, body={"value": signature}).text

    def register(self, model: Registration) -> None:
        """Tell the scheduler what this worker is (5.3)."""
        self._authorised("POST", "/workers/register", body=model.to_json())

    def ping(self) -> str:
        """Say that we live; return the session id, empty when the scheduler gave none (5.4)."""
        path = "/workers/ping"
        reply = self._authorised("POST", path, read_timeout_s=PING_READ_TIMEOUT_S)
        if not _SESSION_ID.fullmatch(reply.text):
            self._malformed.say(path, reply.text, "no session id")
            raise SchedulerError(self._odd(f"POST {path}", reply.shown), reply.status)
        return reply.text

    def computing(self) -> list[str]:
        """Return the ids of the tasks that the scheduler holds this worker to compute (5.5)."""
        path = "/workers/computing"
        return self._read(path, self._authorised("GET", path), _task_ids)

    def available(self, block: int) -> Grant | None:
        """Ask for work at this block number; None when there is none (5.6)."""
        path = f"/replicates/available?blockNumber={block}"
        reply = self._authorised("GET", path)
        return None if reply.status == 204 else self._read(path, reply, Grant.from_json)

    def interrupted(self, block: int) -> list[Notification]:
        """Return what the scheduler thinks was interrupted; it records `RECOVERING` (5.8).

        Malformed items are logged and left out.
        """
        path = f"/replicates/interrupted?blockNumber={block}"
        items = self._read(path, self._authorised("GET", path), _array)
        return [note for item in items if (note := self._notification(path, item)) is not None]

    def task(self, task_id: str) -> dict[str, Any]:
        """Return the scheduler's own record of a task, such as `currentStatus` (04, 11.1)."""
        return self._get(f"/tasks/{task_id}", _object)

    def update_status(
        self, task_id: str, status: ReplicateStatus, details: Details | None = None
    ) -> Answer:
        """Report a status (8).

        A 400 names a cause that this scheduler does not know: the update is repeated once without.
        """
        try:
            return self._update(task_id, status, details)
        except SchedulerError as error:
            if error.status != 400 or details is None or details.cause is None:
                raise
            log.warning(
                "cause not understood by the scheduler, update repeated without it",
                extra={"task": task_id, "status": status.value, "cause": details.cause},
            )
            return self._update(task_id, status, dataclasses.replace(details, cause=None))

    def _update(self, task_id: str, status: ReplicateStatus, details: Details | None) -> Answer:
        path = f"/replicates/{task_id}/updateStatus"
        timeout_s = HELD_READ_TIMEOUT_S if status in _HELD else READ_TIMEOUT_S
        body = update_body(status, details)
        reply = self._authorised("POST", path, body=body, read_timeout_s=timeout_s)
        if reply.status == 208:
            return Answer(AnswerKind.ALREADY, NotificationType.PLEASE_WAIT, reply.shown)
        if reply.status == 202:
            return Answer(AnswerKind.REFUSED, NotificationType.PLEASE_ABORT, reply.shown)
        if reply.status not in (200, 204):
            said = self._transport.peer.answered(f"POST {path}", reply.status, reply.shown)
            raise SchedulerError(said, reply.status)
        following = self._read(path, reply, _next, method="POST")
        return Answer(AnswerKind.ACCEPTED, following, reply.shown)

    def _notification(self, path: str, item: object) -> Notification | None:
        try:
            return Notification.from_json(item)
        except MalformedMessage as error:
            self._malformed.say(f"GET {path.partition('?')[0]}", json.dumps(item), str(error))
            return None

    def _get(self, path: str, parse: Callable[[object], T]) -> T:
        return self._read(path, self._call("GET", path), parse)

    def _read(
        self,
        path: str,
        reply: Reply,
        parse: Callable[[object], T],
        transport: Transport | None = None,
        method: str = "GET",
    ) -> T:
        try:
            return parse(reply.json())
        except ValueError as error:
            where = path.partition("?")[0]
            self._malformed.say(where, reply.text, str(error))
            said = self._odd(f"{method} {where}", str(error), transport)
            raise SchedulerError(said, reply.status) from None

    def _odd(self, tried: str, words: str, transport: Transport | None = None) -> str:
        peer = (transport or self._transport).peer
        todo = f"is that the address of a {peer.name}?"
        return peer.told(tried, f"malformed answer: {words}", todo)

    def _authorised(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> Reply:
        token = self.token
        if token is None:
            raise Unauthorized(f"{method} {path}: no token held yet", 401)
        headers = {"Authorization": f"Bearer {token}"}
        return self._call(method, path, body=body, headers=headers, read_timeout_s=read_timeout_s)

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
        transport: Transport | None = None,
    ) -> Reply:
        transport = transport or self._transport
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        try:
            reply = transport.call(
                method, path, headers=headers, body=data, read_timeout_s=read_timeout_s
            )
        except NoAnswer as error:
            raise SchedulerError(str(error)) from error
        if 200 <= reply.status < 300:
            return reply
        kind = Unauthorized if reply.status == 401 else SchedulerError
        tried = f"{method} {path.partition('?')[0]}"
        raise kind(transport.peer.answered(tried, reply.status, reply.shown), reply.status)


def _next(data: object) -> NotificationType | None:
    if data is None:
        return None
    if not isinstance(data, str) or data not in NotificationType.__members__:
        raise MalformedMessage(f"expected the name of a next action, got {data!r:.80}")
    return NotificationType[data]


def _array(data: object) -> list[Any]:
    if not isinstance(data, list):
        raise MalformedMessage(f"expected an array, got {data!r:.80}")
    return data


def _object(data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise MalformedMessage(f"expected an object, got {data!r:.80}")
    return data


def _task_ids(data: object) -> list[str]:
    items = _array(data)
    if not all(isinstance(item, str) for item in items):
        raise MalformedMessage(f"expected an array of texts, got {data!r:.80}")
    return [item.lower() for item in items]
