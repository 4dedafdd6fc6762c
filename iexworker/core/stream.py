"""Notifications of the scheduler: STOMP inside SockJS, one topic a task (docs/spec/03, section 6).

Two threads: the owner's, which calls `run` and receives, and one that sends. The broker neither
stores nor repeats anything, so each time the stream stands again its owner must look for what it
may have missed (docs/spec/04, 11.1).
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from iexworker import outage, peers
from iexworker.core import sockjs, stomp
from iexworker.core.malformed import Malformed
from iexworker.core.messages import Notification
from iexworker.core.transport import CONNECT_TIMEOUT_S, NoAnswer, exchange, new_session
from iexworker.core.xhr import SessionLost, XhrSession
from iexworker.json_fields import MalformedMessage
from iexworker.retry import pauses

OPENING_TIMEOUT_S = 15.0
"""From the first request of a session to its CONNECTED."""
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 15.0
FRAMES_AT_ONCE = 100
_STREAM = "event stream"

_CONNECT = stomp.encode(
    stomp.Frame("CONNECT", {"heart-beat": "10000,10000", "accept-version": "1.1,1.2"})
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Link:
    """One session on its way from opening to ready; guarded by the stream's condition."""

    session: XhrSession
    began_s: float = field(default_factory=time.monotonic)
    opened: bool = False
    greeted: bool = False
    """CONNECT is sent, or about to be."""
    connected: bool = False
    ready_s: float | None = None
    failure: str = ""
    """Why nothing more can be sent; the receiving thread then ends the session."""
    ids: dict[str, str] = field(default_factory=dict)
    """Task id -> subscription id, unique within the session."""
    next_id: int = 0

    def frames(self, topics: dict[str, None]) -> list[str]:
        """Return what to send next so that the session comes to these topics, and note it."""
        if self.failure:
            return []
        if not self.connected:
            greet = self.opened and not self.greeted
            self.greeted = self.opened
            return [_CONNECT] if greet else []
        gone = [task_id for task_id in self.ids if task_id not in topics]
        new = [task_id for task_id in topics if task_id not in self.ids]
        frames = [self._unsubscribe(task_id) for task_id in gone[:FRAMES_AT_ONCE]]
        room = FRAMES_AT_ONCE - len(frames)
        return frames + [self._subscribe(task_id) for task_id in new[:room]]

    def _subscribe(self, task_id: str) -> str:
        self.ids[task_id] = str(self.next_id)
        self.next_id += 1
        return _subscription(self.ids[task_id], task_id)

    def _unsubscribe(self, task_id: str) -> str:
        return stomp.encode(stomp.Frame("UNSUBSCRIBE", {"id": self.ids.pop(task_id)}))


class NotificationStream:
    """Keeps one session open and every topic subscribed on it.

    `on_notification` gets each well-formed message, in the receiving thread; whether it concerns
    this wallet and a task it knows is for the owner to see. While `is_told` is true, its owner
    tells of the scheduler's outage. `on_state` gets True each time all
    topics are subscribed on a new session, False when that session is lost. Both must be quick.
    """

    def __init__(
        self,
        base_url: str,
        on_notification: Callable[[Notification], None],
        on_state: Callable[[bool], None],
        is_told: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_told = is_told
        self._base_url = base_url.rstrip("/")
        self._peer = peers.scheduler(self._base_url)
        self._on_notification = on_notification
        self._on_state = on_state
        self._malformed = Malformed()
        self._changed = threading.Condition()
        self._topics: dict[str, None] = {}
        self._link: _Link | None = None
        self._stopped = threading.Event()
        self._informed = False

    @property
    def ready(self) -> bool:
        """Whether a session stands with all its topics."""
        with self._changed:
            return self._link is not None and self._link.ready_s is not None

    def subscribe(self, task_id: str) -> None:
        """Subscribe to a task's topic, now and on every later session; twice is once.

        Returns at once; raises `StompError` for an id that no header can carry.
        """
        _subscription("0", task_id)
        with self._changed:
            self._topics[task_id] = None
            self._changed.notify_all()

    def unsubscribe(self, task_id: str) -> None:
        """Leave a task's topic."""
        with self._changed:
            self._topics.pop(task_id, None)
            self._changed.notify_all()

    def stop(self) -> None:
        """Make `run` return; from any thread."""
        self._stopped.set()
        with self._changed:
            if self._link is not None:
                self._link.session.close()
            self._changed.notify_all()

    def run(self) -> None:
        """Receive until `stop`, one session after the other with a growing pause between."""
        sender = threading.Thread(target=self._send_forever, name="stream-sender", daemon=True)
        sender.start()
        pause = self._pauses()
        while not self._stopped.is_set():
            ready_for_s = self._live_one_session()
            if ready_for_s >= LONGEST_PAUSE_S:
                pause = self._pauses()
            self._stopped.wait(next(pause))
        sender.join()

    @staticmethod
    def _pauses() -> Iterator[float]:
        return pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S, shortened=0.5)

    def _live_one_session(self) -> float:
        """Return for how many seconds the session was ready."""
        link = _Link(XhrSession(self._base_url, self._malformed))
        with self._changed:
            if self._stopped.is_set():
                return 0.0
            self._link = link
        try:
            self._ask_info()
            with contextlib.closing(link.session.receive()) as events:
                for event in events:
                    self._handle(link, event)
        except SessionLost as error:
            self._say_lost(link.failure or str(error))
        except Exception:
            log.exception("notification stream failed, a new session follows")
        finally:
            self._drop(link)
            link.session.release()
        return 0.0 if link.ready_s is None else time.monotonic() - link.ready_s

    def _ask_info(self) -> None:
        """Ask once whether the scheduler offers SockJS; the session itself needs nothing of it."""
        if self._informed:
            return
        path = "/connect/info"
        url = self._base_url + path
        try:
            with new_session() as session:
                reply = exchange(session, self._peer, "GET", url, read_timeout_s=CONNECT_TIMEOUT_S)
        except NoAnswer as error:
            raise SessionLost(str(error)) from None
        if reply.status != 200:
            raise SessionLost(self._peer.answered(f"GET {path}", reply.status, reply.shown))
        self._informed = True

    def _handle(self, link: _Link, event: sockjs.Event) -> None:
        if isinstance(event, sockjs.Open):
            with self._changed:
                link.opened = True
                self._changed.notify_all()
        elif isinstance(event, sockjs.Messages):
            for text in event.texts:
                self._handle_frame(link, text)
        if not link.connected and time.monotonic() - link.began_s > OPENING_TIMEOUT_S:
            raise SessionLost(f"not connected within {OPENING_TIMEOUT_S:g} s")

    def _handle_frame(self, link: _Link, text: str) -> None:
        if not text.strip("\r\n"):
            return  # a heart-beat of STOMP; we are promised none, and need none
        try:
            frame = stomp.decode(text)
            if frame.command == "MESSAGE":
                self._deliver(Notification.from_json(_json(frame.body)))
        except (stomp.StompError, MalformedMessage) as error:
            self._malformed.say("notification stream", text, str(error))
            return
        if frame.command == "CONNECTED":
            with self._changed:
                link.connected = True
                self._changed.notify_all()
        elif frame.command == "ERROR":
            words = frame.headers.get("message") or frame.body
            raise SessionLost(f"the scheduler's broker says: {words:.200}")

    def _deliver(self, notification: Notification) -> None:
        try:
            self._on_notification(notification)
        except Exception:
            log.exception("notification not handled", extra={"task": notification.task_id})

    def _drop(self, link: _Link) -> None:
        with self._changed:
            self._link = None
            if link.ready_s is not None:
                self._tell(False)

    def _send_forever(self) -> None:
        while True:
            with self._changed:
                while not (work := self._next_work()) and not self._stopped.is_set():
                    self._changed.wait()
            if self._stopped.is_set() or work is None:
                return
            link, frames = work
            try:
                link.session.send(frames)
            except SessionLost as error:
                with self._changed:
                    link.failure = str(error)
                link.session.close()

    def _next_work(self) -> tuple[_Link, list[str]] | None:
        """Return the frames to send now; when the topics all stand, say once that it is ready."""
        link = self._link
        if link is None:
            return None
        frames = link.frames(self._topics)
        if frames:
            return link, frames
        if link.connected and not link.failure and link.ready_s is None:
            link.ready_s = time.monotonic()
            outage.of(outage.SCHEDULER).worked(_STREAM)
            log.info("notification stream ready", extra={"topics": len(self._topics)})
            self._tell(True)
        return None

    def _tell(self, ready: bool) -> None:
        try:
            self._on_state(ready)
        except Exception:
            log.exception("state of the notification stream not handled")

    def _say_lost(self, words: str) -> None:
        if self._stopped.is_set() or self._is_told():
            return
        has_shape = words.startswith(self._peer.name)
        error = words if has_shape else self._peer.told(_STREAM, words)
        outage.of(outage.SCHEDULER).failed(_STREAM, error)


def _subscription(identifier: str, task_id: str) -> str:
    headers = {"id": identifier, "destination": f"/topic/task/{task_id}"}
    return stomp.encode(stomp.Frame("SUBSCRIBE", headers))


def _json(body: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"not JSON: {error}") from None
