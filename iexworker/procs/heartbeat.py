"""The heartbeat process: a ping every 10 s, whatever else goes on (docs/spec/03, 5.4).

The scheduler gives a worker up after 60 s without one. Pings are made in a thread of their own,
so that the main loop turns, and shows it to the watchdog, while the scheduler does not answer.
"""

from __future__ import annotations

import logging
import queue
import selectors
import threading
import time
from typing import TYPE_CHECKING

from iexworker import outage
from iexworker.core.client import SchedulerClient
from iexworker.errors import SchedulerError, Unauthorized
from iexworker.shared.board import State
from iexworker.shared.channels import Message, SessionChanged, Token, TokenRefused

if TYPE_CHECKING:
    from iexworker.procs.context import Context

PERIOD_S = 10.0
TURN_S = 1.0
"""The longest turn of the main loop, which shows the watchdog that it lives."""

log = logging.getLogger(__name__)


def run(context: Context, period_s: float = PERIOD_S) -> None:
    """Ping until the parent says stop."""
    Heartbeat(context, period_s).run()


def following(due_s: float, now_s: float, period_s: float) -> float:
    """Return when the ping after the one that was due at `due_s` is due.

    The rate is fixed. Of the pings that a slow one made late, one is made up for, at once.
    """
    next_s = due_s + period_s
    return next_s + max(0.0, (now_s - next_s) // period_s) * period_s


class Heartbeat:
    """The main loop hears scheduling and the parent, the other thread pings."""

    def __init__(self, context: Context, period_s: float) -> None:
        self._context = context
        self._period_s = period_s
        self._entry = context.board.entry(context.role)
        self._facts = context.board.facts
        self._session_id = self._facts.read().session_id
        self._client = SchedulerClient(context.settings.core_url)
        self._changed = threading.Condition()
        self._due_s: float | None = None
        """Monotonic; None until there is a token."""
        self._problem: str | None = None
        """Why the last ping was not answered, empty when it was, None before the first."""
        self._outage = outage.Outage(outage.SCHEDULER)
        self._stopping = False
        self._crash: BaseException | None = None

    def run(self) -> None:
        """Serve until the parent says stop."""
        self._entry.write(state=State.IDLE, text="no token yet")
        pinger = threading.Thread(target=self._ping_forever, name="pinger", daemon=True)
        pinger.start()
        self._context.ready()
        greeted = False
        with selectors.DefaultSelector() as selector:
            selector.register(self._context.channels.tokens, selectors.EVENT_READ)
            selector.register(self._context.control, selectors.EVENT_READ)
            while self._context.stop_order() is None:
                self._entry.tick()
                self._outage.remind()
                greeted = greeted or self._tell(self._context.hello())
                self._take_tokens()
                if self._crash is not None:
                    raise self._crash
                selector.select(TURN_S)
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._client.close()

    def _take_tokens(self) -> None:
        while True:
            try:
                message = self._context.channels.tokens.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, Token):
                self._take(message.jwt)

    def _take(self, jwt: str) -> None:
        """Ping with this token: at once, unless the one before does its work."""
        with self._changed:
            new = jwt != self._client.token
            self._client.token = jwt
            if self._due_s is None or (new and self._problem != ""):
                self._due_s = time.monotonic()
            self._changed.notify()

    def _ping_forever(self) -> None:
        try:
            while (due_s := self._wait_until_due()) is not None:
                self._ping()
                with self._changed:
                    # A token that came meanwhile may have made the next one due already.
                    if self._due_s == due_s:
                        self._due_s = following(due_s, time.monotonic(), self._period_s)
        except BaseException as error:  # noqa: BLE001 - the main loop raises it
            self._crash = error

    def _wait_until_due(self) -> float | None:
        """Return the instant that has come; None when it is time to leave."""
        with self._changed:
            while not self._stopping:
                wait_s = None if self._due_s is None else self._due_s - time.monotonic()
                if self._due_s is not None and wait_s is not None and wait_s <= 0:
                    return self._due_s
                self._changed.wait(wait_s)
        return None

    def _ping(self) -> None:
        token = self._client.token or ""
        try:
            session_id = self._client.ping()
        except Unauthorized as error:
            self._note(f"token refused, waiting for another: {error}")
            self._tell(TokenRefused(token))
        except SchedulerError as error:
            self._note(str(error))
        else:
            self._note("")
            self._compare(session_id)

    def _note(self, problem: str) -> None:
        """Show how the ping ended; while the event stream is down, scheduling tells the log."""
        self._problem = problem
        if problem:
            self._facts.set(last_ping_ok=False, ping_text=problem)
            log.debug("ping not answered", extra={"error": problem})
            if self._facts.read().stream_open is not False:
                self._outage.failed("ping", problem)
        else:
            self._outage.worked("ping")
            self._facts.set(last_ping_s=time.time(), last_ping_ok=True, ping_text="")
        self._entry.write(text=problem or "the scheduler answers")

    def _compare(self, session_id: str) -> None:
        """Tell scheduling of another session id; it counts as known once that was told."""
        known = self._session_id
        if not session_id:
            log.warning("ping answered without a session id")
        elif session_id.lower() != known.lower() and (
            not known or self._tell(SessionChanged(session_id))
        ):
            self._session_id = session_id
            self._facts.set(session_id=session_id)

    def _tell(self, message: Message) -> bool:
        try:
            self._context.channels.heartbeat_events.put_nowait(message)
        except queue.Full:
            return False  # scheduling is away; the same is said again with the next ping
        return True
