"""Queues between processes: whole messages, no lock left by the dead, garbage dropped."""

from __future__ import annotations

import logging
import os
import queue
import random
import selectors
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from iexworker.shared import channels
from iexworker.shared.channels import Cancel, Channel, Hello, Message, Order, Outcome, Stop, Token

TASK = "0x" + "ab" * 32


@pytest.fixture
def channel() -> Iterator[Channel]:
    made = Channel("test")
    yield made
    made.close()


@pytest.mark.parametrize(
    "message",
    [Order(TASK, "compute", 2), Cancel(TASK), Outcome(TASK, "x", 1, False), Token("é"), Stop(1.5)],
)
def test_a_message_arrives_as_it_was_sent(channel: Channel, message: Message) -> None:
    channel.put(message)
    assert channel.get(timeout=10) == message
    assert channel.empty()


def test_a_whole_number_of_seconds_arrives_as_a_float(channel: Channel) -> None:
    channel.put(Stop(10))
    assert channel.get_nowait() == Stop(10.0)


def test_messages_keep_their_order(channel: Channel) -> None:
    for attempt in range(10):
        channel.put_nowait(Order(TASK, "compute", attempt))
    got = [channel.get_nowait() for _ in range(10)]
    assert got == [Order(TASK, "compute", attempt) for attempt in range(10)]


def test_an_empty_channel_raises_empty_at_once_or_after_the_timeout(channel: Channel) -> None:
    with pytest.raises(queue.Empty):
        channel.get_nowait()
    begin = time.monotonic()
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.05)
    assert time.monotonic() - begin >= 0.05


def test_a_full_channel_raises_full_and_has_room_again_after_a_read(channel: Channel) -> None:
    big = Token("x" * 4000)
    sent = 0
    with pytest.raises(queue.Full):
        while True:
            channel.put_nowait(big)
            sent += 1
    with pytest.raises(queue.Full):
        channel.put(big, timeout=0.05)
    assert sent > 10
    assert all(channel.get_nowait() == big for _ in range(sent))
    channel.put_nowait(big)


def test_a_blocked_writer_goes_on_when_the_reader_reads(channel: Channel) -> None:
    big = Token("x" * 60_000)
    with pytest.raises(queue.Full):
        while True:
            channel.put_nowait(big)
    writer = threading.Thread(target=channel.put, args=(Cancel(TASK),))
    writer.start()
    while channel.get(timeout=5) != Cancel(TASK):
        pass
    writer.join(5)
    assert not writer.is_alive()


def test_a_message_past_the_limit_is_refused_by_its_writer(channel: Channel) -> None:
    with pytest.raises(ValueError, match="put it in a file"):
        channel.put(Token("x" * channels.MAX_MESSAGE_BYTES))


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x80\x04",
        b"{}",
        b"[]",
        b"[[]]",
        b'["Unknown"]',
        b'["Cancel", 1]',
        b'["Cancel"]',
        b'["Order", "a", "b", true]',
        b'["Token", "a", "b"]',
    ],
)
def test_garbage_is_logged_and_dropped(
    channel: Channel, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    channel._writer.send(garbage)
    channel.put(Cancel(TASK))
    with caplog.at_level(logging.ERROR):
        assert channel.get(timeout=10) == Cancel(TASK)
    assert "message dropped" in caplog.text


def test_the_reading_end_wakes_a_selector(channel: Channel) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        assert selector.select(0) == []
        channel.put(Cancel(TASK))
        assert selector.select(1)


def test_a_channel_whose_other_end_is_closed_says_so(channel: Channel) -> None:
    channel._writer.close()
    with pytest.raises(EOFError, match="test"):
        channel.get()


def _fork_writer(channel: Channel) -> int:
    pid = os.fork()
    if pid == 0:
        attempt = 0
        while True:
            channel.put(Order(TASK, "x" * 4000, attempt))
            attempt += 1
    return pid


def _fork_reader(channel: Channel) -> int:
    pid = os.fork()
    if pid == 0:
        while True:
            channel.get()
    return pid


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_writers_killed_at_random_moments_leave_only_whole_messages(channel: Channel) -> None:
    for _ in range(40):
        pid = _fork_writer(channel)
        expected = 0
        until = time.monotonic() + random.uniform(0.001, 0.01)
        while time.monotonic() < until:
            expected = _read_one(channel, expected, timeout=10)
        _kill(pid)
        while not channel.empty():
            expected = _read_one(channel, expected, timeout=0)


def _read_one(channel: Channel, expected: int, timeout: float) -> int:
    message = channel.get(timeout=timeout)
    assert message == Order(TASK, "x" * 4000, expected)
    return expected + 1


def test_readers_killed_inside_get_do_not_starve_the_next_one(channel: Channel) -> None:
    for _ in range(20):
        pid = _fork_reader(channel)
        for attempt in range(200):
            channel.put(Order(TASK, "compute", attempt), timeout=5)
        _kill(pid)
        while not channel.empty():
            channel.get_nowait()
        channel.put(Hello("compute-0", 1))
        assert channel.get(timeout=10) == Hello("compute-0", 1)
