"""Nodes that refuse batches of requests, in whatever form: they are asked one by one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from iexworker.chain import rpc as rpc_module
from iexworker.chain.rpc import Batches, Rpc, RpcError
from iexworker.errors import ChainError
from tests.helpers.scripted_server import Reply, Request, ScriptedServer, running

ASKED = [("eth_chainId", ()), ("eth_blockNumber", ()), ("eth_gasPrice", ())]
RESULTS = {"eth_chainId": "0x86", "eth_blockNumber": "0x10", "eth_gasPrice": "0x1"}
TEXT = "batch larger than the plan allows"


def _one(request: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request["id"], "result": RESULTS[request["method"]]}


def _error(identifier: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identifier, "error": {"code": 31, "message": TEXT}}


def _status(status: int) -> Callable[[list[Any]], Reply]:
    return lambda batch: Reply.of(_error(1), status)


REFUSALS: dict[str, Callable[[list[Any]], Reply]] = {
    **{f"HTTP {code}": _status(code) for code in (400, 402, 403, 404, 405, 413, 415, 422, 429)},
    **{f"HTTP {code}": _status(code) for code in (500, 501, 502, 503)},
    "one error": lambda batch: Reply.of(_error(None)),
    "a list of one error without id": lambda batch: Reply.of([_error(None)]),
    "a list of errors without id": lambda batch: Reply.of([_error(None) for _ in batch]),
    "ids as texts": lambda batch: Reply.of(
        [_one(item) | {"id": str(item["id"])} for item in batch]
    ),
    "only the first": lambda batch: Reply.of([_one(batch[0])]),
    "all but the first": lambda batch: Reply.of([_one(item) for item in batch[1:]]),
    "one twice": lambda batch: Reply.of([_one(batch[0]), *map(_one, batch[:2])]),
    "the last refused in its place": lambda batch: Reply.of(
        [*map(_one, batch[:2]), _error(batch[2]["id"])]
    ),
    "an empty list": lambda batch: Reply.of([]),
    "a list of something else": lambda batch: Reply.of([7, "x", None]),
    "an object": lambda batch: Reply.of({}),
    "a text": lambda batch: Reply.of(TEXT),
    "null": lambda batch: Reply.of(None),
    "nothing": lambda batch: Reply(200),
    "a page": lambda batch: Reply(200, b"<html>batches are not offered</html>"),
    "no UTF-8": lambda batch: Reply(200, b"\xff\xfe[]"),
    "a connection that is closed": lambda batch: Reply(raw=b""),
}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running() as found:
        yield found


def refusing(server: ScriptedServer, refusal: Callable[[list[Any]], Reply]) -> None:
    def answer(request: Request) -> Reply:
        asked = request.json
        return refusal(asked) if isinstance(asked, list) else Reply.of(_one(asked))

    server.on("POST /", answer)


def batches(server: ScriptedServer) -> int:
    return sum(request.body.lstrip()[:1] == b"[" for request in server.requests)


@pytest.mark.parametrize("form", REFUSALS)
def test_a_node_that_refuses_batches_is_asked_one_by_one_and_that_is_said_once(
    server: ScriptedServer, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    refusing(server, REFUSALS[form])
    caplog.set_level(logging.INFO, "iexworker")
    shared = Batches()
    for _ in range(2):
        rpc = Rpc(server.url + "/", batches=shared)
        for _ in range(2):
            assert rpc.batch(ASKED) == list(RESULTS.values())
    told = [record for record in caplog.records if "batch" in record.message]
    assert len(told) == 1
    assert vars(told[0])["node"] == server.url
    assert batches(server) == 1


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_node_in_trouble_is_not_taken_for_one_that_refuses_batches(
    server: ScriptedServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "iexworker")
    rpc = Rpc(server.url + "/")
    server.on("POST /", Reply(status, b"later"))
    with pytest.raises(ChainError, match=str(status)):
        rpc.batch(ASKED)
    server.on("POST /", lambda request: Reply.of([_one(item) for item in request.json]))
    server.requests.clear()
    assert rpc.batch(ASKED) == list(RESULTS.values())
    assert len(server.requests) == 1
    assert not caplog.records


def test_an_answer_in_another_order_is_the_list_asked_for(server: ScriptedServer) -> None:
    server.on("POST /", lambda request: Reply.of([_one(item) for item in request.json[::-1]]))
    assert Rpc(server.url + "/").batch(ASKED) == list(RESULTS.values())
    assert len(server.requests) == 1


def test_what_a_contract_refuses_is_an_answer_and_not_asked_again(server: ScriptedServer) -> None:
    def answer(request: Request) -> Reply:
        refused = {"code": 3, "message": "execution reverted: no batch of yours"}
        first, second, third = request.json
        return Reply.of([_one(first), {"id": second["id"], "error": refused}, _one(third)])

    server.on("POST /", answer)
    found = Rpc(server.url + "/").batch(ASKED)
    assert isinstance(found[1], RpcError) and found[1].reverted
    assert len(server.requests) == 1


def test_batches_are_tried_again_after_a_while_and_a_second_refusal_is_not_said(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "iexworker")
    refusing(server, _status(402))
    rpc = Rpc(server.url + "/")
    monkeypatch.setattr(rpc_module, "BATCHES_AGAIN_S", 0.0)
    for _ in range(3):
        assert rpc.batch(ASKED) == list(RESULTS.values())
    assert batches(server) == 3
    assert len(caplog.records) == 1


def test_the_requests_are_the_same_one_by_one(server: ScriptedServer) -> None:
    refusing(server, _status(402))
    Rpc(server.url + "/").batch(ASKED)
    whole, *single = (json.loads(request.body) for request in server.requests)
    keys = ("method", "params")
    assert [[item[key] for key in keys] for item in whole] == [
        [item[key] for key in keys] for item in single
    ]
