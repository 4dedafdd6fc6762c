"""The notification channel: SockJS over XHR, and the STOMP broker inside it (docs/spec/03, 6).

Sessions and subscriptions live in memory; what is published while nobody listens is lost.
"""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

from iexworker.core import sockjs, stomp
from iexworker.sandbox.scheduler.models import AbortCause, Action

log = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
GRACE_S = 5.0
"""A session without a receiving request is dead after this time."""
CACHED_MESSAGES = 100
"""What a session keeps between two receiving requests; the oldest go first."""

STREAMING = "xhr_streaming"
POLLING = "xhr"


class Session:
    """One SockJS session; its transport is that of its first receiving request."""

    def __init__(self, name: str, transport: str) -> None:
        self.name = name
        self.transport = transport
        self.subscriptions: dict[str, str] = {}
        """Destination by subscription id."""
        self.connected = False
        self.closed = False
        self._waiting: deque[str] = deque(maxlen=CACHED_MESSAGES)
        self._news = threading.Condition()
        self._opened = False
        self._attached = False
        self._left_at_s = time.monotonic()

    def send(self, frame: str) -> None:
        """Queue one frame for the client."""
        with self._news:
            self._waiting.append(frame)
            self._news.notify_all()

    def close(self) -> None:
        """End the session; its receiving request, if any, ends with it."""
        with self._news:
            self.closed = True
            self._news.notify_all()

    def is_dead(self) -> bool:
        """Whether the session was closed, or nobody has received for too long."""
        with self._news:
            idle = not self._attached and time.monotonic() - self._left_at_s > GRACE_S
            return self.closed or idle

    def receive(self) -> Iterator[str]:
        """Yield the lines of one receiving request, LF included, until the response has to end."""
        if not self._attach():
            yield sockjs.close_frame(2010, "Another connection still open") + "\n"
            return
        try:
            if self.transport == STREAMING:
                yield sockjs.PRELUDE + "\n"
            yield from self._lines()
        finally:
            with self._news:
                self._attached = False
                self._left_at_s = time.monotonic()

    def _attach(self) -> bool:
        with self._news:
            was, self._attached = self._attached, True
            return not was

    def _lines(self) -> Iterator[str]:
        if not self._opened:
            self._opened = True
            yield sockjs.OPEN + "\n"
            if self.transport == POLLING:
                return
        sent = 0
        while sent < sockjs.RESPONSE_LIMIT:
            line = self._next_line()
            if line is None:
                yield sockjs.close_frame(3000, "Go away!") + "\n"
                return
            yield line + "\n"
            if line != sockjs.HEARTBEAT:
                sent += len(line)
            if self.transport == POLLING:
                return

    def _next_line(self) -> str | None:
        """Wait for something to say; a heartbeat when nothing comes, None when all is over."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self.closed, HEARTBEAT_S)
            if self._waiting:
                frames = list(self._waiting)
                self._waiting.clear()
                return sockjs.encode_messages(frames)
            return None if self.closed else sockjs.HEARTBEAT


class Broker:
    """All sessions of the channel, and who listens to which topic."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def open(self, name: str, transport: str) -> Session | None:
        """Return the session to receive from; None when it belongs to another transport."""
        with self._lock:
            self._bury()
            session = self._sessions.setdefault(name, Session(name, transport))
            return session if session.transport == transport else None

    def find(self, name: str) -> Session | None:
        """Return a living session."""
        with self._lock:
            self._bury()
            return self._sessions.get(name)

    def _bury(self) -> None:
        for name in [name for name, one in self._sessions.items() if one.is_dead()]:
            del self._sessions[name]

    def close(self) -> None:
        """End all sessions."""
        with self._lock:
            for session in self._sessions.values():
                session.close()

    def take(self, session: Session, texts: Sequence[str]) -> None:
        """Act on the client's frames; one that is no STOMP is answered by an ERROR frame."""
        for text in texts:
            try:
                frame = stomp.decode(text)
            except stomp.StompError as error:
                self._refuse(session, f"Failed to parse the frame: {error}")
                continue
            self._act(session, frame)

    def _act(self, session: Session, frame: stomp.Frame) -> None:
        match frame.command:
            case "CONNECT" | "STOMP":
                session.connected = True
                # The simple broker offers no heartbeats: SockJS has its own.
                headers = {"version": "1.2", "heart-beat": "0,0"}
                session.send(stomp.encode(stomp.Frame("CONNECTED", headers)))
            case "SUBSCRIBE" if {"id", "destination"} <= frame.headers.keys():
                session.subscriptions[frame.headers["id"]] = frame.headers["destination"]
            case "UNSUBSCRIBE":
                session.subscriptions.pop(frame.headers.get("id", ""), None)
            case "DISCONNECT":
                session.subscriptions.clear()
                self._refuse(session, "Session closed.")
                session.close()
            case _:
                log.info("frame ignored", extra={"command": frame.command})

    def _refuse(self, session: Session, message: str) -> None:
        session.send(
            stomp.encode(stomp.Frame("ERROR", {"message": message, "content-length": "0"}))
        )

    def publish(
        self,
        task_id: str,
        action: Action,
        recipients: Sequence[str],
        *,
        block: int | None = None,
        cause: AbortCause | None = None,
    ) -> None:
        """Send to the topic's subscribers of this moment (6.5, 6.6)."""
        extra = None if block is None and cause is None else notification_extra(block or 0, cause)
        body = notification(task_id, recipients, action, extra)
        destination = f"/topic/task/{task_id}"
        reached = 0
        for session, subscription in self._listeners(destination):
            reached += 1
            session.send(self._message(session, subscription, destination, body))
        log.info(
            "notification published",
            extra={"task": task_id, "action": action.value, "reached": reached},
        )

    def _listeners(self, destination: str) -> list[tuple[Session, str]]:
        with self._lock:
            self._bury()
            return [
                (session, subscription)
                for session in self._sessions.values()
                for subscription, topic in list(session.subscriptions.items())
                if topic == destination
            ]

    def _message(
        self, session: Session, subscription: str, destination: str, body: dict[str, object]
    ) -> str:
        headers = {
            "destination": destination,
            "content-type": "application/json",
            "subscription": subscription,
            "message-id": f"{session.name}-{next(self._numbers)}",
        }
        text = json.dumps(body, separators=(",", ":"))
        return stomp.encode(stomp.Frame("MESSAGE", headers, text))


def notification(
    task_id: str, recipients: Sequence[str], action: Action, extra: dict[str, object] | None
) -> dict[str, object]:
    """Return a `TaskNotification` (6.5); its last field repeats the cause of the extra."""
    return {
        "chainTaskId": task_id,
        "workersAddress": list(recipients),
        "taskNotificationType": action.value,
        "taskNotificationExtra": extra,
        "taskAbortCause": (extra or {}).get("taskAbortCause") or AbortCause.UNKNOWN.value,
    }


def notification_extra(
    block: int, cause: AbortCause | None, authorization: dict[str, object] | None = None
) -> dict[str, object]:
    """Return a `TaskNotificationExtra`; `smsUrl` is never filled here."""
    return {
        "workerpoolAuthorization": authorization,
        "smsUrl": None,
        "blockNumber": block,
        "taskAbortCause": None if cause is None else cause.value,
    }
