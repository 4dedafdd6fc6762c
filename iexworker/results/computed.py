"""computed.json: what the app says its result is (docs/spec/06, section 9)."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from iexworker import java_text
from iexworker.errors import WorkerError
from iexworker.poco.hashing import is_bytes32
from iexworker.poco.models import TaskDescription
from iexworker.results import digest

MOST_BYTES = 16 << 20

_KEYS = {
    "deterministic_output_path": "deterministic-output-path",
    "callback_data": "callback-data",
    "task_id": "task-id",
    "result_digest": "result-digest",
    "enclave_signature": "enclave-signature",
    "error_message": "error-message",
}


class NoComputedFile(WorkerError):
    """computed.json is missing, empty, or no JSON object of the known shape."""


@dataclass(frozen=True, slots=True)
class ComputedFile:
    """The file's keys; all are optional."""

    deterministic_output_path: str | None = None
    callback_data: str | None = None
    task_id: str | None = None
    result_digest: str | None = None
    enclave_signature: str | None = None
    error_message: str | None = None

    def to_bytes(self) -> bytes:
        """Return the file as upstream writes it: all keys in this order, null where absent."""
        return json.dumps({key: getattr(self, name) for name, key in _KEYS.items()}).encode()

    @classmethod
    def from_bytes(cls, data: bytes, task_id: str) -> ComputedFile:
        """Read the file; the task id is ours whatever it says. Raises `NoComputedFile`.

        As the upstream worker and the result proxy read it (`java_text.py`): UTF-8 without a byte
        order mark, bytes that are none replaced.
        """
        try:
            values = java_text.texts(java_text.decode(data), _KEYS.values())
        except java_text.NotRead as error:
            raise NoComputedFile(f"computed.json: {error}") from None
        known = {name: values.get(key) for name, key in _KEYS.items()}
        return cls(**{**known, "task_id": task_id})


def read(path: Path, task_id: str) -> ComputedFile:
    """Read the file at `path`; raises `NoComputedFile`."""
    return ComputedFile.from_bytes(read_bytes(path), task_id)


def read_bytes(path: Path) -> bytes:
    """Return the content of a computed.json that an app wrote; raises `NoComputedFile`.

    A link that the app put in its place is followed within its folder only, a pipe not waited for.
    """
    try:
        target = path.resolve(strict=True)
        if not target.is_relative_to(path.parent.resolve()):
            raise NoComputedFile("computed.json: a link that leads out of the output")
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
                raise NoComputedFile("computed.json: no file, or too large")
            return file.read()
    except FileNotFoundError:
        raise NoComputedFile("computed.json: the app has written none") from None
    except (OSError, RuntimeError) as error:
        # RuntimeError: a circle of links.
        raise NoComputedFile(f"computed.json: {error}") from None


def result_digest(computed: ComputedFile, description: TaskDescription, output: Path) -> str:
    """Return the digest to be contributed; raises `digest.NoDigest`.

    One that the file carries is taken as it is, as upstream takes it, if it can be revealed too:
    any text has a hash to be contributed, but only 32 bytes have a reveal (docs/spec/05, 4.1).
    """
    if computed.result_digest:
        if not is_bytes32("0x" + computed.result_digest.removeprefix("0x")):
            raise digest.NoDigest("the result-digest in computed.json is not 32 bytes")
        return computed.result_digest
    if description.has_callback:
        return digest.of_callback(computed.callback_data)
    return digest.of_path(output, computed.deterministic_output_path)
