"""The connection to the scheduler: its terms, a token, our registration, an open event stream.

`allowed` is set while updates may be sent: we are logged in and registered, and every topic is
subscribed on an open stream. Until then updates wait (docs/spec/04, 11.1 step 1).
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from iexworker import outage
from iexworker.core.chainconfig import chain_configuration
from iexworker.core.client import SchedulerClient
from iexworker.core.login import Tokens
from iexworker.core.messages import Notification, PublicConfiguration
from iexworker.core.session import Session, Terms
from iexworker.core.stream import NotificationStream
from iexworker.errors import JournalFull, LoginRefused, SchedulerError
from iexworker.json_fields import MalformedMessage
from iexworker.poco.models import Profile
from iexworker.retry import pauses, wait_at_most
from iexworker.shared.board import FactsBoard
from iexworker.shared.channels import Channel, Hello, SessionChanged, Token, TokenRefused
from iexworker.task.journal import Journal

_PUBLIC, _CHAIN = "public configuration", "chain configuration"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SchedulerLink:
    """The client and its session, and the queue to the heartbeat process."""

    client: SchedulerClient
    tokens: Tokens
    session: Session
    heartbeat: Channel
    """To the heartbeat process: the token to ping with."""


class Connection:
    """Connects and stays connected; runs in the loop, calls in threads."""

    def __init__(
        self,
        line: SchedulerLink,
        journal: Journal,
        facts: FactsBoard,
        wallet: str,
        on_notification: Callable[[Notification], None],
        *,
        fail_fast: bool,
    ) -> None:
        self._line = line
        self._journal = journal
        self._facts = facts
        self._wallet = wallet
        self._on_notification = on_notification
        self._fail_fast = fail_fast
        self._loop = asyncio.get_running_loop()
        self.allowed = asyncio.Event()
        self.missed = asyncio.Event()
        """Set when something may have been missed: a push while we were away, or a grant."""
        self.returned_s = 0.0
        self._terms: asyncio.Future[Terms] = self._loop.create_future()
        self._due = asyncio.Event()
        self._joined = False
        self._open = False
        self._words = "not logged in yet"
        self._refusal = ""
        self._wrong_pool = ""
        self._told_token: str | None = None
        self.stream = NotificationStream(
            line.client.base_url,
            self._heard_in_thread,
            self._state_in_thread,
            is_told=lambda: bool(self._words),
        )

    async def terms(self) -> Terms:
        """Return the scheduler's terms, once they are known or remembered."""
        return await asyncio.shield(self._terms)

    def current_terms(self) -> Terms | None:
        """Return the terms that are known now."""
        return self._terms.result() if self._terms.done() else None

    def obstacle(self) -> str:
        """Return why the scheduler cannot be asked for work, empty when it can."""
        if self._words or self._refusal:
            return self._words or self._refusal
        return "" if self._open else "the scheduler's event stream is not open"

    async def run(self) -> None:
        """Connect, and connect again whenever it is due."""
        self._recall()
        # Before anything is told: the next push may follow at once, and comes only once.
        for task_id in self._journal.task_ids():
            self.stream.subscribe(task_id)
        receiver = threading.Thread(target=self.stream.run, name="stream", daemon=True)
        receiver.start()
        pause = pauses()
        while True:
            self._due.clear()
            if not await self._establish():
                await asyncio.sleep(next(pause))
            elif self._refusal:
                await wait_at_most(self._due, next(pause))
            else:
                pause = pauses()
                await wait_at_most(self._due, None)

    def renew(self) -> None:
        """Log in and register again, because the scheduler is another one or refused us."""
        self._due.set()

    def hear_heartbeat(self, events: Channel) -> None:
        """Handle the messages of the heartbeat process."""
        while True:
            try:
                message = events.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, Hello):
                self._told_token = None
            elif isinstance(message, SessionChanged):
                log.warning("scheduler has another session id, registering again")
                self.renew()
            elif isinstance(message, TokenRefused):
                self._loop.create_task(self._renew_token(message.jwt))

    def share_token(self) -> None:
        """Send the current token to the heartbeat process, if it has another."""
        token = self._line.tokens.current
        if not self._joined or token is None or token == self._told_token:
            return
        try:
            self._line.heartbeat.put_nowait(Token(token))
        except queue.Full:
            return  # the next turn of the loop tries again
        self._told_token = token

    async def _renew_token(self, refused: str) -> None:
        try:
            await asyncio.to_thread(self._line.tokens.renew, refused)
        except (SchedulerError, LoginRefused) as error:
            outage.of(outage.SCHEDULER).failed("login", error)
        else:
            outage.of(outage.SCHEDULER).worked("login")
        self.share_token()

    def _recall(self) -> None:
        """Take the last known terms, if unfinished tasks need them and the scheduler is away."""
        if self._journal.unfinished() == 0:
            return
        public = self._journal.recall(self._wallet, _PUBLIC)
        chain = self._journal.recall(self._wallet, _CHAIN)
        if public is None or chain is None:
            return
        try:
            configuration = PublicConfiguration.from_json(public["document"])
            terms = self._line.session.terms(
                configuration, chain_configuration(chain), Profile(public["profile"])
            )
        except (MalformedMessage, KeyError, ValueError) as error:
            log.warning("remembered configuration unreadable", extra={"error": str(error)})
            return
        self._terms.set_result(terms)

    async def _establish(self) -> bool:
        try:
            terms = await asyncio.to_thread(self._line.session.meet)
            self._judge(terms)
            # Another pool's scheduler is not believed: what was remembered of ours goes on.
            if not terms.wrong_pool or self._joined:
                self._accept(terms)
            if self._refusal and not self._joined:
                self._say("")
                return True  # no new work, but contributed tasks go on
            await asyncio.to_thread(self._line.session.join)
        except LoginRefused as error:
            if not self._joined and self._journal.unfinished() == 0:
                raise
            self._say(str(error))
            return False
        except SchedulerError as error:
            if self._fail_fast and not self._joined:
                raise
            self._say(str(error))
            return False
        self._joined = True
        self._say("")
        self._facts.set(registered=True)
        self.share_token()
        self._settle()
        return True

    def _judge(self, terms: Terms) -> None:
        refusal = terms.refusal or terms.wrong_pool
        if refusal and refusal != self._refusal:
            log.error("scheduler cannot be served", extra={"reason": refusal})
        self._refusal = refusal
        self._wrong_pool = terms.wrong_pool

    def _accept(self, terms: Terms) -> None:
        self._facts.set(
            version=terms.version, profile=terms.profile.value, profile_text=terms.refusal
        )
        self._remember(terms)
        before = self.current_terms()
        if before is not None and before.chain != terms.chain:
            # The process is born again and takes up the tasks of the chain it then works on.
            raise SystemExit("the scheduler has moved to another chain: starting anew")
        self._terms = self._loop.create_future() if before is not None else self._terms
        self._terms.set_result(terms)

    def _remember(self, terms: Terms) -> None:
        """Keep the terms for a start that finds no scheduler; nothing else needs them on disk."""
        chain = terms.chain
        public = {"document": dict(terms.configuration.raw), "profile": terms.profile.value}
        configuration = {
            "chainId": chain.chain_id,
            "sidechain": chain.sidechain,
            "chainNodeUrl": chain.node_url,
            "iexecHubContractAddress": chain.hub_address,
            "blockTime": chain.block_time_s,
        }
        try:
            self._journal.remember(self._wallet, _PUBLIC, public)
            self._journal.remember(self._wallet, _CHAIN, configuration)
        except JournalFull as error:
            log.warning("configuration not remembered", extra={"error": str(error)})

    def _say(self, words: str) -> None:
        if words:
            outage.of(outage.SCHEDULER).failed("login", words)
        else:
            outage.of(outage.SCHEDULER).worked("login")
        self._words = words
        self._facts.set(scheduler_text=words or self._wrong_pool)

    def _heard_in_thread(self, notification: Notification) -> None:
        self._loop.call_soon_threadsafe(self._heard, notification)

    def _heard(self, notification: Notification) -> None:
        if notification.concerns(self._wallet):
            self._on_notification(notification)

    def _state_in_thread(self, is_open: bool) -> None:
        self._loop.call_soon_threadsafe(self._changed, is_open)

    def _changed(self, is_open: bool) -> None:
        self._open = is_open
        self._facts.set(stream_open=is_open)
        log.debug("event stream", extra={"open": is_open})
        self._settle()

    def _settle(self) -> None:
        """Open or close the gate; what was pushed while it was closed is lost."""
        if self._open and self._joined:
            if not self.allowed.is_set():
                self.returned_s = time.monotonic()
                self.missed.set()
            self.allowed.set()
        else:
            self.allowed.clear()
