"""Where the recorded Java worker is rightly not followed: the entries of divergences.toml.

An entry amends the script, and the replay holds the worker to the amended script without any
leniency. So a difference without an entry fails, and an entry that is not needed fails too.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.wire.helpers.run_script import Event, channel_of

PATH = Path(__file__).parents[1] / "divergences.toml"
JUST_AFTER_S = 1e-6
NO_ANSWER = 503
"""What a scheduler says that cannot do its work; a worker then asks again, with pauses."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """What we send instead of some events of a recording."""

    recording: str
    events: tuple[int, ...]
    why: str
    instead: str
    unsent: bool = False
    after: tuple[int, ...] = ()
    """For each event, that after which we send it."""
    fields: Mapping[str, Any] | None = None
    """Fields of the body with our values."""
    then: tuple[tuple[str, Any, Any], ...] = ()
    """Line, body and answer of requests that we send besides, right after the event."""
    ends: bool = False
    """The last of `then` ends the replay of its task: no recording knows the answer."""

    def places(self) -> Iterator[str]:
        """Yield the events as they are called elsewhere."""
        for index in self.events:
            yield f"{self.recording}[{index}]"


def divergences(path: Path = PATH) -> list[Divergence]:
    """Return the entries; raises `TypeError` or `KeyError` for one of another shape."""
    with path.open("rb") as file:
        entries = tomllib.load(file)["divergence"]
    return [_divergence(dict(entry)) for entry in entries]


def _divergence(entry: dict[str, Any]) -> Divergence:
    fields = entry.pop("fields_json", None)
    then = json.loads(entry.pop("then_json", "[]"))
    return Divergence(
        events=tuple(entry.pop("events")),
        after=tuple(entry.pop("after", ())),
        fields=None if fields is None else json.loads(fields),
        then=tuple((line, body, next(iter(answer), None)) for line, body, *answer in then),
        **entry,
    )


def amend(entry: Divergence, recordings: dict[str, list[Event]]) -> dict[str, list[Event]]:
    """Return the recordings with the worker's own way; raises `ValueError` if nothing changes."""
    events = recordings[entry.recording]
    known = {event.where for event in events if event.line}
    missing = [place for place in entry.places() if place not in known]
    if missing:
        raise ValueError(f"no request of a worker: {', '.join(missing)}")
    amended = list(_amended(entry, events))
    if amended == events:
        raise ValueError(f"changes nothing: {entry.recording} {entry.events}")
    return recordings | {entry.recording: amended}


def _amended(entry: Divergence, events: list[Event]) -> Iterator[Event]:
    places = list(entry.places())
    instants_s = {event.where: event.at_s for event in events}
    for event in events:
        if event.where not in places:
            yield event
            continue
        if not entry.unsent:
            yield _changed(entry, event, instants_s)
        for number, (line, body, answer) in enumerate(entry.then, start=1):
            at_s = event.at_s + number * JUST_AFTER_S
            last = entry.ends and number == len(entry.then)
            yield _own(event.where, at_s, line, body, answer, ends=last)


def _changed(entry: Divergence, event: Event, instants_s: Mapping[str, float]) -> Event:
    if entry.after:
        place = f"{entry.recording}[{entry.after[list(entry.places()).index(event.where)]}]"
        event = replace(event, at_s=instants_s[place] + JUST_AFTER_S)
    if entry.fields is not None:
        event = replace(event, body={**event.body, **entry.fields})
    return event


def _own(where: str, at_s: float, line: str, body: Any, answer: Any, *, ends: bool) -> Event:
    """Return a request that only we make."""
    return Event(
        f"{where}, then",
        at_s,
        channel_of(line, body),
        line,
        body,
        headers={},
        status=NO_ANSWER if ends else 204 if answer is None else 200,
        answer=answer,
        ends=ends,
    )
