"""docs/spec/03, 1.1, 2.2 and 5: the scheduler's calls as requests, and the order of checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from coincurve import PrivateKey

from iexworker.core import sockjs
from iexworker.poco.hashing import keccak, lenient_bytes
from iexworker.sandbox.endpoint import Request, Response
from iexworker.sandbox.scheduler.models import Details
from iexworker.sandbox.scheduler.push import Broker
from iexworker.sandbox.scheduler.routes import scheduler_routes
from tests.helpers.sandbox_pool import ALICE, Pool, status

KEY = PrivateKey(b"\7" * 32)
BASE = "http://localhost:13000"
JSON = {"content-type": "application/json"}


class Client:
    """Calls the routes as a worker would, without a socket between."""

    def __init__(self, profile: str = "9") -> None:
        self.pool = Pool(profile)
        self.broker = Broker()
        self.routes = scheduler_routes(self.pool.scheduler, self.broker, self.pool.profile, BASE)
        self.headers = dict(JSON)

    def call(self, method: str, path: str, body: object = None, **query: str) -> Response:
        sent = b"" if body is None else json.dumps(body).encode()
        asked = {name: [value] for name, value in query.items()}
        return self.routes.answer(Request(method, path, asked, self.headers, sent))

    def login(self, wallet: str) -> None:
        challenge = self.call("GET", "/workers/challenge", walletAddress=wallet).body.decode()
        signature = KEY.sign_recoverable(keccak(lenient_bytes(challenge)), hasher=None)
        body = {"value": "0x" + signature.hex()}
        answer = self.call("POST", "/workers/login", body, walletAddress=wallet)
        self.headers["authorization"] = f"Bearer {answer.body.decode()}"

    def update(self, task_id: str, body: object) -> Response:
        return self.call("POST", f"/replicates/{task_id}/updateStatus", body)


def parsed(response: Response) -> Any:
    return json.loads(response.body)


@pytest.fixture
def client() -> Client:
    client = Client()
    client.login(own_wallet())
    return client


def own_wallet() -> str:
    return "0x" + keccak(KEY.public_key.format(compressed=False)[1:])[12:].hex()


@pytest.mark.parametrize(("profile", "version"), [("8", "8.5.0"), ("9", "9.2.1")])
def test_version_and_configuration_are_those_of_the_generation(profile: str, version: str) -> None:
    client = Client(profile)
    assert client.call("GET", "/version").body.decode() == version
    found = parsed(client.call("GET", "/workers/config"))
    adapter = ["blockchainAdapterUrl"] if profile == "8" else []
    assert list(found) == [
        "workerPoolAddress",
        "schedulerPublicAddress",
        *adapter,
        "configServerUrl",
        "resultRepositoryURL",
        "askForReplicatePeriod",
        "requiredWorkerVersion",
    ]


def test_a_wrong_signature_is_refused_without_a_body() -> None:
    client = Client()
    answer = client.call("POST", "/workers/login", {"value": "0x" + "00" * 65}, walletAddress=ALICE)
    assert (answer.status, answer.body) == (401, b"")


@pytest.mark.parametrize(
    ("body", "status_code"), [({"value": None}, 500), ({"value": 1}, 400), ([], 400)]
)
def test_a_signature_that_cannot_be_read(body: object, status_code: int) -> None:
    answer = Client().call("POST", "/workers/login", body, walletAddress=ALICE)
    assert answer.status == status_code


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/workers/ping"),
        ("POST", "/workers/register"),
        ("GET", "/workers/computing"),
        ("GET", "/replicates/available"),
        ("GET", "/replicates/interrupted"),
        ("POST", "/replicates/0x1/updateStatus"),
    ],
)
class TestAuthorization:
    def test_is_missed_with_400(self, method: str, path: str) -> None:
        assert Client().call(method, path, {"status": "STARTED"}, blockNumber="1").status == 400

    @pytest.mark.parametrize("header", ["Bearer nonsense", "nonsense", "Bearer "])
    def test_is_refused_with_401_and_no_body(self, method: str, path: str, header: str) -> None:
        client = Client()
        client.headers["authorization"] = header
        answer = client.call(method, path, {"status": "STARTED"}, blockNumber="1")
        assert (answer.status, answer.body) == (401, b"")


def test_what_cannot_be_read_comes_before_a_wrong_token(client: Client) -> None:
    client.headers["authorization"] = "Bearer nonsense"
    assert client.update("0x1", {"status": "NO_SUCH_STATUS"}).status == 400
    assert client.call("GET", "/replicates/available", blockNumber="x").status == 400
    assert client.call("GET", "/replicates/available").status == 400
    assert client.call("POST", "/workers/register", []).status == 400


def test_a_call_without_its_address_is_bad() -> None:
    assert Client().call("GET", "/workers/challenge").status == 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"status": None}, 500),
        ({"status": "STARTED", "details": {"cause": "NO_SUCH_CAUSE"}}, 400),
        ({"status": "STARTED", "details": {"cause": "PRE_COMPUTE_INVALID_TEE_SIGNATURE"}}, 202),
        ({"status": "STARTED", "details": []}, 400),
        ({"status": "STARTED", "details": {"exitCode": "1"}}, 400),
        ({"status": "STARTED", "details": {"computeLogs": 1}}, 400),
        ({"status": "STARTED", "details": {"chainReceipt": {"txHash": 1}}}, 400),
        ({"status": "STARTED", "unknown": 1, "details": {"unknown": 1}}, 202),
        ("STARTED", 400),
    ],
)
def test_a_status_update_is_read_strictly(client: Client, body: object, code: int) -> None:
    assert client.update("0x1", body).status == code


def test_a_cause_of_the_other_generation_is_unreadable() -> None:
    client = Client("8")
    client.login(own_wallet())
    body = {"status": "STARTED", "details": {"cause": "PRE_COMPUTE_INVALID_TEE_SIGNATURE"}}
    assert client.update("0x1", body).status == 400


def test_logs_keep_their_last_hundred_thousand_characters(client: Client) -> None:
    wallet = own_wallet()
    task = client.pool.task_at("COMPUTING", wallet)
    logs = {"stdout": "x" + "y" * 100_000}
    body = {"status": "COMPUTED", "details": {"computeLogs": logs, "exitCode": 0}}
    assert parsed(client.update(task.task_id, body)) == "PLEASE_CONTRIBUTE"
    path = f"/tasks/{task.task_id}/replicates/{wallet}/logs"
    assert parsed(client.call("GET", path))["stdout"] == "y" * 100_000
    assert client.call("GET", f"/tasks/{task.task_id}/replicates/{ALICE}/logs").status == 404


def test_registration_answers_the_record_in_the_order_of_its_generation() -> None:
    told = {"name": "n", "os": "Linux", "cpu": "amd64", "cpuNb": 3, "memorySize": 8}
    shown = {}
    for profile in ("8", "9"):
        client = Client(profile)
        client.login(own_wallet())
        shown[profile] = list(parsed(client.call("POST", "/workers/register", told)))
    assert shown["8"][8:10] == ["teeEnabled", "gpuEnabled"]
    assert shown["9"][8:11] == ["gpuEnabled", "teeEnabled", "tdxEnabled"]
    assert shown["9"][-1] == "excludedTags"


def test_a_gpu_makes_one_slot(client: Client) -> None:
    told = {"name": "n", "cpuNb": 8, "gpuEnabled": True, "walletAddress": ALICE}
    found = parsed(client.call("POST", "/workers/register", told))
    assert (found["maxNbTasks"], found["walletAddress"]) == (1, own_wallet())


@pytest.mark.parametrize("told", [{"cpuNb": True}, {"name": 1}, {"gpuEnabled": "yes"}])
def test_a_registration_of_wrong_types_is_bad(client: Client, told: object) -> None:
    assert client.call("POST", "/workers/register", told).status == 400


def test_ping_tells_the_session_and_computing_the_tasks(client: Client) -> None:
    task = client.pool.task_at("STARTED", own_wallet())
    assert client.call("POST", "/workers/ping").body.decode() == client.pool.scheduler.session_id
    assert parsed(client.call("GET", "/workers/computing")) == [task.task_id]


def test_demand_gives_200_or_204_and_503_without_a_chain(client: Client) -> None:
    client.pool.join(own_wallet())
    assert client.call("GET", "/replicates/available", blockNumber="1").status == 204
    task = client.pool.buy()
    client.pool.clock.time_s += 5
    found = client.call("GET", "/replicates/available", blockNumber="1")
    assert parsed(found)["workerpoolAuthorization"]["chainTaskId"] == task.task_id
    client.pool.chain.reachable = False
    client.pool.pass_time(20)
    answer = client.call("GET", "/replicates/available", blockNumber="1")
    assert (answer.status, answer.body) == (503, b"")
    assert client.update(task.task_id, {"status": "STARTING"}).status == 503
    assert client.call("GET", "/replicates/interrupted", blockNumber="1").status == 200


def test_a_chain_that_is_lost_during_a_call_is_503_too(client: Client) -> None:
    task = client.pool.task_at("CONTRIBUTING", own_wallet())
    client.pool.buy(2)  # one to give out, which is not done without the worker's weight
    client.pool.chain.reachable = False
    client.pool.clock.time_s += 5
    assert client.call("GET", "/replicates/available", blockNumber="1").status == 503
    assert client.call("GET", "/replicates/interrupted", blockNumber="1").status == 503
    assert client.update(task.task_id, {"status": "CONTRIBUTED"}).status == 202


def test_updates_answer_200_202_208_and_an_empty_200(client: Client) -> None:
    task = client.pool.task_at("STARTED", own_wallet())
    answers = [
        client.update(task.task_id, {"status": name})
        for name in ("APP_DOWNLOADING", "STARTED", "COMPUTED", "ABORTED")
    ]
    assert [one.status for one in answers] == [200, 208, 202, 200]
    assert [one.body for one in answers] == [
        b'"PLEASE_CONTINUE"',
        b'"PLEASE_WAIT"',
        b'"PLEASE_ABORT"',
        b"",
    ]
    assert answers[-1].content_type is None


def test_a_task_is_shown_as_recorded(client: Client) -> None:
    pool = client.pool
    assert client.call("GET", "/tasks/0x1").status == 404
    task = pool.task_at("STARTED")
    shown = parsed(client.call("GET", f"/tasks/{task.task_id}"))
    assert shown["uploadingWorkerWalletAddress"] is None
    assert shown["revealDeadline"] is None
    assert list(shown["replicates"][0]) == [
        "self",
        "chainTaskId",
        "walletAddress",
        "currentStatus",
        "statusUpdateList",
    ]
    pool.bring(task, ALICE, "RESULT_UPLOADED")
    shown = parsed(client.call("GET", f"/tasks/{task.task_id}"))
    assert shown["revealDeadline"] is not None
    assert list(shown["replicates"][0])[5:] == [
        "resultLink",
        "contributionHash",
        "appLogs",
        "appExitCode",
    ]


def test_a_task_that_is_not_initialised_has_no_deadlines(client: Client) -> None:
    client.pool.chain.mines = False
    task = client.pool.buy()
    shown = parsed(client.call("GET", f"/tasks/{task.task_id}"))
    assert (shown["contributionDeadline"], shown["finalDeadline"]) == (None, None)


class TestChannel:
    SESSION = "/connect/001/abc"

    def lines(self, client: Client) -> Iterator[bytes]:
        answer = client.call("POST", f"{self.SESSION}/xhr_streaming")
        assert answer.content_type == "application/javascript;charset=UTF-8"
        assert answer.stream is not None
        return iter(answer.stream)

    def test_tells_that_websocket_is_off(self) -> None:
        client = Client()
        found = parsed(client.call("GET", "/connect/info"))
        assert list(found) == ["entropy", "origins", "cookie_needed", "websocket"]
        assert found["websocket"] is False
        assert client.call("GET", "/connect").body == b"Welcome to SockJS!\n"
        assert client.call("GET", "/connect/websocket") == Response()
        assert client.call("GET", "/connect/001/abc/websocket").status == 404

    def test_is_closed_to_pages_of_other_hosts(self) -> None:
        client = Client()
        client.headers |= {"origin": "http://elsewhere:1", "host": "localhost:13000"}
        for method, path in (
            ("GET", "/connect/info"),
            ("POST", f"{self.SESSION}/xhr_streaming"),
            ("POST", f"{self.SESSION}/xhr_send"),
        ):
            assert client.call(method, path, []).status == 403
        client.headers["origin"] = BASE
        assert client.call("GET", "/connect/info").status == 200

    def test_streams_and_takes_frames(self) -> None:
        client = Client()
        lines = self.lines(client)
        assert [next(lines), next(lines)] == [b"h" * 2048 + b"\n", b"o\n"]
        connect = ["CONNECT\naccept-version:1.2\n\n\0"]
        assert client.call("POST", f"{self.SESSION}/xhr_send", connect).status == 204
        assert next(lines).startswith(b'a["CONNECTED')
        broken = client.call("POST", f"{self.SESSION}/xhr_send", {"no": "array"})
        assert (broken.status, broken.body) == (500, b"Broken JSON encoding.")

    def test_knows_no_session_of_another_transport_and_none_that_nobody_opened(self) -> None:
        client = Client()
        assert client.call("POST", f"{self.SESSION}/xhr_send", []).status == 404
        lines = self.lines(client)
        next(lines)
        assert client.call("POST", f"{self.SESSION}/xhr").status == 404
        polled = client.call("POST", "/connect/001/other/xhr")
        assert polled.stream is not None
        assert list(polled.stream) == [sockjs.OPEN.encode() + b"\n"]


def test_a_worker_is_known_by_its_token_alone(client: Client) -> None:
    task = client.pool.task_at("STARTING")
    assert client.update(task.task_id, {"status": "STARTED"}).status == 202
    client.pool.scheduler.update(task.task_id, ALICE, status("STARTED"), Details())
