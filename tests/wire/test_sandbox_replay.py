"""Every standard recording drives the sandbox's scheduler: its requests in, its answers out.

Answers are compared field by field, keys in order; dates, challenges, tokens and identifiers made
by chance are compared by shape alone. What was pushed is compared in order, per session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from coincurve import PrivateKey

from iexworker.core import stomp
from iexworker.poco.signatures import address_of
from iexworker.sandbox.endpoint import Request, Response
from iexworker.sandbox.network.network import Timers
from iexworker.sandbox.scheduler import login
from iexworker.sandbox.scheduler.bodies import Registration
from iexworker.sandbox.scheduler.context import World
from iexworker.sandbox.scheduler.models import Details, Profile, ReplicateStatus
from iexworker.sandbox.scheduler.push import Broker
from iexworker.sandbox.scheduler.replicates import Verdict
from iexworker.sandbox.scheduler.routes import scheduler_routes
from iexworker.sandbox.scheduler.scheduler import Addresses, Scheduler
from iexworker.sandbox.scheduler.store import Book
from tests.wire.helpers.replayed_recording import (
    BEFORE_S,
    MovableClock,
    RecordedChain,
    RecordedResults,
    ReplayedRecording,
    UnrecordedWorker,
)

SCHEDULER_KEY = bytes.fromhex("47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a")
"""Of account 4 of the public development mnemonic, which owned the recorded workerpools."""

STEP_S = 0.25
BLOCK_TIME_S = 0.02
"""Short, so that the scheduler sees what happens on the recorded chain when it happens."""
PERIOD_S = 30.0
SILENT_S = 75.0
"""For how long a worker was silent that was declared lost: 60 to 90 s."""
BASE_URL = "http://localhost:13001"
BY_CHANCE = frozenset(("timestamp", "date", "id", "entropy"))

RUNS = {
    # A block a second: blockNumber of each first request says when in the session it was.
    "8.5": {
        "8.5-session": 0.0,
        "8.5-standard": 47.472,
        "8.5-appfail": 92.472,
        "8.5-noimage": 107.472,
        "8.5-crash": 122.481,
    },
    "9.2": {
        "9.2-session": 0.0,
        "9.2-standard": 153.773,
        "9.2-appfail": 288.773,
        "9.2-noimage": 313.773,
        "9.2-badinput": 333.773,
        "9.2-callback": 353.796,
    },
}
SINGLE = sorted(path.stem for path in Path(__file__).parent.glob("*-return-*.json"))


class Replay:
    """One scheduler with one recording."""

    def __init__(self, recording: ReplayedRecording, folder: Path) -> None:
        self.recording = recording
        self.book_path = folder / "scheduler.sqlite"
        periods = -(-(recording.scans_at_s() - recording.start_s + PERIOD_S) // PERIOD_S)
        self.clock = MovableClock(recording.scans_at_s() - periods * PERIOD_S)
        self.wallet = next(iter(recording.wallets()))
        self.streams: dict[str, Iterator[bytes]] = {}
        self.newest = ""
        self.tokens: dict[str, str] = {}
        self.unrecorded_workers = sorted(recording.unrecorded_workers, key=lambda one: one.at_s)
        self.announced: set[str] = set()
        self.lost = recording.losses()
        self.returned: set[str] = set()
        self.start()
        if recording.name in SINGLE:
            for wallet in recording.wallets() | {
                one.wallet for one in recording.unrecorded_workers
            }:
                self.register(wallet)

    def start(self) -> None:
        profile = Profile(self.recording.profile)
        self.broker = Broker()
        self.book = Book(self.book_path)
        world = World(
            profile=profile,
            clock=self.clock,
            chain=RecordedChain(self.clock, self.recording.tasks),
            results=RecordedResults(self.clock, self.recording.tasks),
            push=self.broker,
            timers=Timers(finalize_delay_s=0),
            block_time_s=BLOCK_TIME_S,
        )
        self.scheduler = Scheduler(world, self.book, self.addresses(), SCHEDULER_KEY)
        self.routes = scheduler_routes(self.scheduler, self.broker, profile, BASE_URL)
        self.tokens.clear()
        self.scheduler.turn()

    def restart(self) -> None:
        self.book.close()
        self.start()

    def addresses(self) -> Addresses:
        """Take the public configuration from the recording where it has one."""
        for event in self.recording.events:
            if event.get("request") == "GET /workers/config":
                told = event["response"]
                return Addresses(
                    told["workerPoolAddress"],
                    told["schedulerPublicAddress"],
                    told["configServerUrl"],
                    told["resultRepositoryURL"],
                )
        return Addresses("", "", "", "")

    # --- time ---

    def advance(self, until_s: float) -> None:
        """Let time pass, with all that happens in it without a recorded request."""
        while self.clock.now_s() < until_s:
            next_s = min([until_s, self.clock.now_s() + STEP_S, *self._next_happenings()])
            self.clock.move_to(next_s)
            self._happen()
            self.scheduler.turn()
        self._happen()

    def _next_happenings(self) -> Iterator[float]:
        yield from (one.at_s for one in self.unrecorded_workers[:1])
        for recorded in self.recording.tasks.values():
            if recorded.task_id not in self.announced:
                yield recorded.announced_s

    def _happen(self) -> None:
        now_s = self.clock.now_s()
        for recorded in self.recording.tasks.values():
            if recorded.announced_s <= now_s and recorded.task_id not in self.announced:
                self.announced.add(recorded.task_id)
                self.scheduler.tasks.receive(recorded.deal, recorded.index, recorded.task_id)
                self.scheduler.turn()
        while self.unrecorded_workers and self.unrecorded_workers[0].at_s <= now_s:
            self._act(self.unrecorded_workers.pop(0))
        for wallet in self.book.workers:
            lost_s = self.lost.get(wallet)
            if lost_s is None or now_s < lost_s - SILENT_S or wallet in self.returned:
                self.scheduler.ping(wallet)

    def _act(self, unrecorded: UnrecordedWorker) -> None:
        if unrecorded.status == "CREATED":
            self.admit(unrecorded.wallet)
            found = self.scheduler.available(unrecorded.wallet, 1)
            assert found is not None
            assert found["workerpoolAuthorization"]["chainTaskId"] == unrecorded.task_id  # type: ignore[index]  # an object
            return
        status = ReplicateStatus(unrecorded.status)
        computed = status is ReplicateStatus.COMPUTED
        uploaded = status is ReplicateStatus.RESULT_UPLOADED
        details = Details(
            exit_code=unrecorded.view.get("appExitCode") if computed else None,
            stdout="done\n" if computed else "",
            result_link=unrecorded.view.get("resultLink") if uploaded else None,
            callback_data="" if uploaded else None,
        )
        outcome = self.scheduler.update(unrecorded.task_id, unrecorded.wallet, status, details)
        # What the scheduler found on chain by itself stands in the history as well.
        assert outcome.verdict in (Verdict.RECORDED, Verdict.ALREADY), (unrecorded, outcome)
        self.scheduler.turn()

    # --- requests ---

    def admit(self, wallet: str) -> str:
        """Log a wallet in."""
        if wallet not in self.tokens:
            token = self.scheduler.login.token(wallet, "")
            assert token is not None
            self.tokens[wallet] = token
        return self.tokens[wallet]

    def register(self, wallet: str) -> None:
        """Register a wallet whose recording begins later."""
        told = Registration("worker", "Linux", "amd64", 4, 15, False, False, False)
        self.scheduler.register(wallet, told)

    def answer(self, event: Mapping[str, Any]) -> Response:
        method, _, target = event["request"].partition(" ")
        url = urlsplit(target)
        self.wallet = _acting(event) or self.wallet
        headers = dict(event["headers"])
        if "authorization" in headers:
            self.returned |= {self.wallet} & self._back(event)
            headers["authorization"] = f"Bearer {self.admit(self.wallet)}"
        if "/connect/" in url.path and "xhr" in url.path:
            self._open(url.path)
        body = event["body"]
        request = Request(
            method=method,
            path=url.path,
            query=parse_qs(url.query),
            headers=headers,
            body=b"" if body is None else json.dumps(body).encode(),
        )
        return self.routes.answer(request)

    def _back(self, event: Mapping[str, Any]) -> set[str]:
        """Return the wallets that were lost before this request."""
        now_s = self.recording.start_s + event["t"]
        return {wallet for wallet, lost_s in self.lost.items() if now_s > lost_s}

    def _open(self, path: str) -> None:
        """Open a session that the recording shows in use only."""
        server_session, _, call = path.removeprefix("/connect/").rpartition("/")
        session = server_session.partition("/")[2]
        self.newest = session
        if call == "xhr_send" and session not in self.streams:
            stream = self._receive(f"/connect/{server_session}/xhr_streaming")
            self.streams[session] = stream
            assert next(stream) == b"h" * 2048 + b"\n"
            assert next(stream) == b"o\n"
            self.connect()
            assert next(stream).startswith(b'a["CONNECTED')

    def connect(self) -> None:
        """Send the CONNECT that not every recording has."""
        found = self.broker.find(self.newest)
        assert found is not None
        if not found.connected:
            self.broker.take(
                found, [stomp.encode(stomp.Frame("CONNECT", {"accept-version": "1.2"}))]
            )

    def _receive(self, path: str) -> Iterator[bytes]:
        response = self.routes.answer(Request("POST", path, {}, {}, b""))
        assert response.stream is not None
        return iter(response.stream)

    def leftovers(self) -> int:
        """Count the frames that wait in the session of the last worker."""
        found = self.broker.find(self.newest)
        return len(found._waiting) if found else 0


def _acting(event: Mapping[str, Any]) -> str | None:
    """Return the wallet of a request where its answer tells it."""
    answer = event.get("response")
    if isinstance(answer, dict) and answer.get("workerpoolAuthorization"):
        return str(answer["workerpoolAuthorization"]["workerWallet"])
    if "interrupted" in event.get("request", "") and isinstance(answer, list) and answer:
        return str(answer[0]["workersAddress"][0])
    return None


def compare(where: str, expected: object, found: object) -> None:
    """Compare two JSON values, the keys of objects in order."""
    if isinstance(expected, dict):
        assert isinstance(found, dict), where
        assert list(found) == list(expected), where
        for key, value in expected.items():
            if key in BY_CHANCE:
                assert type(found[key]) is type(value), f"{where}.{key}"
            else:
                compare(f"{where}.{key}", value, found[key])
    elif isinstance(expected, list):
        assert isinstance(found, list), where
        assert len(found) == len(expected), f"{where}: {found}"
        for index, pair in enumerate(zip(expected, found, strict=True)):
            compare(f"{where}[{index}]", *pair)
    else:
        assert found == expected, where


def check_answer(event: Mapping[str, Any], response: Response) -> None:
    where = f"{event['part']} at {event['at']}: {event['request'][:60]} {event['body']}"
    assert response.status == event["status"], (where, response.body)
    recorded = event["response_headers"]
    assert response.content_type == recorded.get("content-type"), where
    expected = event.get("response")
    if response.content_type is None or response.stream is not None:
        assert response.body == b"", where
    elif "json" in response.content_type:
        compare(where, expected, json.loads(response.body))
    elif "challenge" in event["request"]:
        assert re.fullmatch(r"[A-Za-z0-9+/]{43}=", response.body.decode()), where
    else:
        assert response.body.decode() == (expected or ""), where


def check_line(event: Mapping[str, Any], line: bytes) -> None:
    where = f"{event['part']} at {event['at']}: {event['sockjs'][:80]}"
    expected = "h" * 2048 if event["sockjs"] == "h x 2048" else event["sockjs"]
    numbers = re.compile(r"(message-id:[0-9a-f]+-)\d+")
    found = line.decode().removesuffix("\n")
    assert numbers.sub(r"\1N", found) == numbers.sub(r"\1N", expected), where


def run(replay: Replay) -> None:
    recording = replay.recording
    restart_s = recording.facts.get("restart")
    for event in recording.events:
        if restart_s is not None and event["t"] >= restart_s:
            replay.advance(recording.start_s + restart_s)
            replay.restart()
            restart_s = None
        # A task is shown as it is when the answer is written; all else is judged when it comes.
        shown = event.get("request", "").startswith("GET /tasks/")
        replay.advance(recording.start_s + event["answered" if shown else "t"])
        if "sockjs" in event:
            session = re.search(r"message-id:([0-9a-f]+)-", event["sockjs"])
            replay.newest = session[1] if session else replay.newest
            if "CONNECTED" in event["sockjs"]:
                replay.connect()
            check_line(event, next(replay.streams[replay.newest]))
            continue
        response = replay.answer(event)
        if response.stream is not None:
            replay.streams[replay.newest] = iter(response.stream)
        check_answer(event, response)
        replay.clock.move_to(recording.start_s + event["answered"] - BEFORE_S)
        replay.scheduler.turn()
    assert replay.leftovers() == 0


@pytest.fixture(autouse=True)
def _any_signature_logs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    # The keys of the recorded wallets are not known; logging in is tested elsewhere.
    monkeypatch.setattr(login, "_signed_by", lambda *_: True)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_the_java_worker_gets_the_recorded_answers(name: str, tmp_path: Path) -> None:
    run(Replay(ReplayedRecording(name, RUNS[name]), tmp_path))


@pytest.mark.parametrize("name", SINGLE)
def test_a_worker_that_returns_gets_the_recorded_answers(name: str, tmp_path: Path) -> None:
    run(Replay(ReplayedRecording(name, {name: 0.0}), tmp_path))


def test_the_workerpools_owner_is_the_recorded_one() -> None:
    key = PrivateKey(SCHEDULER_KEY).public_key
    assert address_of(key) == "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65"
