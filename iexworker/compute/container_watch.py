"""One container between its start and its end: its output received, its end noticed.

The attached stream and the `die` event tell at once. Where one of them is lost the engine is
asked, and the output is read again from its log.
"""

from __future__ import annotations

import http.client
import logging
import select
import time

from iexworker import outage
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.die_events import DieEvents
from iexworker.compute.engine import Engine, EngineRefused, OutputStream
from iexworker.compute.streams import Capture
from iexworker.errors import DockerError

log = logging.getLogger(__name__)

REMOVED_BY_OTHERS = -1
"""The exit code of a container that is gone without having told one."""

_LOOK_S = 1.0
_LOOK_RARELY_S = 15.0
_DRAIN_S = 10.0
_CHUNK_BYTES = 1 << 16


class Watch:
    """One container between its start and its end, seen from one connection."""

    def __init__(
        self,
        engine: Engine,
        deaths: DieEvents,
        container: str,
        stream: OutputStream | None,
        capture: Capture,
        cancellation: Cancellation,
    ) -> None:
        self.engine_lost = False
        self._engine = engine
        self._deaths = deaths
        self._container = container
        self._stream = stream
        self._open = stream is not None
        self._whole = stream is not None
        self._capture = capture
        self._cancellation = cancellation
        self._poll = select.poll()
        self._poll.register(cancellation.fileno(), select.POLLIN)
        self._poll.register(deaths.fileno(), select.POLLIN)
        if stream is not None:
            self._poll.register(stream.fileno(), select.POLLIN)

    def end(self, limit_s: float) -> int | None:
        """Wait for the container to end; return its exit code, None at the time limit."""
        try:
            return self._until_ended(limit_s)
        finally:
            outage.of(outage.DOCKER).dropped(self._container)

    def _until_ended(self, limit_s: float) -> int | None:
        deadline_s = time.monotonic() + limit_s
        look_s = time.monotonic() + _LOOK_RARELY_S
        while True:
            code = self._deaths.exit_code(self._container)
            now = time.monotonic()
            if code is None and now >= min(look_s, deadline_s):
                code = self._look()
                look_s = now + self._interval_s()
            if code is not None or now >= deadline_s:
                return code
            self._wait(min(look_s, deadline_s) - now)
            look_s = min(look_s, now + self._interval_s())

    def drain(self) -> None:
        """Receive the rest of the output; from the engine's log if the connection was lost."""
        deadline_s = time.monotonic() + _DRAIN_S
        while self._open and time.monotonic() < deadline_s:
            self._wait(deadline_s - time.monotonic())
        if self._open or not self._whole:
            self._read_again()

    def _read_again(self) -> None:
        self._capture.restart()
        try:
            self._engine.copy_logs(self._container, self._capture)
        except EngineRefused as error:
            if error.status not in (http.client.NOT_FOUND, http.client.CONFLICT):
                raise
            log.warning("output gone with its container", extra={"container": self._container})

    def _interval_s(self) -> float:
        """How long the container may be left unasked: rarely, while both streams stand."""
        return _LOOK_RARELY_S if self._open and self._deaths.connected else _LOOK_S

    def _wait(self, seconds: float) -> None:
        for descriptor, _ in self._poll.poll(max(0.0, seconds) * 1000):
            if descriptor == self._deaths.fileno():
                self._deaths.settle()
            elif descriptor == self._cancellation.fileno():
                self._cancellation.check()
            else:
                self._receive(descriptor)

    def _receive(self, descriptor: int) -> None:
        assert self._stream is not None  # noqa: S101 - its descriptor was polled
        try:
            data = self._stream.read(_CHUNK_BYTES)
        except OSError:
            data, self._whole = b"", False
        if data:
            self._capture.feed(data)
        else:
            self._open = False
            self._poll.unregister(descriptor)

    def _look(self) -> int | None:
        """Ask the engine for the exit code; None while the container runs or nobody answers."""
        try:
            state = self._engine.state(self._container)
        except DockerError as error:
            outage.of(outage.DOCKER).failed(self._container, error)
            self.engine_lost = True
            self._whole = False
            return None
        outage.of(outage.DOCKER).worked(self._container)
        if state is None:
            log.warning("container removed by others", extra={"container": self._container})
            return REMOVED_BY_OTHERS
        if state.ended:
            return state.exit_code
        # Its output may go on after an engine that was restarted under it: read it again.
        self._whole = self._whole and self._open
        return None
