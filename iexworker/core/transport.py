"""HTTP calls with every wait and every size bounded; clients of the scheduler's family build on it.

One requests session a thread, made on its first call, so that it never crosses a fork or a thread.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import requests
import urllib3.exceptions

from iexworker import peers
from iexworker.errors import Unavailable
from iexworker.http_session import EnvironmentSession
from iexworker.peers import Peer

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
"""The longest silence; a whole answer may take twice that."""
BODY_LIMIT_BYTES = 8 * 1024 * 1024
MAX_REDIRECTS = 5

_CHUNK_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 200

Body = bytes | Iterable[bytes] | None


class NoAnswer(Unavailable):
    """The peer gave no complete answer: refused, reset, too slow, too large."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer, whatever its status."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body as text without white space around it; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace").strip()

    @property
    def shown(self) -> str:
        """The beginning of the body on one line, for logs and messages."""
        return " ".join(self.text[: 2 * _SHOWN_CHARACTERS].split())[:_SHOWN_CHARACTERS]

    def json(self) -> object:
        """Return the body read as JSON, None for an empty one; raises `ValueError`."""
        try:
            return json.loads(self.body) if self.body.strip() else None
        except RecursionError:
            raise ValueError("JSON nested too deeply") from None
        except ValueError:
            raise ValueError(f"no JSON: {self.shown}") from None


def new_session() -> requests.Session:
    """Return a session for the scheduler's family.

    Compression is not asked for: a small answer could unpack to a large one.
    """
    session = EnvironmentSession()
    session.max_redirects = MAX_REDIRECTS
    session.headers.update(
        {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "iexworker"}
    )
    return session


class Transport:
    """Calls to one base URL, from any thread.

    `peer` is who answers there, as errors name it; the scheduler unless it is given.
    """

    def __init__(self, base_url: str, peer: Peer | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.peer = peer or peers.scheduler(self.base_url)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []

    def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> Reply:
        """Make one request and read its answer whole; raises `NoAnswer`.

        `path` is appended to the base URL. An iterable body with a length is sent as it comes,
        under a `Content-Length`.
        """
        headers = {"Content-Type": "application/json", **(headers or {})}
        return exchange(
            self._session(),
            self.peer,
            method,
            self.base_url + path,
            headers,
            body,
            read_timeout_s,
        )

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for session in self._sessions:
                session.close()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = new_session()
            with self._lock:
                self._sessions.append(session)
        return session


def exchange(
    session: requests.Session,
    peer: Peer,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: Body = None,
    read_timeout_s: float = READ_TIMEOUT_S,
) -> Reply:
    """Make one request and read its answer whole; raises `NoAnswer`.

    `url` begins with the peer's address.
    """
    tried = f"{method} {url.removeprefix(peer.address.rstrip('/')).partition('?')[0]}"
    deadline_s = time.monotonic() + CONNECT_TIMEOUT_S + 2 * read_timeout_s
    try:
        with session.request(
            method,
            url,
            headers=headers,
            data=body,
            timeout=(CONNECT_TIMEOUT_S, read_timeout_s),
            stream=True,
        ) as response:
            return Reply(response.status_code, _read(response, deadline_s))
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        # RequestException is an OSError; a Location that is no URL raises a bare ValueError.
        raise NoAnswer(peer.failed(tried, error)) from error
    except NoAnswer as error:
        raise NoAnswer(peer.told(tried, str(error))) from None


def _read(response: requests.Response, deadline_s: float) -> bytes:
    body = bytearray()
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise NoAnswer(f"the answer is larger than {BODY_LIMIT_BYTES} bytes")
        if time.monotonic() > deadline_s:
            raise NoAnswer("the answer does not end")
    return bytes(body)
