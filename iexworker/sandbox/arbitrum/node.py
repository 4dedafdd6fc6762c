"""The node: JSON-RPC over HTTP, a thread a connection; it can be used alone, given an anvil."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from iexworker.sandbox.arbitrum import control
from iexworker.sandbox.arbitrum.limits import Meter, RateLimited
from iexworker.sandbox.arbitrum.sequencer import Sequencer
from iexworker.sandbox.arbitrum.switches import RateAnswer, Switches
from iexworker.sandbox.arbitrum.upstream import Json, Lost, RpcError, Upstream
from iexworker.sandbox.arbitrum.views import Views
from iexworker.sandbox.endpoint import HttpServer

CONTROL_PATH = "/control"
STOP_POLL_S = 0.02
PARSE_ERROR, INVALID_REQUEST = -32700, -32600
TOO_MANY = 429


class ArbitrumNode:
    """An Arbitrum-shaped node on a port of its own, in front of an anvil that it alone drives."""

    def __init__(
        self,
        anvil_url: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        switches: Switches | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Bind at once; port 0 takes a free one.

        Args:
            anvil_url: the node that mines, from now on when it is told to only.
            host: the address to bind.
            port: the port to bind.
            switches: what is on from the beginning; they may be changed while it runs.
            clock: the sequencer's, in seconds since 1970.

        """
        self.switches = switches or Switches()
        self.meter = Meter(self.switches)
        self.upstream = Upstream(anvil_url)
        self.sequencer = Sequencer(self.upstream, self.switches, clock)
        self._views = Views(self.upstream, self.switches, self.sequencer)
        self._turns = itertools.count()
        self._http = _CutServer((host, port), type("Bound", (_Connection,), {"node": self}))
        self.url = f"http://{host}:{self._http.server_address[1]}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(STOP_POLL_S,), name="arbitrum", daemon=True
        )

    def start(self) -> Self:
        """Take over the mining and answer."""
        self.sequencer.begin()
        self._thread.start()
        return self

    def close(self) -> None:
        """Answer no more; connections are cut."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._http.cut()
        self.upstream.close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def calls(self) -> dict[str, int]:
        """Give the calls since the last `reset_calls`, by method; batches are counted singly."""
        return self.meter.counts()

    def reset_calls(self) -> None:
        """Count from 0."""
        self.meter.reset()

    def command(self, words: list[str]) -> str:
        """Do what `iexworker sandbox chain WORDS` asks for; give the line to print."""
        return control.run(self.switches, self.sequencer, self.meter, words)

    def reply(self, body: Json) -> Json:
        """Answer a request, or a batch of them.

        Raises:
            RateLimited: the calls are too many.
            Lost: there is no answer.
            RpcError: a request that stands alone gets another status than 200.

        """
        batch = body if isinstance(body, list) else [body]
        self.meter.take([str(one.get("method")) if isinstance(one, dict) else "" for one in batch])
        # One of the two nodes answers a whole request, the late one every second of them.
        lagging = self.switches.lag_s > 0
        late = lagging and (self.switches.always_late or next(self._turns) % 2 == 1)
        if isinstance(body, list):
            return [self._one(one, late=late)[0] for one in body]
        answer, error = self._one(body, late=late)
        if error is not None and error.status != 200:
            raise error
        return answer

    def _one(self, request: Json, *, late: bool) -> tuple[dict[str, Json], RpcError | None]:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            refused = RpcError("invalid request", INVALID_REQUEST)
            return {"jsonrpc": "2.0", "id": None, "error": refused.body}, refused
        head = {"jsonrpc": "2.0", "id": request.get("id")}
        try:
            parameters = request.get("params") or []
            return head | {"result": self._call(request["method"], parameters, late=late)}, None
        except RpcError as error:
            return head | {"error": error.body}, error

    def _call(self, method: str, parameters: list[Any], *, late: bool) -> Json:
        if method == "eth_sendRawTransaction":
            return self.sequencer.send(parameters[0])
        if method == "evm_increaseTime":
            step = parameters[0]
            self.switches.clock_shift_s += int(step, 16) if isinstance(step, str) else step
            return hex(int(self.switches.clock_shift_s))
        if method == "evm_mine":
            self.sequencer.mine(*parameters[:1])
            return "0x0"
        return self._views.answer(method, parameters, late=late)


class _CutServer(HttpServer):
    """A server whose open connections can be ended."""

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the parent's
        """Know the connection until it ends."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - the parent's
        """Forget the connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """End every connection."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    node: ArbitrumNode
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def log_message(self, format: str, *args: object) -> None:
        """Leave the access log out."""

    def do_POST(self) -> None:
        """Answer JSON-RPC, or the control interface."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            request = json.loads(body)
        except ValueError:
            refused = RpcError("parse error", PARSE_ERROR).body
            self._write(400, {"jsonrpc": "2.0", "id": None, "error": refused})
            return
        if self.path == CONTROL_PATH:
            self._control(request)
            return
        try:
            self._write(200, self.node.reply(request))
        except Lost:
            self.close_connection = True
        except RpcError as error:
            answer = {"jsonrpc": "2.0", "id": request.get("id"), "error": error.body}
            self._write(error.status, answer)
        except RateLimited as limited:
            self._limit(request, limited)

    def _limit(self, request: Json, limited: RateLimited) -> None:
        identity = None if isinstance(request, list) else request.get("id")
        answer = {"jsonrpc": "2.0", "id": identity, "error": limited.error}
        if limited.answer is RateAnswer.STATUS_WITH_PAUSE:
            self._write(TOO_MANY, answer, {"Retry-After": str(limited.retry_after_s)})
        elif limited.answer is RateAnswer.STATUS:
            self._write(TOO_MANY, answer)
        else:
            self._write(200, answer)

    def _control(self, words: Json) -> None:
        try:
            self._write(200, {"said": self.node.command([str(word) for word in words])})
        except (control.Unknown, RpcError) as error:
            self._write(400, {"said": str(error)})

    def _write(self, status: int, value: Json, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
