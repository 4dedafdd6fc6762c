"""docs/spec/03, 6: sessions, the broker inside them, what is sent and what is lost."""

from __future__ import annotations

import json
import threading
import time

import pytest

from iexworker.core import sockjs, stomp
from iexworker.sandbox.scheduler import push
from iexworker.sandbox.scheduler.models import AbortCause, Action
from iexworker.sandbox.scheduler.push import POLLING, STREAMING, Broker, Session

TASK = "0x" + "7b" * 32
ALICE = "0x" + "aa" * 20
PRELUDE = sockjs.PRELUDE + "\n"


def connected(broker: Broker, name: str = "s1") -> tuple[Session, list[str]]:
    """Open a session, connect and subscribe; return it with the lines read so far."""
    session = broker.open(name, STREAMING)
    assert session is not None
    lines = session.receive()
    read = [next(lines), next(lines)]
    subscribe = stomp.Frame("SUBSCRIBE", {"id": "0", "destination": f"/topic/task/{TASK}"})
    broker.take(session, [frame("CONNECT"), stomp.encode(subscribe)])
    read.append(next(lines))
    session.lines = lines  # type: ignore[attr-defined]  # kept alive with the session
    return session, read


def frame(command: str, **headers: str) -> str:
    return stomp.encode(stomp.Frame(command, headers))


def next_frames(session: Session) -> list[stomp.Frame]:
    line: str = next(session.lines)  # type: ignore[attr-defined]  # set by `connected`
    event = sockjs.decode_line(line.removesuffix("\n"))
    assert isinstance(event, sockjs.Messages)
    return [stomp.decode(one) for one in event.texts]


def test_a_session_opens_with_prelude_open_and_connected() -> None:
    _, read = connected(Broker())
    assert read[:2] == [PRELUDE, "o\n"]
    assert read[2] == 'a["CONNECTED\\nversion:1.2\\nheart-beat:0,0\\n\\n\\u0000"]\n'


def test_a_notification_has_the_recorded_form() -> None:
    broker = Broker()
    session, _ = connected(broker)
    broker.publish(TASK, Action.REVEAL, [ALICE], block=821)
    (message,) = next_frames(session)
    assert list(message.headers) == [
        "destination",
        "content-type",
        "subscription",
        "message-id",
        "content-length",
    ]
    assert message.headers["message-id"] == "s1-0"
    assert json.loads(message.body) == {
        "chainTaskId": TASK,
        "workersAddress": [ALICE],
        "taskNotificationType": "PLEASE_REVEAL",
        "taskNotificationExtra": {
            "workerpoolAuthorization": None,
            "smsUrl": None,
            "blockNumber": 821,
            "taskAbortCause": None,
        },
        "taskAbortCause": "UNKNOWN",
    }


def test_a_cause_stands_in_the_extra_and_beside_it() -> None:
    broker = Broker()
    session, _ = connected(broker)
    broker.publish(TASK, Action.ABORT, [], cause=AbortCause.CONSENSUS_REACHED)
    broker.publish(TASK, Action.ABORT, [])
    with_cause, without = (json.loads(one.body) for one in next_frames(session))
    assert with_cause["taskNotificationExtra"]["blockNumber"] == 0
    assert with_cause["taskAbortCause"] == "CONSENSUS_REACHED"
    assert (without["taskNotificationExtra"], without["taskAbortCause"]) == (None, "UNKNOWN")


def test_only_subscribers_of_the_moment_get_it() -> None:
    broker = Broker()
    broker.publish(TASK, Action.UPLOAD, [ALICE])
    session, _ = connected(broker)
    broker.publish("0x" + "00" * 32, Action.UPLOAD, [ALICE])
    broker.take(session, [frame("UNSUBSCRIBE", id="0"), frame("UNSUBSCRIBE", id="7")])
    broker.publish(TASK, Action.UPLOAD, [ALICE])
    assert not session._waiting


def test_a_heartbeat_comes_when_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "HEARTBEAT_S", 0.01)
    session, _ = connected(Broker())
    assert next(session.lines) == "h\n"  # type: ignore[attr-defined]  # set by `connected`


def test_what_is_said_wakes_the_receiver_at_once() -> None:
    broker = Broker()
    session, _ = connected(broker)
    threading.Timer(0.05, broker.publish, (TASK, Action.COMPLETE, [])).start()
    began = time.monotonic()
    assert len(next_frames(session)) == 1
    assert time.monotonic() - began < push.HEARTBEAT_S / 2


def test_a_second_receiver_is_sent_away_and_the_first_goes_on() -> None:
    broker = Broker()
    session, _ = connected(broker)
    assert list(session.receive()) == ['c[2010,"Another connection still open"]\n']
    broker.publish(TASK, Action.COMPLETE, [])
    assert len(next_frames(session)) == 1


def test_a_response_ends_after_128_kib_and_the_next_has_no_open() -> None:
    broker = Broker()
    session, _ = connected(broker)
    rest = session.lines  # type: ignore[attr-defined]  # set by `connected`
    session.send("x" * sockjs.RESPONSE_LIMIT)
    assert len(next(rest)) > sockjs.RESPONSE_LIMIT
    assert list(rest) == []
    again = session.receive()
    session.send("y")
    assert [next(again), next(again)] == [PRELUDE, 'a["y"]\n']


def test_between_two_receivers_the_last_hundred_messages_are_kept() -> None:
    session = Session("s", STREAMING)
    for number in range(push.CACHED_MESSAGES + 5):
        session.send(str(number))
    lines = session.receive()
    assert [next(lines), next(lines)] == [PRELUDE, "o\n"]
    event = sockjs.decode_line(next(lines).removesuffix("\n"))
    assert isinstance(event, sockjs.Messages)
    assert (event.texts[0], len(event.texts)) == ("5", push.CACHED_MESSAGES)


def test_a_session_dies_without_a_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "GRACE_S", 0.01)
    broker = Broker()
    session, _ = connected(broker)
    time.sleep(0.02)
    assert broker.find("s1") is session
    session.lines.close()  # type: ignore[attr-defined]  # set by `connected`
    time.sleep(0.02)
    assert broker.find("s1") is None


def test_polling_gives_one_line_a_request() -> None:
    broker = Broker()
    session = broker.open("s", POLLING)
    assert session is not None
    assert list(session.receive()) == ["o\n"]
    session.send("x")
    assert list(session.receive()) == ['a["x"]\n']
    assert broker.open("s", STREAMING) is None


def test_disconnect_is_answered_by_an_error_and_ends_the_session() -> None:
    broker = Broker()
    session, _ = connected(broker)
    broker.take(session, [frame("DISCONNECT")])
    (error,) = next_frames(session)
    assert (error.command, error.headers["message"]) == ("ERROR", "Session closed.")
    assert list(session.lines) == ['c[3000,"Go away!"]\n']  # type: ignore[attr-defined]  # as above
    assert broker.find("s1") is None


def test_a_text_that_is_no_frame_is_answered_by_an_error() -> None:
    broker = Broker()
    session, _ = connected(broker)
    broker.take(session, ["nonsense", frame("SEND", destination="/x"), frame("SUBSCRIBE", id="1")])
    (error,) = next_frames(session)
    assert error.command == "ERROR"


def test_closing_the_broker_ends_every_session() -> None:
    broker = Broker()
    session, _ = connected(broker)
    broker.close()
    assert list(session.lines) == ['c[3000,"Go away!"]\n']  # type: ignore[attr-defined]  # as above
