"""Fetch one input over http or https to a file, as the upstream worker would have it.

docs/spec/06, section 5.4: redirects are followed within the scheme only, what is below 400 is
content, an empty body is fine. Ours besides: streaming, time and size limits, and the rules on
addresses, on each hop. A refusal of ours is never the requester's fault.
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
from urllib3.util import Url, make_headers, parse_url

from iexworker import error_words, http_environment, peers
from iexworker.compute.address_policy import check_literal, resolve
from iexworker.compute.blame import Blame, Trouble
from iexworker.compute.cancellation import Cancellation
from iexworker.shared import limits

MOST_BYTES = 32 << 30
"""Of one input; far above what the upstream worker, which holds it in memory, can take."""

_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 30.0
_MOST_REDIRECTS = 20
_REDIRECTS = frozenset({300, 301, 302, 303, 305, 307})
_REQUESTERS = frozenset({401, 403, 404, 410})
_OURS = frozenset({407, 429})
_CHUNK_BYTES = 1 << 18
_SPACE_CHECK_BYTES = 64 << 20
_JVM_SCHEMES = frozenset({"ftp", "file", "jar", "jmod", "jrt", "mailto"})
_PORTS = {"http": 80, "https": 443}
_HEADERS = {"User-Agent": "iexworker", "Accept": "*/*"}


@dataclass(frozen=True, slots=True)
class Download:
    """The conditions of a download."""

    deadline_s: float
    """Unix instant."""
    cancellation: Cancellation
    private_allowed: bool
    most_bytes: int = MOST_BYTES
    free_bytes: int | None = None
    """What it leaves free on the disk; None: the guard of shared/limits.py."""

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
        for _ in range(1 + _MOST_REDIRECTS):
            parts = _parse(url)
            response = self._request(parts, private_allowed=self.private_allowed or trusted)
            following = _redirection(response, parts)
            if following is None:
                _check_status(response, url)
                return response
            response.close()
            url, trusted = following, False
        raise Trouble(Blame.REQUESTER, f"{shown(url)}: more than {_MOST_REDIRECTS} redirects")

    def _request(self, parts: Url, *, private_allowed: bool) -> urllib3.BaseHTTPResponse:
        self.cancellation.check()
        host, scheme = str(parts.host).strip("[]"), str(parts.scheme)
        port = parts.port or _PORTS[scheme]
        proxy = http_environment.proxy_for(scheme, host, port)
        if proxy is not None:
            check_literal(host, private_allowed=private_allowed)
            return self._send(_through(proxy.url), parts.url)
        target = parts.request_uri
        error: urllib3.exceptions.HTTPError | None = None
        for address in resolve(host, port, private_allowed=private_allowed):
            try:
                return self._send(_pool(scheme, address, port, host), target, host=parts.netloc)
            except urllib3.exceptions.NewConnectionError as refused:
                error = refused
        raise error or AssertionError("no address")

    def _send(
        self,
        pool: urllib3.PoolManager | urllib3.HTTPConnectionPool,
        target: str,
        host: str | None = None,
    ) -> urllib3.BaseHTTPResponse:
        left_s = self._left_s()
        return pool.urlopen(
            "GET",
            target,
            headers=_HEADERS if host is None else {**_HEADERS, "Host": host},
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
        space = limits.free_space(target.parent)
        least = space.guard if self.free_bytes is None else self.free_bytes
        if space.free < least:
            raise Trouble(Blame.OURS, f"less than {least} bytes left on the disk")


def _parse(url: str) -> Url:
    try:
        parts = parse_url(url)
    except urllib3.exceptions.LocationParseError:
        raise Trouble(Blame.REQUESTER, f"{shown(url)}: no URL") from None
    if parts.scheme in _JVM_SCHEMES:
        raise Trouble(Blame.OURS, f"{parts.scheme}: refused by policy, http and https only")
    if parts.scheme not in _PORTS or not parts.host:
        raise Trouble(Blame.REQUESTER, f"{shown(url)}: expected http:// or https:// and a host")
    return parts


def _redirection(response: urllib3.BaseHTTPResponse, parts: Url) -> str | None:
    """Return where to go instead; None when the answer is the content, be it a redirect's page.

    Java's client stays within the scheme and returns the page of a redirect that leaves it.
    """
    location = response.headers.get("Location")
    if response.status not in _REDIRECTS or not location:
        return None
    try:
        target = urllib.parse.urljoin(parts.url, location)
        scheme = urllib.parse.urlsplit(target).scheme
    except ValueError as error:
        response.close()
        raise Trouble(Blame.NETWORK, f"{shown(parts.url)}: broken redirect: {error}") from None
    return target if scheme == parts.scheme else None


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
        return urllib3.HTTPConnectionPool(address, port)
    return urllib3.HTTPSConnectionPool(
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
