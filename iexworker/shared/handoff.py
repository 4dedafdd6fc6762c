"""What is ordered of a slot and what the slot found, as files of the task's folder.

Messages between `scheduling` and `compute` only wake; the truth is here:
`order.json` is written before the first order of a task is sent, `outcome-<step>.json` before
the step's outcome is sent. Both survive a crash of either side.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from iexworker import durable_files
from iexworker.poco.models import DealParams, Profile, TaskDescription

log = logging.getLogger(__name__)

STEPS = ("app", "data", "compute")
"""PLEASE_DOWNLOAD_APP, PLEASE_DOWNLOAD_DATA and PLEASE_COMPUTE, as orders name them."""

_GONE = frozenset({"container_ms"})
"""Fields of an outcome that earlier versions wrote."""

LOG_TAIL = 100_000
"""Characters of each stream that an update carries (docs/spec/06, section 12)."""


def description_to_json(description: TaskDescription) -> dict[str, Any]:
    """Return the description as a JSON object, field by field."""
    return dataclasses.asdict(description)


def description_from_json(data: Mapping[str, Any]) -> TaskDescription:
    """Read what `description_to_json` wrote; raises `TypeError`, `KeyError` on any other shape."""
    params = dict(data["params"])
    if params["input_files"] is not None:
        params["input_files"] = tuple(params["input_files"])
    return TaskDescription(**{**data, "params": DealParams(**params)})


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """All that a slot needs to work on a task; the rest are the settings, which it has."""

    description: TaskDescription
    profile: Profile
    """The one that the task was granted under, whatever the scheduler speaks now."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of `order.json`."""
        return {
            "profile": self.profile.value,
            "description": description_to_json(self.description),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read `order.json`; raises `TypeError`, `KeyError` or `ValueError` on another shape."""
        return cls(description_from_json(data["description"]), Profile(data["profile"]))


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What became of one attempt at a step, in the words of the update that reports it."""

    task_id: str
    step: str
    """One of `STEPS`."""
    attempt: int
    ok: bool
    """APP_DOWNLOADED, DATA_DOWNLOADED or COMPUTED when true, else the step's `_FAILED`."""
    cause: str | None = None
    """The wire's cause; None when ok, and where upstream sends none."""
    message: str = ""
    """For people and logs: what went wrong, also where profile 9 reports COMPUTED all the same."""
    exit_code: int | None = None
    """As the update carries it: profile 9, and a failed app in profile 8; -1 without an exit."""
    with_logs: bool = False
    """The update carries `computeLogs`, be they empty."""
    stdout_tail: str = ""
    stderr_tail: str = ""
    digest: str | None = None
    """0x + 64 hex, when there is a result: a computed one, or the error result of a download."""
    callback_data: str | None = None
    """The computed file's callback data, as written by the app."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of `outcome-<step>.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave, in this version or before; raises `TypeError` for the rest."""
        return cls(**{name: value for name, value in data.items() if name not in _GONE})


def order_path(folder: Path) -> Path:
    """Return where the order of the task of `folder` is."""
    return folder / "order.json"


def outcome_path(folder: Path, step: str) -> Path:
    """Return where the outcome of `step` is."""
    return folder / f"outcome-{step}.json"


def write_order(folder: Path, order: TaskOrder) -> None:
    """Write `order.json`, folder included, on the disk at return; raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    durable_files.write(order_path(folder), _encode(order.to_json()))
    durable_files.sync(folder.parent)


def read_order(folder: Path) -> TaskOrder | None:
    """Return the task's order; None, with a warning when there is a file, if it cannot be read."""
    data = _load(order_path(folder))
    try:
        return None if data is None else TaskOrder.from_json(data)
    except (TypeError, KeyError, ValueError) as error:
        log.warning("order unreadable", extra={"task": folder.name, "error": repr(error)})
        return None


def write_outcome(folder: Path, outcome: StepOutcome) -> None:
    """Write `outcome-<step>.json`, on the disk at return; raises `OSError`."""
    durable_files.write(outcome_path(folder, outcome.step), _encode(outcome.to_json()))


def read_outcome(folder: Path, step: str, attempt: int | None = None) -> StepOutcome | None:
    """Return what a slot found at `step`; None if it found nothing (yet) at that attempt."""
    data = _load(outcome_path(folder, step))
    try:
        outcome = None if data is None else StepOutcome.from_json(data)
    except TypeError as error:
        log.warning("outcome unreadable", extra={"task": folder.name, "error": repr(error)})
        return None
    if outcome is None or attempt not in (None, outcome.attempt):
        return None
    return outcome


def tail(text: str) -> str:
    """Return the last `LOG_TAIL` characters, counted as Java does (UTF-16 code units)."""
    if len(text) * 2 <= LOG_TAIL:
        return text
    units = text.encode("utf-16-le", "surrogatepass")[-2 * LOG_TAIL :]
    return units.decode("utf-16-le", "ignore")


def _encode(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=True, indent=1).encode()


def _load(path: Path) -> Mapping[str, Any] | None:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("file unreadable", extra={"path": str(path), "error": repr(error)})
        return None
    return data if isinstance(data, dict) else None
