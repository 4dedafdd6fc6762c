"""One SockJS session with the scheduler over XHR streaming (docs/spec/03, 6.1).

A long POST brings lines as they come and is repeated when the server ends it; short POSTs carry
texts the other way. A session that fails in any way is lost: its owner makes a new one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Iterator, Sequence

import requests
import urllib3.exceptions

from iexworker import peers
from iexworker.core import sockjs
from iexworker.core.malformed import Malformed
from iexworker.core.transport import CONNECT_TIMEOUT_S, NoAnswer, exchange, new_session

SILENCE_S = 20.0
"""Four heartbeats of the server: after so long without a byte the connection is dead."""

_CHUNK_BYTES = 64 * 1024
_LINE_LIMIT_BYTES = 4 * 1024 * 1024
_SHORTEST_EMPTY_RESPONSE_S = 1.0
_ANY_SESSION = "/connect/.."
"""Instead of a session's own path, so that the same trouble has the same words."""


Event = sockjs.Open | sockjs.HeartbeatFrame | sockjs.Messages


class SessionLost(Exception):
    """The session is over; the message says why."""


class XhrSession:
    """A session under a path of its own: one thread receives, another may send."""

    def __init__(self, base_url: str, malformed: Malformed) -> None:
        self._peer = peers.scheduler(base_url)
        self._path = sockjs.new_session_path()
        self._url = base_url + self._path
        self._malformed = malformed
        self._receiving = new_session()
        self._sending = new_session()
        self._lock = threading.Lock()
        self._response: requests.Response | None = None
        self._closed = False

    def receive(self) -> Generator[Event, None, None]:
        """Yield what the server sends, first `Open`, until the session is lost (`SessionLost`)."""
        opened = False
        while True:
            began_s, messages = time.monotonic(), 0
            for event in self._one_response():
                if isinstance(event, sockjs.Closed):
                    raise SessionLost(f"closed by the scheduler: {event.code} {event.reason:.80}")
                if isinstance(event, sockjs.Open):
                    if opened:
                        raise SessionLost("forgotten by the scheduler")
                    opened = True
                if isinstance(event, sockjs.Messages):
                    messages += 1
                yield event
            # A response ends after many messages; one that ends at once would make us spin.
            if not messages and time.monotonic() - began_s < _SHORTEST_EMPTY_RESPONSE_S:
                raise SessionLost("the stream ended before it brought anything")

    def send(self, texts: Sequence[str]) -> None:
        """Send texts, in order; raises `SessionLost`. One thread at a time, after `Open`."""
        try:
            reply = exchange(
                self._sending,
                self._peer,
                "POST",
                f"{self._url}/xhr_send",
                {"Content-Type": "application/json"},
                sockjs.encode_send(texts).encode(),
                read_timeout_s=SILENCE_S,
            )
        except NoAnswer as error:
            raise SessionLost(str(error).replace(self._path, _ANY_SESSION)) from None
        if not 200 <= reply.status < 300:
            tried = f"POST {_ANY_SESSION}/xhr_send"
            raise SessionLost(self._peer.answered(tried, reply.status, reply.shown))

    def close(self) -> None:
        """End the session from any thread: `receive` raises soon.

        At once while it waits for a line; a connection that is only being made times out first.
        """
        with self._lock:
            self._closed = True
            if self._response is not None:
                with contextlib.suppress(OSError, RuntimeError, ValueError):
                    self._response.raw.shutdown()

    def release(self) -> None:
        """Close the connections; for the receiving thread, after `receive` has ended."""
        self._receiving.close()
        self._sending.close()

    def _one_response(self) -> Iterator[Event | sockjs.Closed]:
        url = f"{self._url}/xhr_streaming"
        tried = f"POST {_ANY_SESSION}/xhr_streaming"
        try:
            with self._receiving.post(
                url, stream=True, timeout=(CONNECT_TIMEOUT_S, SILENCE_S)
            ) as response:
                self._register(response)
                if response.status_code != 200:
                    raise SessionLost(self._peer.answered(tried, response.status_code))
                for line in self._lines(response):
                    event = self._decode(line)
                    if event is not None and not isinstance(event, sockjs.Prelude):
                        yield event
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            raise SessionLost(self._peer.failed(tried, error)) from None

    def _register(self, response: requests.Response) -> None:
        with self._lock:
            if self._closed:
                raise SessionLost("closed")
            if self._response is None:
                # Behind a load balancer the cookie leads both directions to the same scheduler.
                self._sending.cookies.update(self._receiving.cookies)
            self._response = response

    def _lines(self, response: requests.Response) -> Iterator[str]:
        pending = b""
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            *lines, pending = (pending + chunk).split(b"\n")
            if len(pending) > _LINE_LIMIT_BYTES:
                raise SessionLost(f"a line is longer than {_LINE_LIMIT_BYTES} bytes")
            for line in lines:
                yield line.decode("utf-8", "replace").rstrip("\r")

    def _decode(self, line: str) -> sockjs.Event | None:
        try:
            return sockjs.decode_line(line)
        except sockjs.SockJsError as error:
            self._malformed.say("xhr_streaming", line, str(error))
            return None
