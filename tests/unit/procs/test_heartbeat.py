from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iexworker.procs import heartbeat
from iexworker.procs.context import HEARTBEAT, Channels, Context, roles
from iexworker.procs.heartbeat import following
from iexworker.secrets import Secrets
from iexworker.settings.model import load
from iexworker.shared.board import Board, State
from iexworker.shared.channels import (
    Channel,
    Hello,
    Message,
    Ready,
    SessionChanged,
    Stop,
    Token,
    TokenRefused,
)
from iexworker.shared.ring import Ring
from tests.helpers.scripted_server import Reply, Request, ScriptedServer, running

PING = "POST /workers/ping"
ID, OTHER_ID = "0x" + "ab" * 32, "0x" + "cd" * 32
PERIOD_S = 0.05


class Tree:
    """The other end of everything that the heartbeat holds."""

    def __init__(self, url: str, folder: Path) -> None:
        environ = {"IEXEC_CORE_URL": url, "IEXEC_WORKER_BASE_DIR": str(folder)}
        self.context = Context(
            role=HEARTBEAT,
            slot=None,
            settings=load(environ, config_dirs=[]).settings,
            board=Board.create(roles(1)),
            ring=Ring.create(1, 10),
            channels=Channels.create(1),
            control=Channel("control"),
            reports=Channel("reports"),
            secrets=Secrets({}),
            boot_id="boot",
            parent_pid=1,
            fail_fast=False,
        )
        self.period_s = PERIOD_S
        self.crash: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            heartbeat.run(self.context, self.period_s)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.crash = error

    def start(self, token: str | None = "first") -> None:
        self.thread.start()
        assert self.context.reports.get(timeout=10) == Ready(HEARTBEAT)
        assert isinstance(self.event(), Hello)
        if token is not None:
            self.give(token)

    def give(self, token: str) -> None:
        self.context.channels.tokens.put(Token(token))

    def event(self) -> Message:
        return self.context.channels.heartbeat_events.get(timeout=10)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline_s
            time.sleep(0.005)

    def stop(self) -> None:
        self.context.control.put(Stop(0.0))
        self.thread.join(10)
        assert not self.thread.is_alive()

    def close(self) -> None:
        if self.thread.is_alive():
            self.stop()
        channels = self.context.channels
        for channel in (*channels.orders, *channels.outcomes, channels.tokens):
            channel.close()
        for channel in (channels.heartbeat_events, self.context.control, self.context.reports):
            channel.close()
        self.context.secrets.close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running() as server:
        server.on(PING, Reply(200, ID.encode()))
        yield server


@pytest.fixture
def tree(server: ScriptedServer, tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(server.url, tmp_path)
    yield tree
    tree.close()


@settings(deadline=None)  # the machine is shared with other tests
@given(st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0.01, 100))
def test_pings_keep_to_their_grid_and_at_most_one_is_made_up_for(
    due_s: float, late_s: float, period_s: float
) -> None:
    now_s = due_s + late_s
    next_s = following(due_s, now_s, period_s)
    steps = (next_s - due_s) / period_s
    assert abs(steps - round(steps)) < 1e-3
    assert next_s >= due_s + period_s * 0.999
    assert next_s > now_s - period_s * 1.001
    assert next_s == due_s + period_s or next_s <= now_s


def test_the_first_ping_goes_out_when_a_token_has_come(server: ScriptedServer, tree: Tree) -> None:
    tree.start(token=None)
    assert tree.context.board.entry(HEARTBEAT).read().text == "no token yet"
    assert server.requests == []
    before_s = time.time()
    tree.give("first")
    tree.until(lambda: tree.context.board.facts.read().session_id == ID)
    facts = tree.context.board.facts.read()
    assert facts.last_ping_ok is True
    assert facts.last_ping_s is not None
    assert before_s <= facts.last_ping_s <= time.time()
    assert server.requests[0].headers["authorization"] == "Bearer first"
    assert server.requests[0].headers["content-length"] == "0"
    entry = tree.context.board.entry(HEARTBEAT).read()
    assert (entry.state, entry.text) == (State.IDLE, "the scheduler answers")


def test_what_a_ping_takes_does_not_add_to_the_period(server: ScriptedServer, tree: Tree) -> None:
    tree.period_s, reply_s = 0.6, 0.4
    arrived: list[float] = []

    def slow(_: Request) -> Reply:
        arrived.append(time.monotonic())
        time.sleep(reply_s)
        return Reply(200, ID.encode())

    server.on(PING, slow)
    tree.start()
    tree.until(lambda: len(arrived) > 5)
    # A busy machine delays some; where replies added up, no two would be this close.
    gaps = [later - now for now, later in itertools.pairwise(arrived)]
    assert min(gaps) < tree.period_s + reply_s / 2
    assert arrived[-1] - arrived[0] > tree.period_s * (len(gaps) - 1)


def test_a_refused_token_is_reported_and_the_next_one_used_at_once(
    server: ScriptedServer, tree: Tree
) -> None:
    def ping(request: Request) -> Reply:
        good = request.headers["authorization"] == "Bearer second"
        return Reply(200, ID.encode()) if good else Reply(401)

    server.on(PING, ping)
    tree.start()
    assert tree.event() == TokenRefused("first")
    assert "token refused" in tree.context.board.facts.read().ping_text
    assert tree.event() == TokenRefused("first")  # it goes on, scheduling may not have heard
    tree.give("second")
    tree.until(lambda: tree.context.board.facts.read().last_ping_ok is True)
    assert tree.context.board.facts.read().ping_text == ""


@pytest.mark.parametrize("reply", [Reply(503), Reply(raw=b""), Reply(200, b"<html>")])
def test_a_ping_that_fails_is_shown_and_the_next_one_follows(
    server: ScriptedServer, tree: Tree, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    good = Reply(200, ID.encode())
    server.on(PING, reply, reply, good, good, reply, reply, good)
    tree.start()
    tree.until(lambda: len(server.requests) > 6)
    tree.until(lambda: tree.context.board.facts.read().last_ping_ok is True)
    tree.stop()  # the board is written before the log
    said = [record.message for record in caplog.records if "peer" in record.message]
    assert said == 2 * ["peer out of service", "peer back in service"]
    assert [record.levelname for record in caplog.records].count("WARNING") >= 2


def test_a_changed_session_id_is_told_once_and_then_known(
    server: ScriptedServer, tree: Tree
) -> None:
    first, second = Reply(200, ID.encode()), Reply(200, OTHER_ID.encode())
    shouted = Reply(200, ID.upper().encode())
    server.on(PING, first, shouted, second)
    tree.start()
    assert tree.event() == SessionChanged(OTHER_ID)
    tree.until(lambda: len(server.requests) > 5)
    assert tree.context.channels.heartbeat_events.empty()
    assert tree.context.board.facts.read().session_id == OTHER_ID


def test_a_session_id_is_remembered_across_a_new_birth(server: ScriptedServer, tree: Tree) -> None:
    tree.context.board.facts.set(session_id=OTHER_ID)
    tree.start()
    assert tree.event() == SessionChanged(ID)


def test_a_change_that_could_not_be_told_is_told_later(server: ScriptedServer, tree: Tree) -> None:
    events = tree.context.channels.heartbeat_events
    tree.context.board.facts.set(session_id=OTHER_ID)
    tree.start(token=None)
    filler = TokenRefused("x" * 8000)
    with pytest.raises(queue.Full):
        while True:
            events.put_nowait(filler)
    tree.give("first")
    tree.until(lambda: len(server.requests) > 2)
    assert tree.context.board.facts.read().session_id == OTHER_ID
    while (message := tree.event()) == filler:
        pass
    assert message == SessionChanged(ID)


def test_an_answer_without_a_session_id_counts_but_is_warned_of(
    server: ScriptedServer, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    server.on(PING, Reply(200))
    tree.start()
    tree.until(lambda: "without a session id" in caplog.text)
    facts = tree.context.board.facts.read()
    assert facts.last_ping_ok is True
    assert facts.session_id == ""


def test_the_loop_ticks_and_hears_while_a_ping_hangs(
    server: ScriptedServer, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "TURN_S", 0.02)
    hanging, release = threading.Event(), threading.Event()

    def hang(_: Request) -> Reply:
        hanging.set()
        release.wait(10)
        return Reply(200, ID.encode())

    server.on(PING, hang)
    tree.start()
    assert hanging.wait(10)
    entry = tree.context.board.entry(HEARTBEAT)
    tick_ns = entry.read().tick_ns
    tree.until(lambda: entry.read().tick_ns > tick_ns)
    tree.give("second")
    began_s = time.monotonic()
    tree.stop()
    assert time.monotonic() - began_s < 5
    release.set()


def test_a_bug_in_the_pinging_thread_ends_the_process(
    server: ScriptedServer, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "TURN_S", 0.02)
    monkeypatch.setattr(heartbeat, "following", lambda *_: 1 / 0)
    tree.start()
    tree.thread.join(10)
    assert isinstance(tree.crash, ZeroDivisionError)


def test_other_messages_on_the_token_channel_are_ignored(
    server: ScriptedServer, tree: Tree
) -> None:
    tree.context.channels.tokens.put(Ready("nobody"))
    tree.start()
    tree.until(lambda: len(server.requests) > 0)
