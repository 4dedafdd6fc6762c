"""While a peer is away: a line when it begins, one each minute, with the count, one at its end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from iexworker import retry
from iexworker.compute.blame import Blame, Patience, Trouble
from iexworker.compute.folders import TaskFolder
from iexworker.core import stream as streams
from iexworker.core.stream import NotificationStream
from iexworker.errors import ChainError, DockerError, JournalError
from iexworker.masking import masked
from iexworker.outbox.actions import Pace
from iexworker.procs.context import roles
from iexworker.results.proxy import ProxyError
from iexworker.scheduling import containers, effects, probes
from iexworker.scheduling.containers import EngineContainers
from iexworker.scheduling.probes import HostProbe
from iexworker.scheduling.service import Service
from iexworker.scheduling.transactions import Transactions
from iexworker.scheduling.uploads import Uploads
from iexworker.shared.board import Board
from iexworker.wallet import Wallet
from tests.field.helpers.faulty_peer import faulty_peer, http
from tests.hazards.helpers.scheduling_harness import SchedulingHarness, run_scenario
from tests.helpers.lifecycle_driver import granted
from tests.helpers.scripted_server import Reply, ScriptedServer, running
from tests.helpers.task_descriptions import description

BEGAN, LASTS, OVER = (
    "peer out of service",
    "peer still out of service",
    "peer back in service",
)


class Said:
    """What the log has of peers and of trouble."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def records(self) -> list[logging.LogRecord]:
        ours = [item for item in self._caplog.records if item.name.startswith("iexworker")]
        told = [item for item in ours if not item.name.startswith("iexworker.sandbox")]
        return [item for item in told if item.levelno > logging.INFO or "peer" in item.message]

    @property
    def lines(self) -> list[tuple[str, object]]:
        """Return message and peer of each."""
        return [(item.message, vars(item).get("peer")) for item in self.records]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    caplog.set_level(logging.INFO, "iexworker")
    return Said(caplog)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(retry, "LONGEST_PAUSE_S", 0.002)


def whole(peer: str) -> list[tuple[str, object]]:
    """Return the lines of an outage of less than a minute."""
    return [(BEGAN, peer), (OVER, peer)]


Work = Callable[[], Coroutine[object, object, None]]


def until(work: Work, look: Callable[[], bool]) -> None:
    """Let the work go on until the look is true."""

    async def act() -> None:
        task = asyncio.create_task(work())
        for _ in range(5000):
            if look():
                break
            await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert look()

    asyncio.run(act())


# The chain


def test_a_node_that_is_away_is_told_once_for_all_tasks_and_once_when_it_is_back(
    said: Said,
) -> None:
    async def scenario(harness: SchedulingHarness) -> None:
        tasks = [harness.grant(number) for number in (1, 2, 3)]
        for task in tasks:
            await harness.computes(task)
        harness.node.trouble = "chain node http://node: no answer"
        for _ in range(40):
            harness.look()
            await harness.rest(0.005)
        assert said.lines == [(BEGAN, "chain node")]
        assert "no answer" in str(vars(said.records[0])["error"])
        harness.node.trouble = ""
        await harness.until(lambda: len(said.lines) > 1, "the end is told")
        assert said.lines == whole("chain node")

    run_scenario(scenario_with_held_computing(scenario), slots=3)


def scenario_with_held_computing(
    scenario: Callable[[SchedulingHarness], Coroutine[object, object, None]],
) -> Callable[[SchedulingHarness], Coroutine[object, object, None]]:
    async def held(harness: SchedulingHarness) -> None:
        harness.held.add("compute")
        await scenario(harness)

    return held


def test_a_grant_that_meets_a_node_that_is_away_adds_no_line_a_try(said: Said) -> None:
    async def scenario(harness: SchedulingHarness) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(effects, "START_PATIENCE_S", 60.0)
            harness.node.trouble = "chain node http://node: no answer"
            task = harness.grant()
            await harness.rest(0.05)
            harness.node.trouble = ""
            await harness.comes_to(task, "STARTED")
        assert said.lines == whole("chain node")

    run_scenario(scenario)


class FailingGateway:
    """An outbox that fails so often, then turns."""

    def __init__(self, troubles: list[Exception]) -> None:
        self.troubles = troubles
        self.turns = 0
        self.configuration = SimpleNamespace(block_time_s=0.01)
        self.wake = asyncio.Event()

    async def turn_outbox(self) -> tuple[list[object], Pace]:
        if self.troubles:
            raise self.troubles.pop(0)
        self.turns += 1
        return [], Pace.BUSY


def test_an_outbox_that_waits_for_the_node_is_told_once_and_once_when_it_goes_on(
    said: Said,
) -> None:
    gateway = FailingGateway([ChainError(f"no answer, try {number}") for number in range(20)])
    loop = Transactions(cast(Any, gateway), cast(Any, None))
    until(loop.run, lambda: gateway.turns > 3)
    assert said.lines == whole("chain node")
    assert vars(said.records[-1])["tries"] == 20


def test_a_journal_that_fails_is_no_outage_of_the_node(said: Said) -> None:
    gateway = FailingGateway([JournalError("disk full")])
    until(Transactions(cast(Any, gateway), cast(Any, None)).run, lambda: gateway.turns > 1)
    assert [(item.message, vars(item)["error"]) for item in said.records] == [
        ("outbox waits", "disk full")
    ]


def test_a_node_that_cannot_be_used_at_the_start_is_told_once(said: Said, tmp_path: Path) -> None:
    tries = []

    def gateway_class(*_: object) -> object:
        tries.append(1)
        if len(tries) < 20:
            raise ChainError("the node is on another chain")
        return "gateway"

    facts = Board.create(roles(1)).facts
    settings = SimpleNamespace(
        node_url_override="http://node",
        gas_price_multiplier=1.0,
        gas_price_cap_wei=0,
        reveal_may_pass_cap=False,
        pool_address=None,
        root=tmp_path,
    )
    journal = SimpleNamespace(all_replicates=lambda: [])
    parts = SimpleNamespace(settings=settings, facts=facts, journal=journal, wallet=None)
    service = Service(cast(Any, parts), cast(Any, None), fail_fast=False)
    terms = SimpleNamespace(chain=SimpleNamespace(node_url=""))
    found = asyncio.run(service._open_gateway(cast(Any, terms), cast(Any, gateway_class)))
    assert cast(object, found) == "gateway"
    assert said.lines == whole("chain node")
    assert facts.read().chain_text == "the node is on another chain"


# The scheduler


def test_a_scheduler_that_is_away_is_told_once_by_the_event_stream_whatever_it_answers(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(streams, "LONGEST_PAUSE_S", 0.002)
    answers = iter([b"", http(b"later", "503 Service Unavailable"), b"SMTP\r\n"] * 100)
    with faulty_peer(lambda _: next(answers)) as scheduler:
        stream = NotificationStream(scheduler.url, lambda _: None, lambda _: None)
        thread = threading.Thread(target=stream.run)
        thread.start()
        while len(scheduler.first) < 20:
            time.sleep(0.01)
        stream.stop()
        thread.join()
    assert said.lines == [(BEGAN, "scheduler")]


def test_updates_that_are_not_delivered_are_told_once_for_all_tasks(said: Said) -> None:
    async def scenario(harness: SchedulingHarness) -> None:
        harness.scheduler_trouble = "scheduler http://core: connection refused"
        tasks = [harness.grant(number) for number in (1, 2, 3)]
        await harness.until(lambda: len(harness.posts) > 30, "many tries")
        assert said.lines == [(BEGAN, "scheduler")]
        harness.scheduler_trouble = ""
        for task in tasks:
            await harness.comes_to(task, "STARTED")
        assert said.lines == whole("scheduler")

    run_scenario(scenario, slots=3)


# Docker


@pytest.fixture
def silent_engine(tmp_path: Path) -> Iterator[str]:
    """An engine that takes every connection and answers none."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        yield f"unix://{path}"


def test_twenty_seconds_of_silence_of_docker_leave_a_line() -> None:
    assert probes.ENGINE_EVERY_S + containers.PROBE_TIMEOUT_S < 20


def test_an_engine_that_is_silent_is_told_and_that_it_is_back(
    said: Said, silent_engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(containers, "PROBE_TIMEOUT_S", 1)
    engine = EngineContainers(silent_engine, "0x" + "00" * 20)
    facts = Board.create(roles(1)).facts
    probe = HostProbe(facts, tmp_path, engine, gpu=False, fail_fast=False)
    for _ in range(2):
        asyncio.run(probe.look())
    assert said.lines == [(BEGAN, "Docker engine")]
    error = str(vars(said.records[0])["error"])
    assert "DOCKER_HOST" in error and "no answer within 1 s" in error
    assert facts.read().docker_text == masked(error)
    monkeypatch.setattr(engine, "ping", lambda: None)
    asyncio.run(probe.look())
    assert said.lines == whole("Docker engine")
    assert probe.obstacle == ""


def test_an_engine_that_is_asked_for_something_long_can_be_pinged_meanwhile(
    silent_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "PROBE_TIMEOUT_S", 1)
    engine = EngineContainers(silent_engine, "0x" + "00" * 20)
    with engine._lock, pytest.raises(DockerError):
        asyncio.run(asyncio.wait_for(asyncio.to_thread(engine.ping), 5))


# What a slot tries


class Waits:
    """A step's pauses, which cost no time."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.mark.parametrize(
    ("error", "what", "peer"),
    [
        (DockerError("out of reach"), "compute", "Docker engine"),
        (DockerError("out of reach"), "pull reg.example/app:1", "Docker engine"),
        (Trouble(Blame.NETWORK, "timeout"), "pull reg.example/app:1", "image registry"),
        (Trouble(Blame.OURS, "rate limit"), "pull reg.example/app:1", "image registry"),
        (Trouble(Blame.NETWORK, "timeout"), "https://files.example/x", "input host"),
    ],
)
def test_what_a_slot_tries_again_is_told_once_and_once_when_it_works(
    said: Said, error: Exception, what: str, peer: str
) -> None:
    waits = Waits()
    left = [error] * 8
    patience = Patience(
        10_000.0, 3600.0, waits.pause, lambda: False, now=waits.now, elapsed=waits.now
    )

    def work() -> str:
        if left:
            raise left.pop()
        return "done"

    assert patience.persist(work, what) == "done"
    assert said.lines == whole(peer)
    assert vars(said.records[0])["what"] == what


# The result proxy


def test_a_result_proxy_that_is_away_is_told_once_for_all_uploads(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(cast(Any, None), lambda: None)
    tries = {"0x01": 12, "0x02": 12}

    def once(replicate: Any, *_: object) -> str:
        tries[replicate.task_id] -= 1
        if tries[replicate.task_id] > 0:
            raise ProxyError(f"result proxy http://proxy: {replicate.task_id}: connection refused")
        return "link"

    monkeypatch.setattr(uploads, "_once", once)
    task = description(final_deadline_s=10**10)

    async def act() -> list[str]:
        return await asyncio.gather(
            *(
                uploads.upload(cast(Any, SimpleNamespace(task_id=one)), task, Path("/"))
                for one in tries
            )
        )

    assert asyncio.run(act()) == ["link", "link"]
    assert said.lines == whole("result proxy")
    assert vars(said.records[-1])["tries"] == 22


TOKEN_CALL, UPLOAD_CALL = "POST /v1/results/token", "POST /v1/results"
FIND_CALL = f"GET /v1/results/{granted().task_id}/ipfshash"


@pytest.fixture
def result_proxy(tmp_path: Path) -> Iterator[ScriptedServer]:
    archive = TaskFolder(tmp_path).archive
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"zip")
    with running() as server:
        server.on(TOKEN_CALL, Reply(200, b"jwt"))
        server.on(UPLOAD_CALL, Reply(200))
        server.on(FIND_CALL, Reply(404), Reply(200, b"Qm1"))
        yield server


def uploaded(server: ScriptedServer, folder: Path) -> str:
    terms = SimpleNamespace(
        configuration=SimpleNamespace(result_proxy_url=server.url),
        chain=SimpleNamespace(block_time_s=0.001),
    )
    uploads = Uploads(Wallet(b"\x01" * 32), lambda: cast(Any, terms))
    task = description(final_deadline_s=10**10)
    return asyncio.run(uploads.upload(granted(), task, folder))


@pytest.mark.parametrize(
    "reply",
    [Reply(500), Reply(503), Reply(raw=b""), Reply(200, b"<html>a login page</html>")],
    ids=["says 500", "says 503", "closes", "garbage"],
)
def test_a_result_proxy_that_serves_again_at_the_second_try_of_an_upload_was_told_as_away(
    said: Said, result_proxy: ScriptedServer, tmp_path: Path, reply: Reply
) -> None:
    result_proxy.on(TOKEN_CALL, reply, Reply(200, b"jwt"))
    assert "Qm1" in uploaded(result_proxy, tmp_path)
    assert said.lines == whole("result proxy")
    assert (vars(said.records[0])["task"], vars(said.records[1])["tries"]) == (granted().task_id, 1)


def test_a_result_proxy_whose_node_does_not_show_the_reveal_yet_is_not_told_as_away(
    said: Said, result_proxy: ScriptedServer, tmp_path: Path
) -> None:
    result_proxy.on(TOKEN_CALL, Reply(401), Reply(200, b"jwt"))
    assert "Qm1" in uploaded(result_proxy, tmp_path)
    assert said.lines == []


@pytest.mark.parametrize(
    ("provider", "words"),
    [(None, "names no storage provider"), ("", "names no storage provider"), ("s3", "'s3'")],
)
def test_a_result_without_link_is_told_with_what_the_deal_said_of_its_store(
    said: Said, monkeypatch: pytest.MonkeyPatch, provider: str | None, words: str
) -> None:
    terms = SimpleNamespace(
        configuration=SimpleNamespace(result_proxy_url="http://proxy"),
        chain=SimpleNamespace(block_time_s=1.0),
    )
    monkeypatch.setattr("iexworker.scheduling.uploads.upload_and_link", lambda *_, **__: "")
    uploads = Uploads(cast(Any, None), lambda: cast(Any, terms))
    task = description(final_deadline_s=10**10)
    params = dataclasses.replace(task.params, storage_provider=provider)
    task = dataclasses.replace(task, params=params)
    assert asyncio.run(uploads.upload(granted(), task, Path("/"))) == ""
    (record,) = said.records
    assert words in str(vars(record)["reason"])
    assert "iexec_result_storage_provider" in str(vars(record)["reason"])


# How often


def test_a_line_each_minute_says_how_often_it_was_tried_and_since_when(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iexworker.outage import Outage

    now = [1000.0]
    outage = Outage("chain node", lambda: now[0])
    for second in range(185):
        now[0] = 1000.0 + second
        for task in ("0x01", "0x02"):
            outage.failed(task, ChainError(f"no answer {second}"))
    assert said.lines == [(BEGAN, "chain node"), *3 * [(LASTS, "chain node")]]
    facts = [vars(item) for item in said.records]
    assert [item["tries"] for item in facts[1:]] == [121, 241, 361]
    assert [item["seconds"] for item in facts[1:]] == [60, 120, 180]
    assert "no answer 180" in str(facts[-1]["error"])
    outage.worked("0x01")
    assert len(said.lines) == 4
    outage.worked("0x02")
    assert said.lines[-1] == (OVER, "chain node")
    assert vars(said.records[-1])["levelname"] == "INFO"
    assert (vars(said.records[-1])["tries"], vars(said.records[-1])["seconds"]) == (370, 184)


def test_a_minute_that_brings_no_try_has_its_line_too(said: Said) -> None:
    from iexworker import outage as module

    now = [0.0]
    made = module.Outage("scheduler", lambda: now[0])
    made.failed("login", "no answer")
    now[0] = 61.0
    made.remind()
    assert said.lines == [(BEGAN, "scheduler"), (LASTS, "scheduler")]


def test_a_success_of_one_does_not_end_the_outage_for_another(said: Said) -> None:
    from iexworker.outage import Outage

    outage = Outage("scheduler")
    for _ in range(50):
        outage.failed("0x01", "answered 500")
        outage.worked("login")
    assert said.lines == [(BEGAN, "scheduler")]
    outage.dropped("0x01")
    assert said.lines == [(BEGAN, "scheduler")]
    outage.worked("login")
    assert said.lines == whole("scheduler")


def test_what_nobody_tries_any_more_is_forgotten(said: Said) -> None:
    from iexworker.outage import FORGOTTEN_S, Outage

    now = [0.0]
    outage = Outage("scheduler", lambda: now[0])
    outage.failed("0x01", "no answer")
    now[0] += FORGOTTEN_S + 1
    outage.worked("login")
    assert said.lines == whole("scheduler")
    outage.failed("login", "no answer")
    assert said.lines[2:] == [(BEGAN, "scheduler")]
