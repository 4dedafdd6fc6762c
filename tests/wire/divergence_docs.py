"""Print docs/spec/divergences.md: where this worker rightly does not do as upstream does.

`python -m tests.wire.divergence_docs` in a checkout writes it; a test fails when it is stale.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.wire.helpers.divergences import Divergence, divergences
from tests.wire.helpers.run_script import RUNS, Event, recorded

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors" / "divergences.toml"
TARGET = "docs/spec/divergences.md"

_HEAD = """\
# Divergences

Written by `python -m tests.wire.divergence_docs` from `tests/wire/divergences.toml` and
`tests/vectors/divergences.toml`; do not edit.

Recordings and vectors were made with upstream's worker. This worker is held to them field by
field, but for what stands here: each is a decision of the specification, by its document and
section, or a hazard (H and its number, document 04, section 14). The tests refuse a divergence that
is not needed. The sandbox's scheduler and result proxy answer every recording of standard tasks,
those of a worker that returns (`*-return-*`) too, as the real ones did, without any. Recordings of
TEE tasks are not replayed yet.
"""

_LONG_HEX = re.compile(r"(0x[0-9a-f]{6})[0-9a-f]{10,}")


@dataclass(frozen=True, slots=True)
class VectorCase:
    """A case of a vector that this worker answers in another way."""

    vector: str
    case: str
    reason: str


def vector_cases() -> list[VectorCase]:
    """Return the entries of the vectors' divergences.toml, in words."""
    entries = tomllib.loads(VECTORS.read_text(encoding="utf-8"))["divergence"]
    return [VectorCase(one["vector"], one["case"], one["reason"]) for one in entries]


def markdown() -> str:
    """Return docs/spec/divergences.md."""
    wire, cases = divergences(), vector_cases()
    events = {name: found for run in RUNS for name, found in recorded(run).items()}
    return "".join((_HEAD, *_counts(wire, cases), *_recordings(wire, events), *_vectors(cases)))


def _counts(wire: Sequence[Divergence], cases: Sequence[VectorCase]) -> Iterator[str]:
    requests, reasons = sum(len(one.events) for one in wire), {one.why for one in wire}
    recordings, vectors = {one.recording for one in wire}, {one.vector for one in cases}
    yield f"\n- {len(wire)} divergences from {len(recordings)} recordings: "
    yield f"{requests} requests, {len(reasons)} reasons\n"
    yield f"- {len(cases)} divergences from {len(vectors)} vectors\n"


def _recordings(wire: Sequence[Divergence], events: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    by_recording = {name: [one for one in wire if one.recording == name] for name in events}
    same = [f"`{name}`" for name, found in by_recording.items() if not found]
    yield "\n## Recordings\n\n"
    yield "A number in brackets is the place in the recording's list of events, from 0.\n"
    yield f"This worker does as recorded in {', '.join(same)}.\n"
    for name, found in by_recording.items():
        if found:
            yield f"\n### {name}: {len(found)}\n\n"
            yield "| recorded | this worker instead | why |\n|---|---|---|\n"
            yield from (_row(one, events[name]) for one in found)


def _row(entry: Divergence, events: Sequence[Event]) -> str:
    known = {event.where: event for event in events}
    named = [(_name(known[place]), place.partition("[")[2][:-1]) for place in entry.places()]
    recorded_as = "; ".join(
        f"[{', '.join(number for _, number in group)}] `{name}`"
        for name, group in groupby(named, key=lambda one: one[0])
    )
    return f"| {recorded_as} | {_cell(entry.instead)} | {_cell(entry.why)} |\n"


def _name(event: Event) -> str:
    """Name a request: its line, and the status that an update tells."""
    line = _LONG_HEX.sub(r"\1..", event.line)
    status = event.body.get("status") if isinstance(event.body, dict) else None
    return f"{line} {status}" if status else line


def _vectors(cases: Sequence[VectorCase]) -> Iterator[str]:
    yield "\n## Vectors\n\n| vector | case | why |\n|---|---|---|\n"
    for one in cases:
        yield f"| `{one.vector}` | {_cell(one.case)} | {_cell(one.reason)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write(checkout: Path) -> None:
    """Write the file into a checkout."""
    (checkout / TARGET).write_text(markdown(), encoding="utf-8")


if __name__ == "__main__":
    write(ROOT)
