"""JSON-RPC with a chain node: one request, or several in one round trip (EIP-1474).

Importing this module imports web3, which takes 0.3 s: `scheduling` does it while its login runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from eth_typing import URI

from iexworker.chain import lean_web3, revert
from iexworker.chain.lean_web3 import restore_limit
from iexworker.errors import ChainError

with lean_web3.put_off():
    from web3 import HTTPProvider
    from web3.types import RPCEndpoint, RPCResponse
restore_limit()

_T = TypeVar("_T")
log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 10.0
MAX_BATCH = 50
"""Requests in one round trip; public nodes refuse some hundreds."""

_REFUSED_BATCH = frozenset({400, 404, 405, 413, 415, 422})

Request = tuple[str, Sequence[Any]]
"""Method and parameters."""


class RpcError(ChainError):
    """The node answered a request with an error object."""

    def __init__(self, method: str, code: int, message: str, data: object = None) -> None:
        self.method = method
        self.code = code
        self.reason = revert.reason(message, data)
        super().__init__(f"{method}: the node says: {self.reason} (code {code})")

    @property
    def reverted(self) -> bool:
        """Whether a contract refused the call, so that asking again now gives the same."""
        return revert.is_revert(self.code, str(self))


class _HttpError(ChainError):
    """The node answered with an HTTP status that is no success."""

    def __init__(self, host: str, status: int) -> None:
        super().__init__(f"node {host}: HTTP status {status}")
        self.status = status


class Rpc:
    """A node's JSON-RPC endpoint; one instance a thread, every request with a timeout."""

    def __init__(self, url: str, timeout_s: float = READ_TIMEOUT_S) -> None:
        # The address may carry an access key in its path: messages name the host alone.
        self.host = urlsplit(url).netloc.rpartition("@")[2]
        self._provider = HTTPProvider(
            URI(url),
            request_kwargs={"timeout": (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)},
            session=requests.Session(),
            exception_retry_configuration=None,
        )
        self._takes_batches = True

    def call(self, method: str, *params: object) -> Any:  # noqa: ANN401 - any JSON value
        """Return the result; raises `RpcError` for an error object, else `ChainError`."""
        response = self._post(lambda: self._provider.make_request(RPCEndpoint(method), params))
        return self._result(method, response)

    def batch(self, asked: Iterable[Request]) -> list[Any]:
        """Return the results in order; an `RpcError` stands in the place of a failed request.

        Raises `ChainError` when the node cannot be reached or gives no answer to one of them.
        """
        pending = list(asked)
        results: list[Any] = []
        while pending:
            part, pending = pending[:MAX_BATCH], pending[MAX_BATCH:]
            results += self._batch(part) if self._takes_batches else self._one_by_one(part)
        return results

    def _batch(self, part: Sequence[Request]) -> list[Any]:
        encoded = [(RPCEndpoint(method), list(params)) for method, params in part]
        try:
            answers = self._post(lambda: self._provider.make_batch_request(encoded))
        except _HttpError as error:
            if error.status not in _REFUSED_BATCH:
                raise
            answers = None
        if not isinstance(answers, list):
            log.info("node refuses batches, asking one by one", extra={"node": self.host})
            self._takes_batches = False
            return self._one_by_one(part)
        self._require_one_each(part, answers)
        return [
            self._kept(method, answer) for (method, _), answer in zip(part, answers, strict=True)
        ]

    def _require_one_each(self, part: Sequence[Request], answers: Sequence[RPCResponse]) -> None:
        """Refuse answers that are not one to each request: the provider has sorted them by id."""
        found = [answer.get("id") for answer in answers]
        first = found[0] if found else None
        if not isinstance(first, int) or found != list(range(first, first + len(part))):
            raise ChainError(f"node {self.host}: answers {found} to {len(part)} requests")

    def _one_by_one(self, part: Sequence[Request]) -> list[Any]:
        results: list[Any] = []
        for method, params in part:
            try:
                results.append(self.call(method, *params))
            except RpcError as error:
                results.append(error)
        return results

    def _kept(self, method: str, answer: RPCResponse) -> Any:  # noqa: ANN401 - any JSON value
        try:
            return self._result(method, answer)
        except RpcError as error:
            return error

    def _post(self, send: Callable[[], _T]) -> _T:
        try:
            return send()
        except requests.HTTPError as error:
            raise _HttpError(self.host, error.response.status_code) from None
        except requests.Timeout:
            raise ChainError(f"node {self.host}: no answer in time") from None
        except requests.RequestException as error:
            raise ChainError(f"node {self.host}: {type(error).__name__}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ChainError(f"node {self.host}: no JSON-RPC answer ({error})") from None

    def _result(self, method: str, answer: Any) -> Any:  # noqa: ANN401 - any JSON value
        if not isinstance(answer, Mapping):
            raise ChainError(f"node {self.host}: {method} has no JSON-RPC answer")
        error = answer.get("error")
        if error is not None:
            raise _rpc_error(method, error)
        if "result" not in answer:
            raise ChainError(f"node {self.host}: {method} has neither result nor error")
        return answer["result"]


def _rpc_error(method: str, error: object) -> RpcError:
    if not isinstance(error, Mapping):
        return RpcError(method, 0, str(error))
    code = error.get("code")
    number = code if isinstance(code, int) else 0
    return RpcError(method, number, str(error.get("message", "")), error.get("data"))


def quantity(value: object, what: str) -> int:
    """Read a hex quantity such as `0x2a`; raises `ChainError`, never gives a default."""
    try:
        return int(value, 16) if isinstance(value, str) else _no_quantity(value, what)
    except ValueError:
        return _no_quantity(value, what)


def _no_quantity(value: object, what: str) -> int:
    raise ChainError(f"{what}: expected a hex number, the node says {value!r}")
