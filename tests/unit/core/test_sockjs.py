from __future__ import annotations

import contextlib
import json
import re
import secrets
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iexworker.core import sockjs, stomp
from iexworker.core.sockjs import (
    Closed,
    HeartbeatFrame,
    Messages,
    Open,
    Prelude,
    SockJsError,
    decode_line,
    decode_send,
    encode_messages,
    encode_send,
)

WIRE = Path(__file__).parents[2] / "wire"


def recorded(key: str) -> list[Any]:
    return [
        event
        for path in sorted(WIRE.glob("*.json"))
        for event in json.loads(path.read_text())["events"]
        if key in event
    ]


@settings(deadline=None)  # the machine is shared with other tests
@given(st.lists(st.text()))
def test_messages_survive_the_round_trip_in_both_directions(texts: list[str]) -> None:
    line = encode_messages(texts)
    assert decode_line(line) == Messages(tuple(texts))
    assert line.isascii() and "\n" not in line
    assert decode_send(encode_send(texts)) == texts


@settings(deadline=None)  # the machine is shared with other tests
@given(st.integers(), st.text())
def test_a_close_frame_survives_the_round_trip(code: int, reason: str) -> None:
    assert decode_line(sockjs.close_frame(code, reason)) == Closed(code, reason)


@settings(deadline=None)  # the machine is shared with other tests
@given(st.one_of(st.text(), st.text('aoch[]",\\0123{}', max_size=30)))
def test_garbage_raises_nothing_but_the_documented_error(text: str) -> None:
    for decode in (decode_line, decode_send):
        with contextlib.suppress(SockJsError):
            decode(text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "not a SockJS line: ''"),
        ("x", "not a SockJS line: 'x'"),
        ("hxh", "not a SockJS line: 'hxh'"),
        ("hX", "not a SockJS line: 'hX'"),
        ("x" * 100, f"not a SockJS line: '{'x' * 80}'"),
        ("a" + "x" * 100, f"not JSON: '{'x' * 80}'"),
        ("a" + "1" * 100, f"expected a JSON array of texts, got '{'1' * 80}'"),
        ("c" + "1" * 100, f"expected [code, reason], got '{'1' * 80}'"),
        ("oo", "not a SockJS line: 'oo'"),
        ("a", "not JSON: ''"),
        ("a[1]", "expected a JSON array of texts, got '[1]'"),
        ('a"text"', "expected a JSON array of texts, got '\"text\"'"),
        ("a" + "[" * 100_000, "not JSON: '[["),
        ("c[]", "expected [code, reason], got '[]'"),
        ('c["a",1]', "expected [code, reason], got '[\"a\",1]'"),
        ("c{}", "expected [code, reason], got '{}'"),
    ],
)
def test_a_line_that_no_server_writes_is_an_error_that_shows_it(line: str, words: str) -> None:
    with pytest.raises(SockJsError, match=re.escape(words)):
        decode_line(line)


def test_the_lines_of_the_protocol_are_told_apart() -> None:
    assert (sockjs.OPEN, sockjs.HEARTBEAT, sockjs.PRELUDE) == ("o", "h", "h" * 2048)
    assert sockjs.RESPONSE_LIMIT == 131_072
    assert encode_send(["a", "b"]) == '["a","b"]'
    assert decode_line(sockjs.PRELUDE) == Prelude()
    assert decode_line(sockjs.OPEN) == Open()
    assert decode_line(sockjs.HEARTBEAT) == HeartbeatFrame()
    assert decode_line('c[3000,"Go away!"]') == Closed(3000, "Go away!")
    assert sockjs.close_frame(3000, "Go away!") == 'c[3000,"Go away!"]'


def test_every_recorded_line_decodes_to_frames_and_encodes_to_itself() -> None:
    lines = [event["sockjs"] for event in recorded("sockjs")]
    messages = [line for line in lines if line.startswith("a")]
    assert len(messages) > 50
    for line in messages:
        event = decode_line(line)
        assert isinstance(event, Messages)
        assert encode_messages(event.texts) == line
        for text in event.texts:
            assert stomp.encode(stomp.decode(text)) == text


def test_every_recorded_sending_decodes_to_frames_and_encodes_to_itself() -> None:
    bodies = [
        event["body"] for event in recorded("request") if event["request"].endswith("/xhr_send")
    ]
    assert len(bodies) > 20
    for texts in bodies:
        assert decode_send(encode_send(texts)) == texts
        for text in texts:
            assert stomp.encode(stomp.decode(text)) == text


def test_a_server_s_number_has_three_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "randbelow", lambda limit: limit - 1)
    assert sockjs.new_session_path().startswith("/connect/999/")
    monkeypatch.setattr(secrets, "randbelow", lambda limit: 0)
    assert sockjs.new_session_path().startswith("/connect/000/")


def test_each_session_has_a_path_of_its_own() -> None:
    paths = {sockjs.new_session_path() for _ in range(100)}
    assert len(paths) == 100
    assert all(re.fullmatch(r"/connect/[0-9]{3}/[0-9a-f]{32}", path) for path in paths)
