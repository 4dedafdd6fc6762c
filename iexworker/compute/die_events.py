"""The ends of our containers, as the engine announces them on one long-lived stream of events.

The engine tells of a `die` at once, while `wait` and `inspect` learn of it only after the
network is torn down, 75 ms later.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from docker.types import CancellableStream

from iexworker.compute import names
from iexworker.compute.engine import Engine
from iexworker.errors import DockerError

log = logging.getLogger(__name__)

_OVERLAP_S = 2
_MOST_KEPT = 256


class DieEvents:
    """Exit codes by container id, filled by a thread of its own; made after the fork."""

    def __init__(self, address: str, wallet: str) -> None:
        self._address = address
        self._wallet = wallet
        self._codes: dict[str, int] = {}
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._closing = threading.Event()
        self._stream: CancellableStream[dict[str, Any]] | None = None
        self._news = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._since_s = time.time()
        self._thread = threading.Thread(target=self._listen, name="deaths", daemon=True)

    def listen(self, patience_s: float = 2.0) -> bool:
        """Start to listen if not yet done; return whether the stream stands."""
        if self._thread.ident is None:
            self._thread.start()
        return self._connected.wait(patience_s)

    @property
    def connected(self) -> bool:
        """Whether an end would be noticed by itself; else ask the engine."""
        return self._connected.is_set()

    def fileno(self) -> int:
        """Return the descriptor that turns readable when there is news."""
        return self._news

    def settle(self) -> None:
        """Take note of the news: the descriptor is not readable until the next."""
        try:
            os.eventfd_read(self._news)
        except BlockingIOError:
            return

    def exit_code(self, container: str) -> int | None:
        """Return the exit code of a container that was seen to end since `listen`."""
        with self._lock:
            return self._codes.get(container)

    def close(self) -> None:
        """Stop listening; nothing may be asked afterwards."""
        self._closing.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._news)

    def _listen(self) -> None:
        pause_s = 0.1
        while not self._closing.is_set():
            try:
                self._follow()
                pause_s = 0.1
            except DockerError as error:
                log.debug("event stream lost", extra={"error": str(error)})
            self._connected.clear()
            os.eventfd_write(self._news, 1)
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, 5.0)

    def _follow(self) -> None:
        engine = Engine(self._address)
        filters = {
            "type": "container",
            "event": "die",
            "label": f"{names.LABEL_WALLET}={self._wallet}",
        }
        try:
            with engine.asking("events"):
                since = int(self._since_s) - _OVERLAP_S
                events = engine.client.events(since=since, filters=filters, decode=True)
                self._take(events)
                self._connected.set()
                for event in events:
                    self._note(event)
        finally:
            engine.close()

    def _take(self, stream: CancellableStream[dict[str, Any]]) -> None:
        """Make the stream known to `close`, which may have come before it."""
        with self._lock:
            self._stream = stream
            if self._closing.is_set():
                stream.close()

    def _note(self, event: Mapping[str, Any]) -> None:
        actor = event.get("Actor") or {}
        code = (actor.get("Attributes") or {}).get("exitCode", "")
        if not actor.get("ID") or not code.isdigit():
            return
        self._since_s = max(self._since_s, float(event.get("time", 0)))
        with self._lock:
            self._codes[actor["ID"]] = int(code)
            while len(self._codes) > _MOST_KEPT:
                del self._codes[next(iter(self._codes))]
        os.eventfd_write(self._news, 1)
