from __future__ import annotations

import json
import logging
import queue
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iexworker.core import sockjs, stomp, stream, xhr
from iexworker.core.malformed import Malformed
from iexworker.core.messages import Notification, NotificationType
from iexworker.core.stomp import StompError
from iexworker.core.stream import NotificationStream
from tests.helpers import fake_scheduler
from tests.helpers.fake_scheduler import END, RESET, FakeScheduler

WIRE = Path(__file__).parents[2] / "wire"
TASK = "0x65bc5e94ed4486a940bd6cc0013c418efad58a0a52a3d08cee89faaa21970426"
ABORT = json.dumps(
    {"chainTaskId": TASK, "workersAddress": [], "taskNotificationType": "PLEASE_ABORT"}
)


class Owner:
    """What `scheduling` is to the stream: it notes what it is told."""

    def __init__(self, url: str) -> None:
        self.notifications: queue.Queue[Notification] = queue.Queue()
        self.states: queue.Queue[bool] = queue.Queue()
        self.stream = NotificationStream(url, self.notifications.put, self.states.put)
        self.thread = threading.Thread(target=self.stream.run)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stream.stop()
        if self.thread.ident is not None:
            self.thread.join(10)
            assert not self.thread.is_alive()

    def state(self) -> bool:
        return self.states.get(timeout=10)


@pytest.fixture
def scheduler() -> Iterator[FakeScheduler]:
    with fake_scheduler.running() as scheduler:
        yield scheduler


@pytest.fixture
def owner(scheduler: FakeScheduler) -> Iterator[Owner]:
    owner = Owner(scheduler.url)
    yield owner
    owner.stop()


def test_topics_are_subscribed_before_the_stream_is_ready(
    scheduler: FakeScheduler, owner: Owner
) -> None:
    owner.stream.subscribe("0x01")
    owner.stream.subscribe(TASK)
    owner.stream.subscribe("0x01")
    assert owner.states.empty()
    owner.start()
    session = scheduler.session()
    connect = session.expect("CONNECT")
    assert connect.headers == {"heart-beat": "10000,10000", "accept-version": "1.1,1.2"}
    assert owner.state() is True
    assert owner.stream.ready
    for number, task_id in enumerate(("0x01", TASK)):
        headers = {"id": str(number), "destination": f"/topic/task/{task_id}"}
        assert session.received.get_nowait() == stomp.Frame("SUBSCRIBE", headers)
    assert scheduler.infos == 1
    assert set(session.cookies) == {"route=a"}


def test_a_later_topic_is_subscribed_at_once_and_can_be_left(
    scheduler: FakeScheduler, owner: Owner
) -> None:
    owner.start()
    session = scheduler.session()
    session.expect("CONNECT")
    assert owner.state() is True
    owner.stream.subscribe("0x01")
    assert session.expect("SUBSCRIBE").headers["id"] == "0"
    owner.stream.subscribe(TASK)
    assert session.expect("SUBSCRIBE").headers["id"] == "1"
    owner.stream.unsubscribe("0x01")
    owner.stream.unsubscribe("0xunknown")
    assert session.expect("UNSUBSCRIBE").headers == {"id": "0"}
    owner.stream.subscribe("0x01")
    assert session.expect("SUBSCRIBE").headers["id"] == "2"


def test_the_recorded_messages_are_delivered_as_notifications(
    scheduler: FakeScheduler, owner: Owner
) -> None:
    lines = [
        event["sockjs"]
        for name in ("8.5-standard.json", "9.2-standard.json")
        for event in json.loads((WIRE / name).read_text())["events"]
        if event.get("sockjs", "").startswith("a") and "MESSAGE" in event["sockjs"]
    ]
    owner.start()
    session = scheduler.session()
    for line in lines:
        session.lines.put(line)
    kinds = [owner.notifications.get(timeout=10).type for _ in lines]
    assert kinds == 2 * [
        NotificationType.PLEASE_REVEAL,
        NotificationType.PLEASE_UPLOAD,
        NotificationType.PLEASE_COMPLETE,
    ]


def test_a_message_is_delivered_without_delay(scheduler: FakeScheduler, owner: Owner) -> None:
    owner.start()
    session = scheduler.session()
    assert owner.state() is True
    delays_ms = []
    for _ in range(50):
        began_s = time.perf_counter()
        session.push(ABORT)
        owner.notifications.get(timeout=10)
        delays_ms.append(1000 * (time.perf_counter() - began_s))
    assert statistics.median(delays_ms) < 20


def test_malformed_messages_are_logged_once_and_dropped(
    scheduler: FakeScheduler, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    owner.start()
    session = scheduler.session()
    assert owner.state() is True
    for _ in range(2):
        session.lines.put("<html>")
        session.lines.put(sockjs.encode_messages(["no frame", "SHOUT\n\n\0", "\n"]))
        session.push("no JSON")
        session.push("[" * 100_000)
        session.push('{"chainTaskId":"0x01","taskNotificationType":"PLEASE_DANCE"}')
        session.lines.put(sockjs.encode_messages(["RECEIPT\nreceipt-id:1\n\n\0"]))
    session.push(ABORT)
    assert owner.notifications.get(timeout=10).task_id == TASK
    assert owner.notifications.empty()
    assert len([record for record in caplog.records if "malformed" in record.message]) == 6
    assert owner.stream.ready


def test_a_response_that_ends_is_asked_for_again_on_the_same_session(
    scheduler: FakeScheduler, owner: Owner
) -> None:
    owner.start()
    session = scheduler.session()
    assert owner.state() is True
    for _ in range(3):
        session.push(ABORT)
        session.lines.put(END)
        owner.notifications.get(timeout=10)
    session.push(ABORT)
    owner.notifications.get(timeout=10)
    assert session.posts == 4
    assert owner.states.empty()
    assert scheduler.sessions.empty()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([sockjs.OPEN], "forgotten by the scheduler"),
        (['c[3000,"Go away!"]'], "closed by the scheduler: 3000 Go away!"),
        ([RESET], "xhr_streaming"),
        ([sockjs.encode_messages(["ERROR\nmessage:Session closed.\n\n\0"])], "Session closed."),
        ([END], "ended before it brought anything"),
    ],
)
def test_a_lost_session_is_followed_by_a_new_one_with_every_topic(
    scheduler: FakeScheduler,
    owner: Owner,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[str | None],
    words: str,
) -> None:
    monkeypatch.setattr(xhr, "_SHORTEST_EMPTY_RESPONSE_S", 60.0)
    owner.stream.subscribe(TASK)
    owner.start()
    first = scheduler.session()
    assert owner.state() is True
    if lines == [END]:
        lines = [END, END]  # the first response has brought CONNECTED
    for line in lines:
        first.lines.put(line)
    assert owner.state() is False
    second = scheduler.session()
    assert owner.state() is True
    assert second.name != first.name
    assert second.expect("CONNECT")
    assert second.expect("SUBSCRIBE").headers == {"id": "0", "destination": f"/topic/task/{TASK}"}
    assert words in "".join(str(getattr(record, "error", "")) for record in caplog.records)
    assert scheduler.infos == 1


def test_a_session_that_the_scheduler_has_forgotten_refuses_frames_and_is_replaced(
    scheduler: FakeScheduler, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    owner.start()
    scheduler.session()
    assert owner.state() is True
    scheduler.send_status = 404
    owner.stream.subscribe(TASK)
    assert owner.state() is False
    scheduler.send_status = 204
    while not owner.state():
        pass
    assert any("answered 404" in str(getattr(record, "error", "")) for record in caplog.records)


def test_frames_that_cannot_be_sent_end_the_session(
    scheduler: FakeScheduler, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LONGEST_PAUSE_S", 0.05)
    scheduler.send_status = 500
    owner.start()
    for _ in range(3):
        scheduler.session()
    assert owner.states.empty()
    scheduler.send_status = 204
    assert owner.state() is True


def test_silence_is_a_lost_connection(
    scheduler: FakeScheduler, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xhr, "SILENCE_S", 0.3)
    monkeypatch.setattr(stream, "LONGEST_PAUSE_S", 0.05)
    owner.start()
    scheduler.session()
    assert owner.state() is True
    assert owner.state() is False
    scheduler.session()


def test_a_session_that_never_connects_is_given_up_though_it_lives(
    scheduler: FakeScheduler,
    owner: Owner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(stream, "OPENING_TIMEOUT_S", 0.1)
    scheduler.answers_connect = False
    owner.start()
    session = scheduler.session()
    session.expect("CONNECT")
    time.sleep(0.15)  # the time limit itself is under test
    session.lines.put(sockjs.HEARTBEAT)
    scheduler.session()
    assert "not connected within" in str(getattr(caplog.records[0], "error", ""))
    assert owner.states.empty()


@pytest.mark.parametrize("refusal", ["info_status", "streaming_status"])
def test_a_scheduler_without_sockjs_is_tried_again_and_named_once(
    scheduler: FakeScheduler,
    owner: Owner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refusal: str,
) -> None:
    monkeypatch.setattr(stream, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(sockjs, "new_session_path", lambda: f"/connect/000/{'0' * 32}")
    setattr(scheduler, refusal, 503)
    owner.start()
    while scheduler.infos < 3 and refusal == "info_status":
        time.sleep(0.01)
    time.sleep(0.1)
    setattr(scheduler, refusal, 200)
    assert owner.state() is True
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "answered 503" in str(getattr(warnings[0], "error", ""))


def test_nobody_listening_is_waited_for_with_growing_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner = Owner("http://127.0.0.1:1")
    waits: list[float] = []
    waited = threading.Event()
    real = owner.stream._stopped.wait

    def wait(timeout: float | None = None) -> bool:
        assert timeout is not None
        waits.append(timeout)
        if len(waits) == 9:
            waited.set()
        return real(0.001)

    monkeypatch.setattr(owner.stream._stopped, "wait", wait)
    owner.start()
    assert waited.wait(10)
    owner.stop()
    for number, wait_s in enumerate(waits[:9]):
        full_s = min(0.2 * 2**number, 15.0)
        assert full_s / 2 <= wait_s <= full_s


def test_a_callback_that_fails_does_not_end_the_stream(
    scheduler: FakeScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    delivered = queue.Queue[Notification]()

    def fail(*_: object) -> None:
        delivered.put(_[0])  # type: ignore[arg-type]  # both callbacks share it
        raise RuntimeError("bug")

    owner = Owner(scheduler.url)
    owner.stream = NotificationStream(scheduler.url, fail, fail)
    owner.thread = threading.Thread(target=owner.stream.run)
    owner.start()
    session = scheduler.session()
    session.push(ABORT)
    session.push(ABORT)
    for _ in range(3):
        delivered.get(timeout=10)
    assert owner.stream.ready
    owner.stop()
    assert caplog.text.count("RuntimeError: bug") >= 3


def test_an_error_of_our_own_is_logged_and_a_new_session_follows(
    scheduler: FakeScheduler,
    owner: Owner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    owner.start()
    session = scheduler.session()
    assert owner.state() is True
    with monkeypatch.context() as patch:
        patch.setattr(stream, "_json", lambda _: 1 / 0)
        session.push(ABORT)
        assert owner.state() is False
    assert owner.state() is True
    assert "ZeroDivisionError" in caplog.text


def test_stop_ends_a_waiting_stream_at_once(scheduler: FakeScheduler, owner: Owner) -> None:
    owner.start()
    scheduler.session()
    assert owner.state() is True
    began_s = time.monotonic()
    owner.stop()
    assert time.monotonic() - began_s < 1
    assert owner.state() is False


def test_a_stream_stopped_before_it_runs_connects_to_nobody(
    scheduler: FakeScheduler, owner: Owner
) -> None:
    owner.stream.stop()
    owner.start()
    owner.thread.join(10)
    assert scheduler.infos == 0


def test_a_line_without_end_is_given_up(
    scheduler: FakeScheduler, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xhr, "_LINE_LIMIT_BYTES", 10_000)
    owner.start()
    session = scheduler.session()
    assert owner.state() is True
    session.lines.put(sockjs.encode_messages(["x" * 500_000]))
    assert owner.state() is False


def test_many_topics_are_restored_in_a_few_sendings(scheduler: FakeScheduler, owner: Owner) -> None:
    topics = [f"0x{number:064x}" for number in range(250)]
    for topic in topics:
        owner.stream.subscribe(topic)
    owner.start()
    session = scheduler.session()
    assert owner.state() is True
    session.expect("CONNECT")
    sent = [session.expect("SUBSCRIBE").headers["destination"] for _ in topics]
    assert sent == [f"/topic/task/{topic}" for topic in topics]
    assert len(session.cookies) == 1 + 3


def test_an_id_that_no_header_can_carry_is_refused(owner: Owner) -> None:
    with pytest.raises(StompError):
        owner.stream.subscribe("\ud800")


def test_a_flood_of_different_oddities_is_not_remembered_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    malformed = Malformed()
    for number in range(1000):
        malformed.say("here", f"{number} " + "x" * 10_000, "odd")
    assert len(malformed._said) <= 256
    assert all(len(str(getattr(record, "text", ""))) <= 200 for record in caplog.records)


def test_the_same_trouble_of_two_sessions_has_the_same_words() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        said = set()
        for _ in range(2):
            with pytest.raises(xhr.SessionLost, match="refused") as caught:
                next(xhr.XhrSession(url, Malformed()).receive())
            said.add(str(caught.value))
    assert len(said) == 1
