"""JSON-RPC with a chain node: one request, or several in one round trip (EIP-1474).

Importing this module imports web3, which takes 0.3 s: `scheduling` does it while its login runs.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import requests
from eth_typing import URI

from iexworker import peers
from iexworker.chain import lean_web3, revert
from iexworker.chain.lean_web3 import restore_limit
from iexworker.errors import ChainError
from iexworker.http_session import EnvironmentSession

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
BATCHES_AGAIN_S = 600.0
"""After so long a node that refused batches is tried again: it may have been a passing trouble."""

_SHOWN_CHARACTERS = 200

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


class _NotTheList(Exception):
    """The answer to a batch is not one answer to each request; the message says what it is."""


class Batches:
    """Whether a node takes batches, as all threads have found; a refusal is told once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused_until_s: float | None = None

    @property
    def refused(self) -> bool:
        """Whether requests are sent one by one for now."""
        with self._lock:
            until_s = self._refused_until_s
        return until_s is not None and time.monotonic() < until_s

    def refuse(self, node: str, error: str) -> None:
        """Take note that a batch was refused, and single requests were not."""
        with self._lock:
            is_new = self._refused_until_s is None
            self._refused_until_s = time.monotonic() + BATCHES_AGAIN_S
        if is_new:
            log.info(
                "node takes no batches, asked one by one", extra={"node": node, "error": error}
            )


class Rpc:
    """A node's JSON-RPC endpoint; one instance a thread, every request with a timeout."""

    def __init__(
        self,
        url: str,
        timeout_s: float = READ_TIMEOUT_S,
        *,
        of_pool: bool = False,
        batches: Batches | None = None,
    ) -> None:
        self._batches = batches or Batches()
        self.peer = peers.chain_node(url, of_pool=of_pool)
        self._session = EnvironmentSession()
        self._provider = HTTPProvider(
            URI(url),
            request_kwargs={"timeout": (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)},
            session=self._session,
            exception_retry_configuration=None,
        )

    def call(self, method: str, *params: object) -> Any:  # noqa: ANN401 - any JSON value
        """Return the result; raises `RpcError` for an error object, else `ChainError`."""
        response = self._post(
            method, lambda: self._provider.make_request(RPCEndpoint(method), params)
        )
        return self._result(method, response)

    def batch(self, asked: Iterable[Request]) -> list[Any]:
        """Return the results in order; an `RpcError` stands in the place of a failed request.

        Raises `ChainError` when the node cannot be reached or gives no answer to one of them.
        """
        pending = list(asked)
        results: list[Any] = []
        while pending:
            part, pending = pending[:MAX_BATCH], pending[MAX_BATCH:]
            results += self._part(part)
        return results

    def _part(self, part: Sequence[Request]) -> list[Any]:
        """Ask at once; where the answer is not the list asked for, one by one.

        A node that then answers refuses batches; one that does not is in trouble, and may well
        take them later.
        """
        if self._batches.refused:
            return self._one_by_one(part)
        try:
            return self._batch(part)
        except _NotTheList as refusal:
            results = self._one_by_one(part)
            self._batches.refuse(peers.shown(self.peer.address), str(refusal))
            return results

    def _batch(self, part: Sequence[Request]) -> list[Any]:
        data = self._provider.encode_batch_rpc_request(
            [(RPCEndpoint(method), list(params)) for method, params in part]
        )
        answers = self._answers(data)
        if not isinstance(answers, list):
            raise _NotTheList(_begin(answers))
        by_id = {answer["id"]: answer for answer in answers if _has_number(answer)}
        ids = [request["id"] for request in json.loads(data)]
        if len(answers) != len(ids) or by_id.keys() != set(ids):
            raise _NotTheList(f"{len(answers)} answers, {len(by_id)} of them to one of {len(ids)}")
        return [
            self._kept(method, by_id[number]) for (method, _), number in zip(part, ids, strict=True)
        ]

    def _answers(self, data: bytes) -> object:
        """Return what the node gave, read as JSON; raises `_NotTheList` for anything else.

        Not by the provider's own batch: that warns of answers without an id, and sorts the rest.
        """
        try:
            kwargs = self._provider.get_request_kwargs()
            with self._session.post(self.peer.address, data=data, **kwargs) as response:
                response.raise_for_status()
                return self._provider.decode_rpc_response(response.content)
        except requests.HTTPError as error:
            raise _NotTheList(f"HTTP status {error.response.status_code}") from None
        except requests.RequestException as error:
            if _hung_up(error):
                raise _NotTheList("the connection was closed") from None
            raise ChainError(self.peer.failed("a batch", error)) from None
        except ValueError:
            raise _NotTheList("no JSON") from None

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
            if not error.reverted and "batch" in error.reason.lower():
                raise _NotTheList(error.reason) from None
            return error
        except ChainError as error:
            raise _NotTheList(str(error)) from None

    def _post(self, method: str, send: Callable[[], _T]) -> _T:
        try:
            return send()
        except requests.HTTPError as error:
            words = " ".join(error.response.text.split())[:_SHOWN_CHARACTERS]
            said = self.peer.answered(method, error.response.status_code, words)
            raise ChainError(said) from None
        except requests.RequestException as error:
            raise ChainError(self.peer.failed(method, error)) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ChainError(self._no_answer(method, "its answer is no JSON")) from None

    def _result(self, method: str, answer: Any) -> Any:  # noqa: ANN401 - any JSON value
        if not isinstance(answer, Mapping):
            raise ChainError(self._no_answer(method, "its answer is no JSON-RPC answer"))
        error = answer.get("error")
        if error is not None:
            raise _rpc_error(method, error)
        if "result" not in answer:
            raise ChainError(self._no_answer(method, "neither result nor error in its answer"))
        return answer["result"]

    def _no_answer(self, method: str, came: str) -> str:
        return self.peer.told(method, came, "is that the address of a chain node?")


def _hung_up(error: BaseException) -> bool:
    """Tell whether the connection stood, and was closed instead of an answer."""
    return "Connection aborted" in str(error) or "Connection broken" in str(error)


def _has_number(answer: object) -> bool:
    return isinstance(answer, dict) and isinstance(answer.get("id"), int)


def _begin(value: object) -> str:
    return " ".join(str(value).split())[:_SHOWN_CHARACTERS]


def _rpc_error(method: str, error: object) -> RpcError:
    if not isinstance(error, Mapping):
        return RpcError(method, 0, str(error))
    code = error.get("code")
    number = code if isinstance(code, int) else 0
    return RpcError(method, number, str(error.get("message", "")), error.get("data"))


def raise_first(results: Iterable[object]) -> None:
    """Raise the first error among the results of a batch."""
    for result in results:
        if isinstance(result, RpcError):
            raise result


def quantity(value: object, what: str) -> int:
    """Read a hex quantity such as `0x2a`; raises `ChainError`, never gives a default."""
    try:
        return int(value, 16) if isinstance(value, str) else _no_quantity(value, what)
    except ValueError:
        return _no_quantity(value, what)


def _no_quantity(value: object, what: str) -> int:
    raise ChainError(f"{what}: expected a hex number, the node says {value!r}")
