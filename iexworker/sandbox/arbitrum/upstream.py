"""The development node behind the proxy, asked one call at a time."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

Json = Any
"""Whatever JSON-RPC carries; the method says what."""

TIMEOUT_S = 30
SERVER_ERROR = -32000


class RpcError(Exception):
    """An error object, ours or the node's, as it goes to the client."""

    def __init__(
        self, message: str, code: int = SERVER_ERROR, data: Json = None, status: int = 200
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        """Of the HTTP answer, where the call stands alone."""
        self.body = {"code": code, "message": message} | ({} if data is None else {"data": data})


class Lost(Exception):
    """The connection ends without an answer."""


class Upstream:
    """One connection to anvil for all threads; `alone` keeps the others out for several calls."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT_S
        )
        self._path = parts.path or "/"
        self._lock = threading.RLock()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else's calls between ours."""
        with self._lock:
            yield

    def ask(self, method: str, *parameters: Json) -> Json:
        """Call a method.

        Raises:
            RpcError: the node answers with an error, or not at all.

        """
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        with self._lock:
            answer = self._post(json.dumps(request))
        if "error" in answer:
            error = answer["error"]
            raise RpcError(error.get("message", ""), error.get("code", 0), error.get("data"))
        return answer.get("result")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _post(self, body: str) -> Json:
        """Ask; once more where a connection that was kept has ended meanwhile."""
        kept = self._connection.sock is not None
        try:
            return self._exchange(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            # A time-out may have had its effect: it is not asked again.
            if not kept or isinstance(error, TimeoutError):
                raise RpcError(f"the node behind does not answer: {error}") from error
        try:
            return self._exchange(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise RpcError(f"the node behind does not answer: {error}") from error

    def _exchange(self, body: str) -> Json:
        self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        return json.loads(self._connection.getresponse().read())
