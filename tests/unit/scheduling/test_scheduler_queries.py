from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iexworker.core.client import SchedulerClient
from iexworker.core.login import Tokens
from iexworker.core.messages import ReplicateStatus
from iexworker.errors import SchedulerError
from iexworker.scheduling.scheduler_queries import SchedulerQueries, history_of
from iexworker.task.events import SchedulerSaw
from iexworker.wallet import Wallet
from tests.helpers.scripted_server import Reply, ScriptedServer, running

WIRE = Path(__file__).parents[2] / "wire"
WALLET = "0xb4b1270541d742626695b583606fdf17eb86b4ed"
TASK = "0x85ba729ff9d4a99c74e74a138eb1f004c18e612eb066ee2994344c4b75ba4ae5"
S = ReplicateStatus


def recorded(request: str) -> Any:
    """Return the first recorded answer to a request of a worker that came back."""
    events = json.loads((WIRE / "9.2-return-computing-interrupted.json").read_text())["events"]
    return next(
        event["response"] for event in events if event.get("request", "").startswith(request)
    )


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running() as server:
        yield server


@pytest.fixture
def queries(server: ScriptedServer) -> Iterator[SchedulerQueries]:
    client = SchedulerClient(server.url)
    client.token = "header.claims.signature"
    yield SchedulerQueries(client, Tokens(client, Wallet(bytes([7]) * 32)), WALLET)
    client.close()


def test_the_tasks_being_computed_are_read(
    server: ScriptedServer, queries: SchedulerQueries
) -> None:
    server.on("GET /workers/computing", Reply.of(recorded("GET /workers/computing")))
    assert asyncio.run(queries.computing()) == [TASK]


def test_what_was_interrupted_comes_with_its_authorisation(
    server: ScriptedServer, queries: SchedulerQueries
) -> None:
    server.on(
        "GET /replicates/interrupted?blockNumber=7",
        Reply.of(recorded("GET /replicates/interrupted")),
    )
    (note,) = asyncio.run(queries.interrupted(7))
    assert note.authorization is not None
    assert (note.task_id, note.authorization.worker_wallet) == (TASK, WALLET)


def test_the_history_of_our_replicate_is_read(
    server: ScriptedServer, queries: SchedulerQueries
) -> None:
    server.on(f"GET /tasks/{TASK}", Reply.of(recorded("GET /tasks/")))
    history = asyncio.run(queries.history(TASK))
    assert history[:2] == [S.CREATED, S.STARTING]
    assert history[-2:] == [S.COMPUTING, S.WORKER_LOST]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"replicates": None},
        {"replicates": {"walletAddress": WALLET}},
        {"replicates": [7, {"walletAddress": "0x" + "00" * 20}]},
        {"replicates": [{"walletAddress": WALLET}]},
        {"replicates": [{"walletAddress": WALLET, "statusUpdateList": ["STARTED", {}]}]},
        {"replicates": [{"walletAddress": WALLET, "statusUpdateList": [{"status": "NEW"}]}]},
    ],
)
def test_a_history_of_another_shape_is_empty(document: dict[str, Any]) -> None:
    assert history_of(document, WALLET) == []


@pytest.mark.parametrize(
    ("status", "uploader", "saw"),
    [
        ("RUNNING", None, SchedulerSaw(consensus=False, asked_to_upload=False)),
        ("CONSENSUS_REACHED", None, SchedulerSaw(consensus=True, asked_to_upload=False)),
        ("RESULT_UPLOADING", WALLET.upper(), SchedulerSaw(consensus=True, asked_to_upload=True)),
        ("COMPLETED", "0x" + "00" * 20, SchedulerSaw(consensus=True, asked_to_upload=False)),
    ],
)
def test_the_scheduler_tells_how_far_it_is(
    server: ScriptedServer,
    queries: SchedulerQueries,
    status: str,
    uploader: str | None,
    saw: object,
) -> None:
    document = {"currentStatus": status, "uploadingWorkerWalletAddress": uploader}
    server.on(f"GET /tasks/{TASK}", Reply.of(document))
    assert asyncio.run(queries.saw(TASK)) == saw


def test_a_task_of_another_pool_has_no_history(queries: SchedulerQueries) -> None:
    assert asyncio.run(queries.history(TASK)) == []


def test_no_answer_is_an_error(server: ScriptedServer, queries: SchedulerQueries) -> None:
    server.on(f"GET /tasks/{TASK}", Reply(503))
    with pytest.raises(SchedulerError):
        asyncio.run(queries.history(TASK))
    with pytest.raises(SchedulerError):
        asyncio.run(queries.computing())
