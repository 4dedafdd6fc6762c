"""HTTP requests whose request line is sent as it is given, bytes that no URL may hold included.

urllib3 percent-encodes a target, and http.client refuses what is not ASCII; Java does neither.
The target takes its way through both as hexadecimal digits, and is put back where it is sent.
"""

from __future__ import annotations

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


def disguised(target: bytes) -> str:
    """Return the path to hand to a pool of this module so that it asks for `target`.

    The target must hold no line feed: that would end the request line.
    """
    if b"\n" in target:
        raise ValueError("a line feed in a request target")
    return "/" + target.hex()


def make_verbatim(manager: urllib3.PoolManager) -> None:
    """Have a manager, one for a proxy too, use the pools of this module."""
    manager.pool_classes_by_scheme = {"http": VerbatimPool, "https": VerbatimTlsPool}


def _target(url: str) -> str:
    return bytes.fromhex(url.rpartition("/")[2]).decode("latin-1")


class _Connection(HTTPConnection):
    def putrequest(
        self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False
    ) -> None:
        super().putrequest(method, _target(url), skip_host, skip_accept_encoding)

    def _encode_request(self, request: str) -> bytes:
        return request.encode("latin-1")

    def _validate_path(self, url: str) -> None:
        """Take any path: `disguised` has looked for what ends a line."""


class _TlsConnection(HTTPSConnection):
    def putrequest(
        self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False
    ) -> None:
        super().putrequest(method, _target(url), skip_host, skip_accept_encoding)

    def _encode_request(self, request: str) -> bytes:
        return request.encode("latin-1")

    def _validate_path(self, url: str) -> None:
        """Take any path: `disguised` has looked for what ends a line."""


class VerbatimPool(HTTPConnectionPool):
    """For http; paths come from `disguised`."""

    ConnectionCls = _Connection


class VerbatimTlsPool(HTTPSConnectionPool):
    """For https; paths come from `disguised`."""

    ConnectionCls = _TlsConnection
