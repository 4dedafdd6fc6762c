from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iexworker.core.stomp import COMMANDS, Frame, StompError, decode, encode

NO_SURROGATES = st.characters(exclude_categories=["Cs"])
TEXT = st.text(NO_SURROGATES, max_size=40)
HEADER = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
KEY = HEADER.filter(lambda key: key not in ("", "content-length"))
PLAIN = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n:"), min_size=1, max_size=20
).filter(lambda key: key != "content-length")
ESCAPING = sorted(COMMANDS - {"CONNECT", "CONNECTED"})


@settings(deadline=None)  # the machine is shared with other tests
@given(st.sampled_from(ESCAPING), st.dictionaries(KEY, HEADER, max_size=5), TEXT)
def test_a_frame_survives_the_round_trip(command: str, headers: dict[str, str], body: str) -> None:
    frame = decode(encode(Frame(command, headers, body)))
    length = {"content-length": str(len(body.encode()))} if body else {}
    assert frame == Frame(command, {**headers, **length}, body)


@settings(deadline=None)  # the machine is shared with other tests
@given(st.sampled_from(["CONNECT", "CONNECTED"]), st.dictionaries(PLAIN, PLAIN, max_size=5))
def test_connect_frames_survive_the_round_trip_unescaped(
    command: str, headers: dict[str, str]
) -> None:
    frame = Frame(command, headers)
    assert decode(encode(frame)) == frame
    assert encode(frame).split("\n")[1:-2] == [f"{key}:{value}" for key, value in headers.items()]


@settings(deadline=None)  # the machine is shared with other tests
@given(st.text(max_size=200))
def test_garbage_raises_nothing_but_the_documented_error(text: str) -> None:
    with contextlib.suppress(StompError):
        decode(text)


@settings(deadline=None)  # the machine is shared with other tests
@given(st.sampled_from(sorted(COMMANDS)), st.text("a:\\\r\n\0é0", max_size=60))
def test_nearly_a_frame_raises_nothing_but_the_documented_error(command: str, rest: str) -> None:
    try:
        frame = decode(f"{command}\n{rest}")
    except StompError:
        return
    assert frame.command == command


@settings(deadline=None)  # the machine is shared with other tests
@given(st.text(max_size=30), st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_what_cannot_be_written_raises_the_documented_error(
    command: str, headers: dict[str, str]
) -> None:
    for candidate in (command, "CONNECT", "SEND"):
        with contextlib.suppress(StompError):
            encode(Frame(candidate, headers))


def test_the_frames_of_the_worker_are_the_recorded_ones() -> None:
    connect = Frame("CONNECT", {"heart-beat": "10000,10000", "accept-version": "1.1,1.2"})
    assert encode(connect) == "CONNECT\nheart-beat:10000,10000\naccept-version:1.1,1.2\n\n\0"
    subscribe = Frame("SUBSCRIBE", {"id": "0", "destination": "/topic/task/0x65bc"})
    assert encode(subscribe) == "SUBSCRIBE\nid:0\ndestination:/topic/task/0x65bc\n\n\0"
    assert encode(Frame("UNSUBSCRIBE", {"id": "0"})) == "UNSUBSCRIBE\nid:0\n\n\0"
    assert encode(Frame("DISCONNECT")) == "DISCONNECT\n\n\0"


def test_the_commands_are_those_of_the_specification() -> None:
    client = {"CONNECT", "STOMP", "SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK"}
    client |= {"BEGIN", "COMMIT", "ABORT", "DISCONNECT"}
    assert client | {"CONNECTED", "MESSAGE", "RECEIPT", "ERROR"} == COMMANDS


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_both_line_ends_are_read(end: str) -> None:
    text = end.join(["", "MESSAGE", "subscription:0", "", "body\r\n"]) + "\0" + end
    assert decode(text) == Frame("MESSAGE", {"subscription": "0"}, "body\r\n")


def test_the_first_of_repeated_headers_counts() -> None:
    assert decode("MESSAGE\nfoo:World\nfoo:Hello\n\n\0").headers == {"foo": "World"}


def test_escapes_are_read_except_in_connected() -> None:
    assert decode("ERROR\nmessage:a\\cb\\nc\\rd\\\\e\n\n\0").headers == {"message": "a:b\nc\rd\\e"}
    assert decode("CONNECTED\nserver:a\\cb:c\n\n\0").headers == {"server": "a\\cb:c"}


def test_content_length_counts_octets_and_lets_a_body_hold_nul() -> None:
    assert decode("MESSAGE\ncontent-length:4\n\né\0x\0").body == "é\0x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no blank line"),
        ("MESSAGE\n\0", "no blank line"),
        ("SHOUT\n\n\0", "unknown command 'SHOUT'"),
        (" MESSAGE\n\n\0", "unknown command ' MESSAGE'"),
        ("XMESSAGE\n\n\0", "unknown command 'XMESSAGE'"),
        ("A" * 100 + "\n\n\0", f"unknown command '{'A' * 40}'"),
        ("MESSAGE\n" + "a" * 100 + "\n\n\0", f"no header: '{'a' * 40}'"),
        ("MESSAGE\n\none\0two\0", "text after the frame"),
        ("MESSAGE\n\nbody\0m", "text after the frame"),
        ("MESSAGE\n\nbody\0 ", "text after the frame"),
        ("MESSAGE\n\nbody\0X", "text after the frame"),
        ("MESSAGE\nnothing\n\n\0", "no header: 'nothing'"),
        ("MESSAGE\n:nameless\n\n\0", "no header"),
        ("MESSAGE\na:b\\t\n\n\0", "unknown escape"),
        ("MESSAGE\na:b\\\n\n\0", "unknown escape"),
        ("MESSAGE\na:b\0\n\n\0", "no header"),
        ("MESSAGE\n\nbody", "no NUL"),
        ("MESSAGE\ncontent-length:2\n\nbody\0", "no NUL"),
        ("MESSAGE\ncontent-length:9\n\nbody\0", "no NUL"),
        ("MESSAGE\ncontent-length:-1\n\nbody\0", "expected a number"),
        (
            "MESSAGE\ncontent-length:" + "9" * 5000 + "\n\nbody\0",
            f"expected a number, got '{'9' * 40}'",
        ),
        ("MESSAGE\ncontent-length:1\n\né\0\0", "no NUL"),
        ("MESSAGE\n\nbody\0more", "text after the frame"),
        ("MESSAGE\n\n\ud800\0", "surrogate"),
    ],
)
def test_a_malformed_text_is_named(text: str, words: str) -> None:
    with pytest.raises(StompError, match=words):
        decode(text)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (Frame("SHOUT"), "unknown command"),
        (Frame("SEND", {"": "x"}), "empty name"),
        (Frame("SEND", {"a": "\0"}), "NUL"),
        (Frame("SEND", {"a" * 100: "\0"}), f"header '{'a' * 40}': an empty name"),
        (Frame("CONNECT", {"a" * 100: "\n"}), f"header '{'a' * 40}': a colon"),
        (Frame("SEND", {"content-length": "3"}, "four"), "but the body has 4"),
        (Frame("CONNECT", {"a:b": "c"}), "cannot be escaped"),
        (Frame("CONNECT", {"a": "b\nc"}), "cannot be escaped"),
        (Frame("SEND", {"a": "\ud800"}), "surrogate"),
    ],
)
def test_a_frame_that_no_text_can_carry_is_named(frame: Frame, words: str) -> None:
    with pytest.raises(StompError, match=words):
        encode(frame)
