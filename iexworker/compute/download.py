"""Fetch one input over http or https to a file, as the upstream worker would have it.

docs/spec/06, section 5.4: the text is read and sent as Java does (`java_url.py`), redirects are
followed within the scheme only, what is below 400 is content, an empty body is fine. Ours besides:
streaming, time and size limits, and the rules on addresses, on each hop. A refusal of ours is never
the requester's fault.
"""

from __future__ import annotations

import hashlib
import os
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import urllib3.exceptions
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util import SKIP_HEADER, make_headers, parse_url

from iexworker import error_words, http_environment, peers
from iexworker.compute.address_policy import check_literal, resolve
from iexworker.compute.blame import Blame, Trouble
from iexworker.compute.cancellation import Cancellation
from iexworker.compute.java_url import BadUrl, JavaUrl, OtherScheme, wire
from iexworker.compute.verbatim_http import (
    VerbatimPool,
    VerbatimTlsPool,
    disguised,
    make_verbatim,
)
from iexworker.shared import thresholds

MOST_BYTES = 32 << 30
"""Of one input; far above what the upstream worker, which holds it in memory, can take."""

_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 30.0
_MOST_REQUESTS = 20
"""Java's default, the first request included."""
_REDIRECTS = frozenset({300, 301, 302, 303, 305, 307})
_REQUESTERS = frozenset({401, 403, 404, 410})
_OURS = frozenset({407, 429})
_CHUNK_BYTES = 1 << 18
_SPACE_CHECK_BYTES = 64 << 20
_HEADERS = {
    "User-Agent": "iexworker",
    # As Java has them: a server may choose by them what it gives.
    "Accept": "text/html, image/gif, image/jpeg, */*; q=0.2",
    "Accept-Encoding": SKIP_HEADER,
}


@dataclass(frozen=True, slots=True)
class Download:
    """The conditions of a download."""

    deadline_s: float
    """Unix instant."""
    cancellation: Cancellation
    private_allowed: bool
    most_bytes: int = MOST_BYTES
    free_bytes: int | None = None
    """What it leaves free on the disk; None: the guard of shared/thresholds.py."""

    def fetch(self, url: str, target: Path, *, trusted: bool = False) -> str:
        """Write what `url` gives to `target` and return its SHA-256 as 64 hex digits.

        `trusted` is for a host that the operator named: it may be on a private network. Raises
        `Trouble`, or `Cancelled`; `target` is then gone.
        """
        try:
            with self._open(url, trusted=trusted) as response:
                return self._save(response, target)
        except urllib3.exceptions.HTTPError as error:
            target.unlink(missing_ok=True)
            raise Trouble(_blame(error), _said(url, error)) from None
        except OSError as error:
            target.unlink(missing_ok=True)
            raise Trouble(Blame.OURS, _said(url, error)) from None
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _open(self, url: str, *, trusted: bool) -> urllib3.BaseHTTPResponse:
        parts = _parse(url)
        for _ in range(_MOST_REQUESTS):
            response = self._request(parts, private_allowed=self.private_allowed or trusted)
            following = _redirection(response, parts)
            if following is None:
                _check_status(response, parts.absolute)
                return response
            response.close()
            parts, trusted = following, False
        raise Trouble(Blame.REQUESTER, f"{shown(url)}: more than {_MOST_REQUESTS} requests")

    def _request(self, parts: JavaUrl, *, private_allowed: bool) -> urllib3.BaseHTTPResponse:
        self.cancellation.check()
        host, scheme, port = parts.connect_host, parts.scheme, parts.connect_port
        proxy = http_environment.proxy_for(scheme, host, port)
        if proxy is not None:
            check_literal(host, private_allowed=private_allowed)
            manager = _through(proxy.url)
            make_verbatim(manager)
            # The line that goes to the proxy is the target alone; with https it goes to the host.
            asked = parts.absolute if scheme == "http" else parts.target
            place = "proxied" if scheme == "http" else f"{parts.host}:{port}"
            return self._send(manager, f"{scheme}://{place}", asked, parts.host_header)
        error: urllib3.exceptions.HTTPError | None = None
        for address in resolve(host, port, private_allowed=private_allowed):
            try:
                pool = _pool(scheme, address, port, host)
                return self._send(pool, "", parts.target, parts.host_header)
            except urllib3.exceptions.NewConnectionError as refused:
                error = refused
        raise error or AssertionError("no address")

    def _send(
        self,
        pool: urllib3.PoolManager | urllib3.HTTPConnectionPool,
        place: str,
        target: str,
        host: str,
    ) -> urllib3.BaseHTTPResponse:
        left_s = self._left_s()
        return pool.urlopen(
            "GET",
            place + disguised(wire(target)),
            headers={**_HEADERS, "Host": wire(host).decode("latin-1")},
            timeout=urllib3.Timeout(
                connect=min(_CONNECT_TIMEOUT_S, left_s), read=min(_READ_TIMEOUT_S, left_s)
            ),
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )

    def _left_s(self) -> float:
        left_s = self.deadline_s - time.time()
        if left_s <= 0:
            raise Trouble(Blame.OURS, "no time left for the download")
        return left_s

    def _save(self, response: urllib3.BaseHTTPResponse, target: Path) -> str:
        digest = hashlib.sha256()
        size, checked = 0, -_SPACE_CHECK_BYTES
        with target.open("wb") as file:
            for chunk in response.stream(_CHUNK_BYTES, decode_content=False):
                self.cancellation.check()
                self._left_s()
                size += len(chunk)
                if size - checked >= _SPACE_CHECK_BYTES:
                    self._check_room(size, target)
                    checked = size
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def _check_room(self, size: int, target: Path) -> None:
        if size > self.most_bytes:
            raise Trouble(Blame.OURS, f"larger than {self.most_bytes} bytes, refused by policy")
        space = thresholds.free_space(target.parent)
        least = space.guard if self.free_bytes is None else self.free_bytes
        if space.free < least:
            raise Trouble(Blame.OURS, f"less than {least} bytes left on the disk")


def _parse(url: str) -> JavaUrl:
    try:
        return JavaUrl.parse(url).checked()
    except OtherScheme as error:
        raise Trouble(Blame.OURS, f"{error}: refused by policy, http and https only") from None
    except BadUrl as error:
        raise Trouble(Blame.REQUESTER, f"{shown(url)}: no URL: {error}") from None


def _redirection(response: urllib3.BaseHTTPResponse, parts: JavaUrl) -> JavaUrl | None:
    """Return where to go instead; None when the answer is the content, be it a redirect's page.

    Java's client stays within the scheme and returns the page of a redirect that leaves it.
    """
    locations = response.headers.getlist("Location")
    if response.status not in _REDIRECTS or not locations:
        return None
    try:
        target = parts.redirected(locations[-1])
        return None if target is None else target.checked()
    except BadUrl as error:
        response.close()
        raise Trouble(Blame.NETWORK, f"{shown(parts.absolute)}: broken redirect: {error}") from None


def _check_status(response: urllib3.BaseHTTPResponse, url: str) -> None:
    status = response.status
    if status < 400:
        return
    response.close()
    blame = Blame.NETWORK
    if status in _REQUESTERS:
        blame = Blame.REQUESTER
    elif status in _OURS:
        blame = Blame.OURS
    raise Trouble(blame, f"{shown(url)}: HTTP {status}")


def _blame(error: urllib3.exceptions.HTTPError) -> Blame:
    """Return whose fault a failed exchange is: TLS and proxies are set up by us."""
    ours = (urllib3.exceptions.SSLError, urllib3.exceptions.ProxyError)
    return Blame.OURS if isinstance(error, ours) else Blame.NETWORK


def _pool(scheme: str, address: str, port: int, host: str) -> urllib3.HTTPConnectionPool:
    if scheme == "http":
        return VerbatimPool(address, port)
    return VerbatimTlsPool(
        address, port, server_hostname=host, assert_hostname=host, **_authorities()
    )


def _through(proxy: str) -> urllib3.ProxyManager:
    user = parse_url(proxy).auth
    login = None if user is None else urllib.parse.unquote(user)
    headers = make_headers(proxy_basic_auth=login) if login else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **_authorities())


def _authorities() -> dict[str, Any]:
    named = http_environment.authorities() or DEFAULT_CA_BUNDLE_PATH
    return {"ca_cert_dir" if Path(named).is_dir() else "ca_certs": named}


def _said(url: str, error: Exception) -> str:
    came, todo = error_words.explained(error, shown(url))
    return f"{shown(url)}{peers.way_to(url)}: {came}" + (f"; {todo}" if todo else "")


def shown(url: str) -> str:
    """Return the URL for a log line, without user, password and query: they may be secrets."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "a malformed URL"
    return urllib.parse.urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")
    )
