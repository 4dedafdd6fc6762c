"""A port whose every connection gets what a test says, and keeps the first bytes that came."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("for-tests-only.pem")
"""A key and its certificate, its own authority, for localhost, 127.0.0.1 and *.pool.test."""

_FIRST_BYTES = 4096
_PATIENCE_S = 10.0


@dataclass
class FaultyPeer:
    """What came first on each connection; with TLS, what came under it."""

    port: int = 0
    first: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        """Return what was asked for, by whatever spoke HTTP."""
        return [line.split(b" ")[1].decode() for line in self.first if line.count(b" ") > 1]


def tls_context(*, wants_client: bool = False) -> ssl.SSLContext:
    """Return what a server with the tests' certificate speaks TLS by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    if wants_client:
        context.load_verify_locations(CERTIFICATE)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


Answer = bytes | Callable[[bytes], bytes]


@contextlib.contextmanager
def faulty_peer(
    answer: Answer = b"", *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[FaultyPeer]:
    """Serve: read once, write the answer, close. An empty answer closes at once."""
    peer = FaultyPeer()
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(_PATIENCE_S)
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            asked = _request(connection)
            peer.first.append(asked)
            said = answer(asked) if callable(answer) else answer
            connection.sendall(said)
            if said and tls is None:
                # A connection closed with something unread is reset, and its answer is lost.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(_FIRST_BYTES):
                    pass
            connection.close()

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server((host, 0)) as listener:
        listener.settimeout(0.05)
        peer.port = listener.getsockname()[1]
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield peer
        finally:
            over.set()
            thread.join()


def _request(connection: socket.socket) -> bytes:
    """Read a request whole: what is left unread would reset the connection under the answer."""
    asked = connection.recv(_FIRST_BYTES)
    length = re.search(rb"content-length: (\d+)", asked, re.IGNORECASE)
    missing = int(length[1]) - len(asked.partition(b"\r\n\r\n")[2]) if length else 0
    while missing > 0 and (more := connection.recv(_FIRST_BYTES)):
        missing -= len(more)
    return asked


def http(body: bytes, status: str = "200 OK") -> bytes:
    """Return a whole answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
