"""HTTP/1.1 as Spring on Tomcat speaks it: routes, error bodies, chunked JSON, streams.

A thread a connection: an answer may take minutes, and a stream has no end, so that neither may
hold up the others. Bodies may be chunked, as Java clients send them.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import parse_qs, urlsplit

log = logging.getLogger(__name__)

JSON = "application/json"
TEXT = "text/plain;charset=UTF-8"
IDLE_TIMEOUT_S = 60
STOP_POLL_S = 0.05
LONGEST_LINE = 65536
_DROPS_CONNECTION = frozenset((400, 408, 411, 413, 414, 500, 501, 503))
"""Statuses after which Tomcat closes the connection."""


class HttpError(Exception):
    """Answer with a status; `with_body` gives it the error object that Spring writes."""

    def __init__(self, status: int, *, with_body: bool = True) -> None:
        super().__init__(str(status))
        self.status = status
        self.with_body = with_body


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes
    parts: Mapping[str, str] = field(default_factory=dict)
    """What the route's pattern names."""

    def parameter(self, name: str) -> str:
        """Return a query parameter; without it the request is bad."""
        values = self.query.get(name)
        if not values:
            raise HttpError(400)
        return values[0]

    def header(self, name: str) -> str:
        """Return a header that the call cannot do without."""
        value = self.headers.get(name)
        if value is None:
            raise HttpError(400)
        return value

    def json(self) -> object:
        """Return the JSON body; one that is none, or not UTF-8, makes the request bad."""
        if not self.headers.get("content-type", "").lower().startswith(JSON):
            raise HttpError(415)
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise HttpError(400) from None


@dataclass(frozen=True, slots=True)
class Response:
    """One answer: `body` in one piece, or `stream` piece by piece."""

    status: int = 200
    content_type: str | None = None
    body: bytes = b""
    stream: Iterable[bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(value: object, status: int = 200) -> Response:
    """Answer a JSON value, compact and beyond ASCII unescaped, as Jackson writes it.

    Half a surrogate pair becomes a question mark, which is what the real database makes of it.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Response(status, JSON, text.encode(errors="replace"))


def as_text(text: str) -> Response:
    """Answer a bare text."""
    return Response(200, TEXT, text.encode())


Handler = Callable[[Request], Response]


class Routes:
    """What answers what: a pattern's `{name}` is one part of the path, without a dot."""

    def __init__(self, routes: Iterable[tuple[str, str, Handler]]) -> None:
        self._routes = [
            (method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/.]+)", pattern)), handler)
            for method, pattern, handler in routes
        ]

    def answer(self, request: Request) -> Response:
        """Answer one request; whatever goes wrong is an answer too."""
        try:
            return self._dispatch(request)
        except HttpError as error:
            return error_response(error, request.path)
        except Exception:
            log.exception("a request failed", extra={"path": request.path})
            return error_response(HttpError(500), request.path)

    def _dispatch(self, request: Request) -> Response:
        fitting = [
            (method, match, handler)
            for method, pattern, handler in self._routes
            if (match := pattern.fullmatch(request.path))
        ]
        for method, match, handler in fitting:
            if method == request.method or (method, request.method) == ("GET", "HEAD"):
                parts = match.groupdict()
                return handler(_with_parts(request, parts))
        if fitting:
            response = error_response(HttpError(405), request.path)
            allow = ", ".join(sorted({method for method, _, _ in fitting}))
            return Response(405, response.content_type, response.body, headers={"Allow": allow})
        raise HttpError(404)


def _with_parts(request: Request, parts: Mapping[str, str]) -> Request:
    return Request(
        request.method, request.path, request.query, request.headers, request.body, parts
    )


def error_response(error: HttpError, path: str) -> Response:
    """Return the answer to an error, with Spring's error object where there is a body."""
    if not error.with_body:
        return Response(error.status)
    now = datetime.now(UTC)
    body = {
        "timestamp": timestamp(now.timestamp()),
        "status": error.status,
        "error": HTTPStatus(error.status).phrase,
        "path": path,
    }
    return as_json(body, error.status)


def timestamp(at_s: float) -> str:
    """Return a date as Jackson writes it: `2026-11-23T18:10:08.652+00:00`."""
    text = datetime.fromtimestamp(round(at_s * 1000) / 1000, UTC).isoformat(timespec="milliseconds")
    return text


class Server:
    """One port and what answers on it."""

    def __init__(self, address: str, port: int, routes: Routes) -> None:
        """Bind at once; port 0 takes a free one."""
        handler = type("Bound", (_Connection,), {"routes": routes})
        self._http = HttpServer((address, port), handler)
        self.port: int = self._http.server_address[1]

    def start(self) -> None:
        """Begin to answer, in threads of its own."""
        name = f"http-{self.port}"
        threading.Thread(
            target=self._http.serve_forever, args=(STOP_POLL_S,), name=name, daemon=True
        ).start()

    def stop(self) -> None:
        """Take no more connections; those open end with the process."""
        self._http.shutdown()
        self._http.server_close()


class HttpServer(ThreadingHTTPServer):
    """A thread a connection, on one port; a peer that goes away is no event."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind without asking the resolver for a name of the address, as the parent does."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a peer that went away."""
        log.debug("connection broke", exc_info=True)


class _Connection(BaseHTTPRequestHandler):
    routes: Routes
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_TIMEOUT_S
    wbufsize = 65536  # headers and a short body leave in one segment

    def log_message(self, format: str, *args: object) -> None:
        """Leave the access log out."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        try:
            body = self._read_body()
        except ValueError:
            self.close_connection = True
            self._write(error_response(HttpError(400), url.path))
            return
        request = Request(
            method=self.command,
            path=url.path,
            query=parse_qs(url.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )
        self._write(self.routes.answer(request))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _answer

    def _read_body(self) -> bytes:
        """Read the body, chunked or of known length; ValueError for a broken one."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) != length:
            raise ValueError("the body ends early")
        return body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(LONGEST_LINE).partition(b";")[0], 16):
            chunk = self.rfile.read(size)
            if len(chunk) != size or self.rfile.readline(LONGEST_LINE).strip():
                raise ValueError("a broken chunk")
            yield chunk
        while self.rfile.readline(LONGEST_LINE).strip():
            pass  # trailers

    def _write(self, response: Response) -> None:
        if response.status in _DROPS_CONNECTION:
            self.close_connection = True
        chunked = response.stream is not None or response.content_type == JSON
        self.send_response_only(response.status)
        if response.content_type:
            self.send_header("Content-Type", response.content_type)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif response.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()
        if self.command == "HEAD":
            return
        if response.stream is not None:
            self._write_stream(response.stream)
        else:
            body = _chunk(response.body) + _chunk(b"") if chunked else response.body
            self.wfile.write(body)

    def _write_stream(self, stream: Iterable[bytes]) -> None:
        try:
            for piece in stream:
                self.wfile.write(_chunk(piece))
                self.wfile.flush()
            self.wfile.write(_chunk(b""))
        except OSError:
            self.close_connection = True
        finally:
            if isinstance(stream, Iterator) and hasattr(stream, "close"):
                stream.close()


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)
