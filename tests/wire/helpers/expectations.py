"""The amended script against what a worker sends: every difference is kept in words."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from iexworker.poco.hashing import keccak, lenient_bytes
from iexworker.poco.signatures import recover
from tests.wire.helpers.divergences import NO_ANSWER
from tests.wire.helpers.run_script import (
    DEMAND,
    PING,
    SEND,
    SESSION,
    STREAM,
    Event,
    Script,
    channel_of,
)

JWT = "<jwt>"
"""As the recordings write it, so that headers can be compared as they are."""
CHALLENGE = "GET /workers/challenge"
LOGIN = "POST /workers/login"
REGISTER = "POST /workers/register"
OF_THE_MACHINE = ("memorySize", "cpu")
"""Fields of a registration; the recorded worker of 9.2 got the memory wrong besides (03, 5.3)."""
COMPARED_HEADERS = ("content-type", "accept", "authorization")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came, a STOMP frame being one of its own."""

    line: str
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peer says."""

    status: int
    value: Any = None
    content_type: str | None = None

    @classmethod
    def of(cls, event: Event) -> Answer:
        """Return the recorded answer."""
        return cls(event.status, event.answer, event.content_type)

    @classmethod
    def text(cls, value: str) -> Answer:
        """Return a plain text."""
        return cls(200, value, "text/plain;charset=UTF-8")

    def encode(self) -> bytes:
        """Return the body as it travels."""
        if self.value is None:
            return b""
        if self.content_type is not None and self.content_type.startswith("text/"):
            return str(self.value).encode()
        return json.dumps(self.value).encode()


def differences(expected: Any, found: Any, path: str = "") -> Iterator[str]:
    """Yield each field that differs between two JSON values."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            if key not in found:
                yield f"{path}.{key} is missing"
            elif key not in expected:
                yield f"{path}.{key} is not recorded: {found[key]!r}"
            else:
                yield from differences(expected[key], found[key], f"{path}.{key}")
    elif type(expected) is not type(found) or expected != found:
        yield f"{path}: recorded {expected!r}, sent {found!r}"


class Expectations:
    """Takes what the worker sends, gives the recorded answers; all its threads meet here."""

    def __init__(self, script: Script, push: Callable[[str], None]) -> None:
        self._script = script
        self._push = push
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._channels: dict[str, deque[Event]] = {}
        self._topics: set[str] = set()
        self._ended: set[str] = set()
        self._challenge = ""
        self.differences: list[str] = []
        self.count = 0
        """Of events that have happened."""

    def begin(self, start: int) -> None:
        """Expect what passes in this start, from 1."""
        with self._lock:
            self._channels.clear()
            self._topics.clear()
            for event in self._script.starts[start - 1]:
                self._channels.setdefault(event.channel, deque()).append(event)

    def take(self, asked: Asked) -> Answer:
        """Compare a request with what is due in its channel, and return the answer to it."""
        channel = channel_of(asked.line, asked.body)
        with self._lock:
            due = next(iter(self._channels.get(channel, ())), None)
            if due is not None and due.line == asked.line and self._may_happen(due):
                return self._happen(due, asked)
            return self._sample(asked) or self._unexpected(asked, due)

    def release(self) -> None:
        """Push what is due: to be called when an answer is on its way."""
        with self._lock:
            for events in self._channels.values():
                while events and events[0].push and self._reachable(events[0]):
                    self._push(events.popleft().push)
                    self._note()

    def wait(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `until` holds, which is looked at after everything that happens."""
        with self._changed:
            return self._changed.wait_for(until, timeout_s)

    def complete(self) -> bool:
        """Tell whether all of the present start has happened; under the lock of `wait`."""
        return not any(self._channels.values())

    def outstanding(self) -> list[str]:
        """Return what is due in each channel, in words."""
        with self._lock:
            return [_words(events[0]) for events in self._channels.values() if events]

    def ended(self) -> Collection[str]:
        """Return the tasks whose replay has ended before their end."""
        return frozenset(self._ended)

    def _reachable(self, event: Event) -> bool:
        return event.channel == STREAM or event.task_id in self._topics

    def _may_happen(self, due: Event) -> bool:
        """Tell whether it is time: a grant comes after all that the recordings show before it."""
        if due.channel in (PING, DEMAND) and not self._ready_for(due.channel):
            return False
        if due.grant is None:
            return True
        return not any(
            event.at_s < due.at_s for events in self._channels.values() for event in events
        )

    def _ready_for(self, channel: str) -> bool:
        """Tell whether the worker has registered, and for a demand recovered too."""
        due = [event.line for event in self._channels.get(SESSION, ())]
        return REGISTER not in due if channel == PING else not due

    def _happen(self, due: Event, asked: Asked) -> Answer:
        self.differences += [f"{due.where} {due.line}{words}" for words in _compare(due, asked)]
        self._channels[due.channel].popleft()
        if due.line == f"{SEND} SUBSCRIBE":
            self._topics.add(due.task_id)
        if due.line.startswith(CHALLENGE):
            self._challenge = due.answer
        if due.ends:
            self._ended.add(due.task_id)
        self._note()
        return Answer.of(due)

    def _note(self) -> None:
        self.count += 1
        self._changed.notify_all()

    def _sample(self, asked: Asked) -> Answer | None:
        """Answer what the recordings hold samples of, or nothing, because they are excerpts."""
        channel = channel_of(asked.line, asked.body)
        if channel in (PING, DEMAND):
            return self._another(asked, channel)
        if asked.line == f"{SEND} UNSUBSCRIBE":
            return Answer(204)  # names no task, so the excerpts made by task lack it
        if asked.line.startswith(LOGIN):
            return self._log_in(asked)
        if channel.startswith("upload ") and not self._channels.get(channel):
            return self._upload(asked, channel.partition(" ")[2])
        return None

    def _another(self, asked: Asked, channel: str) -> Answer | None:
        """Answer one more ping or demand, which are made all the time once we are registered."""
        if not self._ready_for(channel) or asked.headers.get("authorization") != f"Bearer {JWT}":
            return None
        if channel == DEMAND:
            return Answer(204)
        pings = (event for event in self._script.events() if event.channel == PING)
        return next(Answer.of(event) for event in pings if event.status == 200)

    def _log_in(self, asked: Asked) -> Answer:
        """Judge the signature as the scheduler does: no recording holds a login."""
        signer = recover(keccak(lenient_bytes(self._challenge)), asked.body["value"])
        if asked.line != f"{LOGIN}?walletAddress={signer}":
            self._differ(f"{asked.line}: signed by {signer}")
        return Answer.text(JWT)

    def _upload(self, asked: Asked, task_id: str) -> Answer:
        """Play the result proxy where no recording does; the result's hash is in an update."""
        if asked.line == "POST /v1/results/token":
            return Answer.text(JWT)
        prefix = "/ipfs/" if asked.line == "POST /v1/results" else ""
        return Answer.text(prefix + self._script.link(task_id))

    def _unexpected(self, asked: Asked, due: Event | None) -> Answer:
        if any(task_id in json.dumps([asked.line, asked.body]) for task_id in self._ended):
            return Answer(NO_ANSWER)
        words = "nothing" if due is None else _words(due)
        self._differ(f"{asked.line} {json.dumps(asked.body)}: due was {words}")
        return Answer(NO_ANSWER)

    def _differ(self, words: str) -> None:
        self.differences.append(words)
        self._changed.notify_all()


def _words(event: Event) -> str:
    status = event.body.get("status", "") if isinstance(event.body, dict) else ""
    return f"{event.where} {event.line or event.push[:200]} {status}".rstrip()


def _compare(due: Event, asked: Asked) -> Iterator[str]:
    expected, found = due.body, asked.body
    if due.line == REGISTER:
        aside = {key: found.get(key) for key in OF_THE_MACHINE if key in expected}
        expected = expected | aside
    yield from differences(expected, found)
    if due.headers:
        wanted = {key: due.headers[key] for key in COMPARED_HEADERS if key in due.headers}
        yield from differences(wanted, {key: asked.headers.get(key) for key in wanted}, " headers")
        if "authorization" not in due.headers and "authorization" in asked.headers:
            yield " headers: authorization sent"
