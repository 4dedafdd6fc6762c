"""From what the app left in iexec_out to a result that can be contributed and uploaded.

docs/spec/06: section 8 (stdout.txt, stderr.txt), 10 (post-compute of standard tasks) and 13 (the
result that lets a workerpool agree on a failed download, whose text is hashed: to the letter).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from iexworker import durable_files, java_text
from iexworker.compute.blame import of_machine
from iexworker.compute.folders import TaskFolder
from iexworker.compute.streams import copy_as_text
from iexworker.errors import WorkerError
from iexworker.poco.models import Profile, TaskDescription
from iexworker.results import archive, computed, digest

log = logging.getLogger(__name__)

LONGEST_NAME = 31

UNKNOWN_ISSUE = "POST_COMPUTE_FAILED_UNKNOWN_ISSUE"
TOO_LONG_NAME = "POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME"
ZIP_FAILED = "POST_COMPUTE_OUT_FOLDER_ZIP_FAILED"
COPY_FAILED = "POST_COMPUTE_SEND_COMPUTED_FILE_FAILED"
NOT_FOUND = "POST_COMPUTE_COMPUTED_FILE_NOT_FOUND"
DIGEST_FAILED = "POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED"

_ERROR_PATH = "/iexec_out/error.txt"


class PostComputeFailed(WorkerError):
    """A step of the post-compute failed; `cause` is the wire's."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Result:
    """A result that is on the disk: archive, computed file and their folder are flushed."""

    digest: str
    """0x and 64 hex digits."""
    callback_data: str | None


def keep_streams(folder: TaskFolder) -> None:
    """Add the output of an app that succeeded to its result; a failure is logged (section 8).

    Raises `Trouble` where this machine is to blame: without them the result is another one.
    """
    for name in ("stdout", "stderr"):
        source = folder.stream(name)
        try:
            if source.stat().st_size:
                _copy_stream(source, folder.iexec_out / f"{name}.txt")
        except OSError as error:
            _raise_ours(error, f"{name} of the app")
            log.error("stream not kept", extra={"task": folder.root.name, "error": str(error)})


def _copy_stream(source: Path, target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        target.unlink()  # it may be a link to any file of this host
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(target, flags, 0o644), "wb") as file:
        copy_as_text(source, file)


def post_compute(folder: TaskFolder, description: TaskDescription) -> Result:
    """Make the result of what is in iexec_out (section 10).

    Raises `PostComputeFailed`, or `Trouble` where this machine is to blame.
    """
    _check_names(folder.iexec_out)
    _archive(folder)
    _copy_computed_file(folder)
    try:
        file = computed.read(folder.computed_file, description.task_id)
    except computed.NoComputedFile as error:
        raise PostComputeFailed(NOT_FOUND, str(error)) from None
    try:
        value = computed.result_digest(file, description, folder.output)
    except digest.NoDigest as error:
        raise PostComputeFailed(DIGEST_FAILED, str(error)) from None
    _set_aside(folder, description, file)
    durable_files.sync(folder.root)
    return Result(value, file.callback_data)


def _check_names(iexec_out: Path) -> None:
    try:
        longest = max(archive.entries(iexec_out), key=_name_length, default=None)
    except OSError as error:
        raise PostComputeFailed(UNKNOWN_ISSUE, f"iexec_out cannot be read: {error}") from None
    if longest is not None and _name_length(longest) > LONGEST_NAME:
        raise PostComputeFailed(
            TOO_LONG_NAME, f"{longest.name!r} is longer than {LONGEST_NAME} characters"
        )


def _name_length(path: Path) -> int:
    """Count as Java does, in UTF-16 code units of what it makes of the name."""
    return len(java_text.decode(os.fsencode(path.name)).encode("utf-16-le")) // 2


def _set_aside(
    folder: TaskFolder, description: TaskDescription, file: computed.ComputedFile
) -> None:
    """Archive again where the hashed folder has names that the digest leaves out.

    The result proxy unpacks the archive, where every name is UTF-8, and takes the digest anew.
    """
    if description.has_callback or file.result_digest:
        return
    hidden = digest.unseen(folder.output, file.deterministic_output_path or "")
    if hidden:
        log.warning(
            "names that are no UTF-8 are left out of the digest, as Java workers leave them out",
            extra={"task": description.task_id, "files": len(hidden)},
        )
        _archive(folder, hidden)


def _archive(folder: TaskFolder, aside: Collection[Path] = ()) -> None:
    try:
        archive.write(folder.iexec_out.resolve(), folder.archive, aside)
    except OSError as error:
        _raise_ours(error, "archive")
        raise PostComputeFailed(ZIP_FAILED, f"archive: {error}") from None


def _copy_computed_file(folder: TaskFolder) -> None:
    try:
        data = computed.read_bytes(folder.iexec_out / "computed.json")
        durable_files.write(folder.computed_file, data)
    except (computed.NoComputedFile, OSError) as error:
        if isinstance(error, OSError):
            _raise_ours(error, "computed file")
        raise PostComputeFailed(COPY_FAILED, str(error)) from None


def _raise_ours(error: OSError, what: str) -> None:
    trouble = of_machine(error, what)
    if trouble is not None:
        raise trouble from None


def error_text(profile: Profile, status: str, cause: str) -> str:
    """Return the text of error.txt, which every worker of the pool must write alike."""
    if profile is Profile.V8:
        return f"[IEXEC] Error occurred while computing the task [error:{status}, cause:{cause}]"
    return (
        "[IEXEC] Errors occurred while computing the task"
        f" [error:{status}, causes:[WorkflowError[cause={cause}, message=]]]"
    )


def error_result(
    folder: TaskFolder, description: TaskDescription, profile: Profile, status: str, cause: str
) -> Result:
    """Make a result of a failed download (section 13).

    `status` is APP_DOWNLOAD_FAILED or DATA_DOWNLOAD_FAILED. Raises `PostComputeFailed`, always
    for a deal with a callback, which has no data to give; `Trouble` where we are to blame.
    """
    try:
        folder.prepare_output()
        text = error_text(profile, status, cause)
        (folder.iexec_out / "error.txt").write_text(text, encoding="utf-8")
        file = computed.ComputedFile(deterministic_output_path=_ERROR_PATH)
        (folder.iexec_out / "computed.json").write_bytes(file.to_bytes())
        return post_compute(folder, description)
    except (OSError, PostComputeFailed) as error:
        if isinstance(error, OSError):
            _raise_ours(error, "error result")
        raise PostComputeFailed(UNKNOWN_ISSUE, f"no error result: {error}") from None
