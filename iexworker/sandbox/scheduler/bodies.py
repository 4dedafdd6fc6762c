"""What workers send, read as strictly as the real one reads it (docs/spec/03, 2.2, 5.3, 8.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iexworker.sandbox.scheduler.causes import known_causes
from iexworker.sandbox.scheduler.models import Details, Profile, ReplicateStatus

LOG_LIMIT = 100_000
"""Characters of each stream that are kept, the last ones (8.3)."""


class Unreadable(ValueError):
    """The body is not what the call takes: 400."""


class Unexpected(ValueError):
    """The body reads well and lacks what the code behind needs: the real one fails with a 500."""


@dataclass(frozen=True, slots=True)
class Registration:
    """`WorkerModel` (5.3)."""

    name: str
    os: str
    cpu: str
    cpu_count: int
    memory_gib: int
    tee: bool
    gpu: bool
    tdx: bool


def registration(body: object) -> Registration:
    """Read a `WorkerModel`; the address in it is not looked at."""
    data = _object(body, "worker")
    return Registration(
        name=_text(data, "name") or "",
        os=_text(data, "os") or "",
        cpu=_text(data, "cpu") or "",
        cpu_count=_integer(data, "cpuNb") or 0,
        memory_gib=_integer(data, "memorySize") or 0,
        tee=_flag(data, "teeEnabled"),
        gpu=_flag(data, "gpuEnabled"),
        tdx=_flag(data, "tdxEnabled"),
    )


def signature(body: object) -> str:
    """Read a `Signature`."""
    value = _text(_object(body, "signature"), "value")
    if value is None:
        raise Unexpected("value: null")
    return value


def status_update(body: object, profile: Profile) -> tuple[ReplicateStatus, Details]:
    """Read a `ReplicateStatusUpdate`; modifier, date and success flag are not looked at."""
    data = _object(body, "status update")
    status = _text(data, "status")
    if status is not None and status not in ReplicateStatus.__members__:
        raise Unreadable(f"status: unknown {status!r}")
    details = _details(data.get("details"), profile)
    if status is None:
        raise Unexpected("status: null")
    return ReplicateStatus[status], details


def _details(body: object, profile: Profile) -> Details:
    if body is None:
        return Details()
    data = _object(body, "details")
    cause = _text(data, "cause")
    if cause is not None and cause not in known_causes(profile):
        raise Unreadable(f"cause: unknown {cause!r}")
    receipt, logs = data.get("chainReceipt"), data.get("computeLogs")
    logs = _object({} if logs is None else logs, "computeLogs")
    receipt = _object({} if receipt is None else receipt, "chainReceipt")
    _text(receipt, "txHash")
    return Details(
        receipt_block=_integer(receipt, "blockNumber") or 0,
        result_link=_text(data, "resultLink"),
        callback_data=_text(data, "chainCallbackData"),
        cause=cause,
        stdout=(_text(logs, "stdout") or "")[-LOG_LIMIT:],
        stderr=(_text(logs, "stderr") or "")[-LOG_LIMIT:],
        exit_code=_integer(data, "exitCode"),
    )


def _object(body: object, name: str) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise Unreadable(f"{name}: expected an object")
    return body


def _text(data: Mapping[str, Any], key: str) -> str | None:
    value = data.get(key)
    if value is None or isinstance(value, str):
        return value
    raise Unreadable(f"{key}: expected a text")


def _integer(data: Mapping[str, Any], key: str) -> int | None:
    value = data.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise Unreadable(f"{key}: expected a number")


def _flag(data: Mapping[str, Any], key: str) -> bool:
    value = data.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise Unreadable(f"{key}: expected true or false")
