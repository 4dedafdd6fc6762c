"""The script of a run: what the recordings say that passes between a worker and its peers.

The recordings of one generation are excerpts of one run: the session, and beside it each task cut
out by its id. Here they are put together again. A run has starts (the Java worker was restarted
in its middle), a start has channels, and only within a channel does the order count: one for each
task's updates, for its topic and its upload, one each for session, stream, ping and demand.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iexworker.core import sockjs, stomp

WIRE = Path(__file__).parents[1]
WALLET = "0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc"
FACTS: Mapping[str, Any] = tomllib.loads((WIRE / "worker-facts.toml").read_text())

SESSION, STREAM, PING, DEMAND = "session", "stream", "ping", "demand"
CONFIG = "GET /workers/config"
AVAILABLE = "GET /replicates/available?blockNumber=N"
STREAMING = "POST /connect/xhr_streaming"
SEND = "POST /connect/xhr_send"

RUNS: Mapping[str, Mapping[str, float]] = {
    # Seconds into the run at which each recording begins; an uploader's has a clock of its own.
    "8.5": {
        "8.5-session": 0.0,
        "8.5-standard": 47.472,
        "8.5-appfail": 92.472,
        "8.5-noimage": 107.472,
        "8.5-crash": 122.481,
        "8.5-resultproxy": math.inf,
    },
    "9.2": {
        "9.2-session": 0.0,
        "9.2-standard": 153.773,
        "9.2-appfail": 288.773,
        "9.2-noimage": 313.773,
        "9.2-badinput": 333.773,
        "9.2-callback": 353.796,
        "9.2-resultproxy": math.inf,
    },
}
SAME_S = 1.0
"""Two recordings of one run place an event that they share this near to each other."""

_VOLATILE = (
    (re.compile(r"blockNumber=\d+"), "blockNumber=N"),
    (re.compile(r" /connect/[^/]+/[^/]+/"), " /connect/"),
)
_TASK_ID = re.compile(r"0x[0-9a-f]{64}")
_FIRST_LINES = {"h x 2048": sockjs.PRELUDE}


@dataclass(frozen=True, slots=True)
class Event:
    """A request and its answer, or something that the scheduler pushes."""

    where: str
    """The recording and the number of the event in it, such as `8.5-crash[3]`."""
    at_s: float
    channel: str
    line: str = ""
    """Method and path of a request, volatile parts named; empty for a push."""
    body: Any = None
    """JSON; for a STOMP frame its headers."""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    content_type: str | None = None
    answer: Any = None
    push: str = ""
    """The SockJS line."""
    ends: bool = False
    """What the worker sends for the task after this is not known to any recording."""

    @property
    def grant(self) -> Mapping[str, Any] | None:
        """The authorisation that this answer to a demand brings."""
        granted = self.line == AVAILABLE and self.status == 200
        return self.answer["workerpoolAuthorization"] if granted else None

    @property
    def task_id(self) -> str:
        """The task of a channel that belongs to one, else empty."""
        found = _TASK_ID.search(self.channel)
        return found[0] if found else ""

    def same_as(self, other: Event) -> bool:
        """Tell whether two recordings of one run show the same thing here."""
        return abs(self.at_s - other.at_s) < SAME_S and (
            (self.channel, self.line, self.body, self.push)
            == (other.channel, other.line, other.body, other.push)
        )


def line_of(method_and_target: str) -> str:
    """Return a request's line with a name in place of what differs from run to run."""
    for pattern, name in _VOLATILE:
        method_and_target = pattern.sub(name, method_and_target)
    return method_and_target


def channel_of(line: str, body: Any) -> str:
    """Return the channel within which the order of this request counts."""
    found = _TASK_ID.search(line) or _TASK_ID.search(json.dumps(body))
    task_id = found[0] if found else ""
    target = line.partition(" ")[2]
    if target.startswith("/v1/results"):
        return f"upload {task_id}"
    if target.startswith("/connect"):
        return f"topic {task_id}" if task_id else STREAM
    if target.endswith("/updateStatus"):
        return f"task {task_id}"
    return {"POST /workers/ping": PING, AVAILABLE: DEMAND}.get(line, SESSION)


def frame_of(text: str, topics: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the line and the body of a frame that a worker sends; ids become destinations."""
    frame = stomp.decode(text)
    headers = dict(frame.headers)
    identifier = headers.pop("id", None)
    if frame.command == "UNSUBSCRIBE" and identifier is not None:
        headers["destination"] = topics[identifier]
    return f"{SEND} {frame.command}", headers


@dataclass(frozen=True, slots=True)
class Script:
    """What should pass in one run, start by start."""

    starts: tuple[tuple[Event, ...], ...]

    def events(self) -> Iterator[Event]:
        """Yield every event of every start."""
        for start in self.starts:
            yield from start

    def updates(self, task_id: str, start: int) -> dict[str, Any]:
        """Return the bodies of a task's updates by status, up to and with this start (from 1)."""
        return {
            event.body["status"]: event.body
            for events in self.starts[:start]
            for event in events
            if event.channel == f"task {task_id}" and event.line
        }

    def grants(self) -> dict[str, Mapping[str, Any]]:
        """Return the authorisation of each granted task."""
        found = (event.grant for event in self.events())
        return {grant["chainTaskId"]: grant for grant in found if grant is not None}

    def uploads(self) -> dict[str, Mapping[str, Any]]:
        """Return the recorded body of each upload."""
        return {
            event.task_id: event.body
            for event in self.events()
            if event.line == "POST /v1/results" and event.body
        }

    def link(self, task_id: str) -> str:
        """Return the IPFS hash of a task's result."""
        updates = self.updates(task_id, len(self.starts))
        link = json.loads(updates["RESULT_UPLOADED"]["details"]["resultLink"])
        return str(link["location"]).rpartition("/")[2]


def raw_events(recording: str) -> list[dict[str, Any]]:
    """Return a recording's events as its file has them."""
    events: list[dict[str, Any]] = json.loads((WIRE / f"{recording}.json").read_text())["events"]
    return events


def script(run: str, recordings: Mapping[str, list[Event]]) -> Script:
    """Put the recordings of a run together, each of them as `recorded` gave it or as amended."""
    merged: list[Event] = []
    for name, offset_s in RUNS[run].items():
        moved = [replace(event, at_s=event.at_s + offset_s) for event in recordings[name]]
        merged += [event for event in moved if not any(map(event.same_as, merged))]
    merged += list(_ways(run, recordings, merged))
    merged.sort(key=lambda event: event.at_s)
    return Script(tuple(tuple(_with_connects(start)) for start in _starts(merged)))


def recorded(run: str) -> dict[str, list[Event]]:
    """Return the events of a run's recordings, without the scheduler's own calls."""
    topics = dict(_topics(run))
    return {
        name: [
            event
            for index, raw in enumerate(raw_events(name))
            if not _is_of_scheduler(raw)
            for event in _events(f"{name}[{index}]", raw, topics)
        ]
        for name in RUNS[run]
    }


def _topics(run: str) -> Iterator[tuple[str, str]]:
    """Yield the subscription ids of the first start with their destinations."""
    for task_id, way in FACTS["way"].items():
        if way["like"] in RUNS[run]:
            yield str(way["subscription"]), f"/topic/task/{task_id}"
    for name in RUNS[run]:
        for raw in raw_events(name):
            for text in raw["body"] if "xhr_send" in raw.get("request", "") else ():
                frame = stomp.decode(text)
                if frame.command == "SUBSCRIBE":
                    yield frame.headers["id"], frame.headers["destination"]


def _is_of_scheduler(raw: Mapping[str, Any]) -> bool:
    """Tell whether the scheduler made this request; it asks the result proxy too."""
    request = raw.get("request", "")
    other = request.endswith("/token") and raw["body"]["workerWallet"] != WALLET
    return bool(request.startswith("HEAD ") or other)


def _events(where: str, raw: Mapping[str, Any], topics: Mapping[str, str]) -> Iterator[Event]:
    if "sockjs" in raw:
        found = _TASK_ID.search(raw["sockjs"])
        channel = f"task {found[0]}" if found else STREAM
        push = _FIRST_LINES.get(raw["sockjs"], raw["sockjs"])
        yield Event(where, raw["t"], channel, push=push)
        return
    line = line_of(raw["request"])
    sent = [(line, raw["body"])]
    if line == SEND:
        sent = [frame_of(text, topics) for text in raw["body"]]
    for name, body in sent:
        yield Event(
            where,
            raw["t"],
            channel_of(name, body),
            name,
            body,
            raw["headers"],
            raw["status"],
            raw["response_headers"].get("content-type"),
            raw.get("response"),
        )


def _ways(
    run: str, recordings: Mapping[str, list[Event]], merged: Iterable[Event]
) -> Iterator[Event]:
    """Yield the way of each task that was granted but not recorded: that of one like it."""
    granted = {event.grant["chainTaskId"]: event for event in merged if event.grant}
    for task_id, way in FACTS["way"].items():
        if task_id in granted:
            yield from _way(task_id, granted[task_id], recordings[way["like"]], merged)


def _way(
    task_id: str, granted: Event, like: list[Event], merged: Iterable[Event]
) -> Iterator[Event]:
    first = next(event for event in like if event.grant)
    stored = next(
        (
            event.answer
            for event in merged
            if event.channel == f"upload {task_id}" and event.line.endswith("/ipfshash")
        ),
        None,
    )
    for event in like:
        if event is first:
            continue
        other = first.grant["chainTaskId"] if first.grant else ""
        text = json.dumps([event.channel, event.line, event.body, event.push])
        channel, line, body, push = json.loads(text.replace(other, task_id))
        if stored is not None and line and channel.startswith("task "):
            body = json.loads(re.sub(r"/ipfs/\w+", f"/ipfs/{stored}", json.dumps(body)))
        yield replace(
            event,
            where=f"{event.where} for {task_id[:10]}",
            at_s=event.at_s - first.at_s + granted.at_s,
            channel=channel,
            line=line,
            body=body,
            push=push,
        )


def _starts(merged: list[Event]) -> Iterator[list[Event]]:
    """Yield what belongs to each start of the worker, which asks for the configuration first."""
    begins = [event.at_s for event in merged if event.line == CONFIG]
    ends = [*begins[1:], math.inf]
    for begin_s, end_s in zip(begins, ends, strict=True):
        yield [
            event
            for event in merged
            # An uploader's clock says nothing; all recorded uploads were made in the first start.
            if begin_s <= event.at_s < end_s or (event.at_s == math.inf and begin_s == begins[0])
        ]


def _with_connects(start: Iterable[Event]) -> Iterator[Event]:
    """Yield the events; a CONNECTED whose CONNECT fell out of the recording gets one."""
    asked = False
    for event in start:
        asked = asked or event.line == f"{SEND} CONNECT"
        if event.push.startswith('a["CONNECTED') and not asked:
            headers = {"heart-beat": "10000,10000", "accept-version": "1.1,1.2"}
            where = f"{event.where}, before"
            yield Event(where, event.at_s, STREAM, f"{SEND} CONNECT", headers, status=204)
        yield event
