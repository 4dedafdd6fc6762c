from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iexworker.core import client as client_module
from iexworker.core.client import Answer, SchedulerClient
from iexworker.core.messages import (
    AnswerKind,
    Details,
    NotificationType,
    Registration,
    ReplicateStatus,
)
from iexworker.errors import SchedulerError, Unauthorized
from iexworker.poco.models import ChainReceipt, Profile
from tests.helpers.scripted_server import Reply, Request, ScriptedServer, running

WIRE = Path(__file__).parents[2] / "wire"
TASK = "0x65bc5e94ed4486a940bd6cc0013c418efad58a0a52a3d08cee89faaa21970426"
UPDATE = f"POST /replicates/{TASK}/updateStatus"
WALLET = "0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc"
CHAIN = {
    "chainId": 134,
    "sidechain": True,
    "chainNodeUrl": "https://node.example",
    "iexecHubContractAddress": "0x3EcA1B216a7Df1c7689aEB259Ffb83aDFb894E7f",
    "blockTime": "PT5S",
}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[SchedulerClient]:
    client = SchedulerClient(server.url)
    client.token = "header.claims.signature"
    yield client
    client.close()


def recorded(name: str) -> list[dict[str, Any]]:
    events = json.loads((WIRE / name).read_text())["events"]
    return [event for event in events if "response" in event]


def answer_of(event: dict[str, Any]) -> Reply:
    value = event["response"]
    text = event["response_headers"].get("content-type", "").startswith("text/plain")
    if value is None:
        return Reply(event["status"])
    return Reply(event["status"], value.encode()) if text else Reply.of(value, event["status"])


@pytest.mark.parametrize(
    ("name", "profile"), [("8.5-session.json", Profile.V8), ("9.2-session.json", Profile.V9)]
)
def test_the_recorded_session_is_understood(
    server: ScriptedServer, client: SchedulerClient, name: str, profile: Profile
) -> None:
    last_good = {
        event["request"]: answer_of(event) for event in recorded(name) if event["status"] < 300
    }
    for request, reply in last_good.items():
        server.on(request, reply)
    configuration = client.config()
    assert configuration.config_server_url == "http://localhost:8888"
    assert configuration.workerpool_address == configuration.workerpool_address.lower()
    assert configuration.has_adapter_url == (profile is Profile.V8)
    assert client.profile(configuration) is profile
    assert len(client.challenge(WALLET)) == 44
    assert client.ping().startswith("0x")
    grants = interrupted = 0
    for request in last_good:
        path, _, block = request.partition("blockNumber=")
        if path == "GET /replicates/available?":
            grant = client.available(int(block))
            grants += grant is not None
            if grant is not None:
                assert grant.authorization.worker_wallet == WALLET
                assert ("dealId" in grant.authorization.raw) == (profile is Profile.V9)
        if path == "GET /replicates/interrupted?":
            interrupted += len(client.interrupted(int(block)))
    assert grants > 0
    assert interrupted > 0


@pytest.mark.parametrize("name", ["8.5-standard.json", "9.2-standard.json"])
def test_the_recorded_updates_are_sent_and_answered_field_by_field(
    server: ScriptedServer, client: SchedulerClient, name: str
) -> None:
    updates = [event for event in recorded(name) if event["request"].endswith("/updateStatus")]
    assert len(updates) > 14
    for event in updates:
        server.on(event["request"], answer_of(event))
        task_id = event["request"].split("/")[2]
        answer = client.update_status(
            task_id, ReplicateStatus[event["body"]["status"]], details_of(event["body"])
        )
        assert answer == Answer(
            AnswerKind.ACCEPTED, NotificationType[event["response"]], f'"{event["response"]}"'
        )
        sent = server.requests[-1]
        assert sent.json == event["body"]
        assert list(sent.json) == list(event["body"])
        assert list(sent.json["details"] or ()) == list(event["body"]["details"] or ())
        for header in ("content-type", "accept"):
            assert sent.headers[header] == event["headers"][header]
        assert sent.headers["authorization"] == "Bearer header.claims.signature"


def details_of(body: dict[str, Any]) -> Details | None:
    details = body["details"]
    if details is None:
        return None
    receipt, logs = details["chainReceipt"], details["computeLogs"]
    return Details(
        receipt=ChainReceipt(receipt["blockNumber"], receipt["txHash"]) if receipt else None,
        result_link=details["resultLink"],
        callback_data=details["chainCallbackData"],
        cause=details["cause"],
        stdout=(logs or {}).get("stdout"),
        stderr=(logs or {}).get("stderr"),
        with_logs=logs is not None,
        exit_code=details["exitCode"],
    )


@pytest.mark.parametrize(
    ("reply", "kind", "following"),
    [
        (Reply.of("PLEASE_COMPUTE"), "accepted", "PLEASE_COMPUTE"),
        (Reply(200), "accepted", None),
        (Reply(200, b"null"), "accepted", None),
        (Reply.of("PLEASE_WAIT", 208), "already", "PLEASE_WAIT"),
        (Reply(208), "already", "PLEASE_WAIT"),
        (Reply.of("PLEASE_ABORT", 202), "refused", "PLEASE_ABORT"),
        (Reply(202, b"<html>"), "refused", "PLEASE_ABORT"),
    ],
)
def test_each_documented_answer_to_an_update_has_its_kind(
    server: ScriptedServer, client: SchedulerClient, reply: Reply, kind: str, following: str | None
) -> None:
    server.on(UPDATE, reply)
    answer = client.update_status(TASK, ReplicateStatus.COMPUTED)
    assert answer.kind is AnswerKind(kind)
    assert answer.next is (NotificationType[following] if following else None)


def test_an_update_with_an_unknown_cause_is_repeated_once_without_it(
    server: ScriptedServer, client: SchedulerClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.on(UPDATE, Reply(400), Reply.of("PLEASE_ABORT"))
    details = Details(cause="NEWER_THAN_THE_SCHEDULER", exit_code=3)
    answer = client.update_status(TASK, ReplicateStatus.COMPUTE_FAILED, details)
    assert answer.kind is AnswerKind.ACCEPTED
    first, second = server.requests
    assert first.json["details"]["cause"] == "NEWER_THAN_THE_SCHEDULER"
    assert second.json["details"]["cause"] is None
    assert second.json["details"]["exitCode"] == 3
    assert "repeated without it" in caplog.text


@pytest.mark.parametrize("details", [None, Details(exit_code=1), Details(cause="X")])
def test_a_400_that_the_cause_does_not_explain_is_an_error(
    server: ScriptedServer, client: SchedulerClient, details: Details | None
) -> None:
    server.on(UPDATE, Reply(400, b'{"error":"Bad Request"}'))
    with pytest.raises(SchedulerError, match=r"answered 400 Bad Request: .*Bad Request") as caught:
        client.update_status(TASK, ReplicateStatus.COMPUTED, details)
    assert caught.value.status == 400
    assert len(server.requests) == (2 if details is not None and details.cause else 1)


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_a_refusal_is_an_error_with_its_status(
    server: ScriptedServer, client: SchedulerClient, status: int
) -> None:
    server.on("POST /workers/ping", Reply(status))
    with pytest.raises(SchedulerError, match=f"POST /workers/ping: answered {status}") as caught:
        client.ping()
    assert caught.value.status == status
    assert isinstance(caught.value, Unauthorized) == (status == 401)


@pytest.mark.parametrize("body", [b"<html>log in here</html>", b"0x" + b"0" * 200])
def test_a_ping_answered_by_somebody_else_is_an_error(
    server: ScriptedServer, client: SchedulerClient, body: bytes
) -> None:
    server.on("POST /workers/ping", Reply(200), Reply(200, body))
    assert client.ping() == ""
    with pytest.raises(SchedulerError, match="malformed answer"):
        client.ping()


def test_without_a_token_nothing_is_sent(server: ScriptedServer, client: SchedulerClient) -> None:
    client.token = None
    with pytest.raises(Unauthorized, match="no token held"):
        client.ping()
    assert server.requests == []


def test_an_answer_that_never_comes_is_an_error_without_a_status(
    server: ScriptedServer, client: SchedulerClient
) -> None:
    server.on("POST /workers/ping", Reply(raw=b""))
    with pytest.raises(SchedulerError) as caught:
        client.ping()
    assert caught.value.status is None
    assert not isinstance(caught.value, Unauthorized)
    assert client.token is not None
    assert client.token not in str(caught.value)


def test_malformed_answers_are_errors_and_logged_once(
    server: ScriptedServer, client: SchedulerClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server.on("GET /workers/config", Reply(200, b"<html>no JSON</html>"))
    server.on("GET /replicates/available?blockNumber=1", Reply.of({"smsUrl": 3}))
    server.on("GET /workers/computing", Reply.of([1]))
    server.on("GET /replicates/interrupted?blockNumber=1", Reply.of({}))
    server.on(f"GET /tasks/{TASK}", Reply.of([]))
    server.on(UPDATE, Reply.of("PLEASE_DANCE"))
    for _ in range(2):
        for call in (
            client.config,
            lambda: client.available(1),
            client.computing,
            lambda: client.interrupted(1),
            lambda: client.task(TASK),
            lambda: client.update_status(TASK, ReplicateStatus.STARTED),
        ):
            with pytest.raises(SchedulerError, match="malformed answer") as caught:
                call()
            assert caught.value.status == 200
    assert len(caplog.records) == 6
    said = {getattr(record, "text", "") for record in caplog.records}
    assert {"<html>no JSON</html>", '"PLEASE_DANCE"'} <= said


def test_an_unexpected_success_status_is_an_error(
    server: ScriptedServer, client: SchedulerClient
) -> None:
    server.on(UPDATE, Reply(206))
    with pytest.raises(SchedulerError, match="answered 206 Partial Content"):
        client.update_status(TASK, ReplicateStatus.STARTED)


def test_malformed_items_of_the_interrupted_list_are_left_out(
    server: ScriptedServer, client: SchedulerClient, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"chainTaskId": TASK, "taskNotificationType": "PLEASE_WAIT", "new": 1}
    bad = {"chainTaskId": TASK, "taskNotificationType": "PLEASE_DANCE"}
    server.on("GET /replicates/interrupted?blockNumber=7", Reply.of([bad, good, None]))
    (note,) = client.interrupted(7)
    assert note.type is NotificationType.PLEASE_WAIT
    assert len(caplog.records) == 2


def test_registration_sends_every_field(server: ScriptedServer, client: SchedulerClient) -> None:
    event = next(
        event for event in recorded("9.2-session.json") if event["request"].endswith("/register")
    )
    server.on("POST /workers/register", answer_of(event))
    client.register(
        Registration(
            name="worker", wallet=WALLET, os="Linux", cpu="amd64", cpu_count=1, memory_gib=0,
            gpu=False, tee=False,
        )
    )  # fmt: skip
    assert server.requests[0].json == event["body"]
    assert list(server.requests[0].json) == list(event["body"])


def test_lists_and_records_are_returned_as_the_scheduler_gives_them(
    server: ScriptedServer, client: SchedulerClient
) -> None:
    server.on("GET /workers/computing", Reply.of([TASK.upper().replace("0X", "0x")]))
    server.on(f"GET /tasks/{TASK}", Reply.of({"currentStatus": "RUNNING"}))
    server.on("GET /replicates/available?blockNumber=5", Reply(204))
    client.token = "t"
    assert client.computing() == [TASK]
    assert client.available(5) is None
    assert client.task(TASK) == {"currentStatus": "RUNNING"}
    assert "authorization" not in server.requests[-1].headers


@pytest.mark.parametrize(
    ("version", "adapter", "profile"),
    [
        (Reply(200, b"8.5.0"), False, Profile.V8),
        (Reply(200, b"9.2.1-NEXT-SNAPSHOT"), True, Profile.V9),
        (Reply(200, b"10.0"), True, Profile.V9),
        (Reply(200, b"devel"), True, Profile.V8),
        (Reply(200, b"9" * 5000), False, Profile.V9),
        (Reply(500), True, Profile.V8),
        (Reply(404), False, Profile.V9),
    ],
)
def test_the_profile_comes_from_the_version_else_from_the_configuration(
    server: ScriptedServer, client: SchedulerClient, version: Reply, adapter: bool, profile: Profile
) -> None:
    server.on("GET /version", version)
    server.on("GET /workers/config", Reply.of({"blockchainAdapterUrl": "x"} if adapter else {}))
    assert client.profile(client.config()) is profile


@pytest.mark.parametrize(
    ("changed", "seconds"),
    [
        ({}, 5),
        ({"chainId": "134", "sidechain": "True", "blockTime": 5}, 5),
        ({"blockTime": "pt0.5s", "unknown": []}, 0.5),
        ({"blockTime": "2.5"}, 2.5),
        ({"blockTime": "PT1M"}, 60),
    ],
)
def test_the_chain_configuration_is_read_leniently(
    server: ScriptedServer, client: SchedulerClient, changed: dict[str, object], seconds: float
) -> None:
    server.on("GET /config/chain", Reply.of(CHAIN | changed))
    chain = client.chain_configuration(server.url + "/")
    assert (chain.chain_id, chain.sidechain, chain.block_time_s) == (134, True, seconds)
    assert chain.hub_address == "0x3eca1b216a7df1c7689aeb259ffb83adfb894e7f"
    assert chain.node_url == "https://node.example"
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "object"),
        (CHAIN | {"chainId": 0}, "chainId"),
        (CHAIN | {"chainId": True}, "chainId"),
        (CHAIN | {"chainId": "x"}, "chainId"),
        (CHAIN | {"iexecHubContractAddress": None}, "iexecHubContractAddress"),
        (CHAIN | {"iexecHubContractAddress": "0x" + "0" * 40}, "iexecHubContractAddress"),
        (CHAIN | {"iexecHubContractAddress": 7}, "iexecHubContractAddress"),
        (CHAIN | {"chainNodeUrl": []}, "chainNodeUrl"),
        (CHAIN | {"blockTime": "PT0S"}, "blockTime"),
        (CHAIN | {"blockTime": "-PT5S"}, "blockTime"),
        (CHAIN | {"blockTime": "soon"}, "blockTime"),
        (CHAIN | {"blockTime": "inf"}, "blockTime"),
        (CHAIN | {"blockTime": True}, "blockTime"),
        (CHAIN | {"blockTime": None}, "blockTime"),
        (CHAIN | {"blockTime": "PT" + "9" * 400 + "H"}, "blockTime"),
    ],
)
def test_an_unusable_chain_configuration_names_the_field(
    server: ScriptedServer, client: SchedulerClient, document: object, field: str
) -> None:
    server.on("GET /config/chain", Reply.of(document))
    with pytest.raises(SchedulerError, match=field):
        client.chain_configuration(server.url)


def test_answers_that_the_scheduler_holds_get_the_longer_timeout(
    server: ScriptedServer, client: SchedulerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "READ_TIMEOUT_S", 0.1)
    monkeypatch.setattr(client_module, "HELD_READ_TIMEOUT_S", 20.0)
    release = threading.Event()

    def held(request: Request) -> Reply:
        release.wait(0.5 if request.json["status"] == "CONTRIBUTED" else 10)
        return Reply.of("PLEASE_WAIT")

    server.on(UPDATE, held)
    assert client.update_status(TASK, ReplicateStatus.CONTRIBUTED).kind is AnswerKind.ACCEPTED
    with pytest.raises(SchedulerError, match=r"no answer within 0\.1 s"):
        client.update_status(TASK, ReplicateStatus.CONTRIBUTING)
    release.set()


def test_the_base_url_has_no_slash_at_its_end() -> None:
    assert SchedulerClient("http://core:13000/").base_url == "http://core:13000"
