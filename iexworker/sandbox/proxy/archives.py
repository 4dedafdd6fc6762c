"""The digest of a result as the proxy recomputes it from the uploaded zip (docs/spec/05, 6.10)."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from iexworker import java_text
from iexworker.poco.hashing import keccak, lenient_bytes

COMPUTED = "computed.json"
OUTPUT_PREFIX = "/iexec_out"
_KEYS = (
    "deterministic-output-path",
    "callback-data",
    "task-id",
    "result-digest",
    "enclave-signature",
    "error-message",
)
"""The properties of iexec-common's ComputedFile: one of another type spoils the whole."""
LARGEST_RESULT = 2**31
"""Bytes of an unpacked archive; the sandbox is no place for more."""


class BadArchive(ValueError):
    """The archive cannot be read, or has no result that `computed.json` designates."""


def result_digest(archive: bytes, *, has_callback: bool) -> str:
    """Return the digest that the archive's `computed.json` designates; raises `BadArchive`."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            return _digest(files, has_callback)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise BadArchive(f"the archive cannot be read: {error}") from error


def _digest(files: zipfile.ZipFile, has_callback: bool) -> str:
    if sum(one.file_size for one in files.infolist()) > LARGEST_RESULT:
        raise BadArchive(f"the archive unpacks to more than {LARGEST_RESULT} bytes")
    computed = _computed(files)
    if has_callback:
        data = computed.get("callback-data")
        if not data:
            raise BadArchive(f"{COMPUTED} has no callback-data")
        return "0x" + keccak(lenient_bytes(data)).hex()
    designated = computed.get("deterministic-output-path")
    if not designated:
        raise BadArchive(f"{COMPUTED} has no deterministic-output-path")
    return _path_digest(files, designated)


def _computed(files: zipfile.ZipFile) -> Mapping[str, str | None]:
    """Read the file as the real proxy does, with the worker's own function: iexec-common's."""
    try:
        document = java_text.decode(files.read(COMPUTED))
        return java_text.texts(document, _KEYS)
    except KeyError:
        raise BadArchive(f"the archive has no {COMPUTED}") from None
    except java_text.NotRead as error:
        raise BadArchive(f"{COMPUTED} is no JSON object as Jackson reads it: {error}") from error


def _path_digest(files: zipfile.ZipFile, designated: str) -> str:
    """Hash a file with SHA-256, a folder by keccak over the SHA-256 of the files right in it."""
    path = str(PurePosixPath(designated.removeprefix(OUTPUT_PREFIX)).as_posix()).strip("/")
    names = {one.filename for one in files.infolist() if not one.is_dir()}
    if path in names:
        return "0x" + hashlib.sha256(files.read(path)).hexdigest()
    folder = f"{path}/" if path not in ("", ".") else ""
    inside = [name for name in names if name.startswith(folder)]
    if not inside:
        raise BadArchive(f"the archive has no {designated}")
    return "0x" + keccak(*_hashes(files, folder, inside)).hex()


def _hashes(files: zipfile.ZipFile, folder: str, inside: Iterable[str]) -> Iterable[bytes]:
    """Hash what lies right in the folder, in the order of UTF-16 code units, as Java sorts."""
    direct = [name for name in inside if "/" not in name.removeprefix(folder)]
    direct.sort(key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return (hashlib.sha256(files.read(name)).digest() for name in direct)
