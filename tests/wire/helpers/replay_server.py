"""Scheduler, config server and result proxy of a replay, on one port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from iexworker.core import sockjs, stomp
from tests.wire.helpers.expectations import Answer, Asked, Expectations
from tests.wire.helpers.run_script import SEND, STREAMING, Script, frame_of, line_of

CHAIN = {
    "chainId": 65535,
    "sidechain": True,
    "chainNodeUrl": "http://127.0.0.1:1",
    "iexecHubContractAddress": "0x" + "0b" * 20,
    "blockTime": "PT1S",
}
ASK_PERIOD_MS = 100
"""A replay goes by events: between two demands it waits no longer than it has to."""
HEARTBEAT_S = 5.0


class ReplayServer:
    """Answers from the expectations."""

    def __init__(self, script: Script) -> None:
        self.expectations = Expectations(script, self._push)
        self.topics: dict[str, str] = {}
        """Subscription id -> destination, in the newest session."""
        self._stream: queue.Queue[str | None] = queue.Queue()
        replay = self

        class Handler(_Handler):
            server_of_replay = replay

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._push(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def open_stream(self) -> queue.Queue[str | None]:
        """Return the queue of the lines that go to the newest streaming request."""
        self._push(None)
        self._stream = queue.Queue()
        return self._stream

    def local(self, value: Any) -> Any:
        """Return an answer with the addresses and the pace of this replay."""
        ours = {
            "configServerUrl": self.url,
            "blockchainAdapterUrl": self.url,
            "resultRepositoryURL": self.url,
            "askForReplicatePeriod": ASK_PERIOD_MS,
        }
        if not isinstance(value, dict):
            return value
        return value | {key: ours[key] for key in ours if key in value}

    def _push(self, line: str | None) -> None:
        self._stream.put(line)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_of_replay: ReplayServer

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        replay = self.server_of_replay
        with contextlib.suppress(OSError):  # the worker was killed in the middle
            line = line_of(f"{self.command} {self.path}")
            if line == "GET /config/chain":
                self._finish(Answer(200, CHAIN, "application/json"))
                return
            lines = replay.open_stream() if line == STREAMING else None
            answer = Answer(500)
            for asked in self._requests(line):
                answer = replay.expectations.take(asked)
            if lines is not None and answer.status == 200:
                self._follow(lines, answer)
                return
            self._finish(answer)
            replay.expectations.release()

    def _requests(self, line: str) -> Iterator[Asked]:
        headers: Mapping[str, str] = {key.lower(): value for key, value in self.headers.items()}
        data = self.rfile.read(int(headers.get("content-length", 0)))
        body: Any = json.loads(data) if data else None
        if line != SEND:
            yield Asked(line, body, headers)
            return
        for text in body:
            frame = stomp.decode(text)
            topics = self.server_of_replay.topics
            if frame.command == "SUBSCRIBE":
                topics[frame.headers["id"]] = frame.headers["destination"]
            yield Asked(*frame_of(text, topics), headers)

    def _follow(self, lines: queue.Queue[str | None], answer: Answer) -> None:
        """Send lines as they come, until there is no more need."""
        self.send_response(200)
        self.send_header("Content-Type", answer.content_type or "")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.server_of_replay.expectations.release()
        while (line := _next(lines)) is not None:
            data = line.encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.close_connection = True

    def _finish(self, answer: Answer) -> None:
        value = self.server_of_replay.local(answer.value)
        data = Answer(answer.status, value, answer.content_type).encode()
        self.send_response(answer.status)
        if answer.content_type is not None:
            self.send_header("Content-Type", answer.content_type)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _next(lines: queue.Queue[str | None]) -> str | None:
    try:
        return lines.get(timeout=HEARTBEAT_S)
    except queue.Empty:
        return sockjs.HEARTBEAT
