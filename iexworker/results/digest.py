"""The result digest that consensus compares (docs/spec/06, section 11; 05, section 6.10).

Files are read in pieces. Nothing outside of the task's output folder is ever read: a path that
leads out, by `..` or by a link that the app made, has no digest. A file whose name is no UTF-8 is
not seen, since Java cannot open it (docs/decisions/0015).
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from iexworker import java_text
from iexworker.errors import WorkerError
from iexworker.poco.hashing import hex_text, keccak, lenient_bytes

_CHUNK_BYTES = 1 << 20


class NoDigest(WorkerError):
    """There is nothing to take a digest of."""


def of_path(output: Path, container_path: str | None) -> str:
    """Return the digest of what is at `output` + `container_path`, both plain text.

    A file: SHA-256 of its bytes. A folder: keccak-256 over the SHA-256 of each file directly in
    it, sorted by name in UTF-16 code units; what is no readable file adds no byte. 0x and 64 hex
    digits; raises `NoDigest`.
    """
    if not container_path:
        raise NoDigest("computed.json names no deterministic-output-path")
    root = output.resolve()
    try:
        path = _place(root, container_path)
        if not path.is_relative_to(root):
            raise NoDigest(f"deterministic-output-path {container_path!r} leads out of the output")
        return _of_folder(path, root) if path.is_dir() else hex_text(_of_file(path))
    except FileNotFoundError:
        raise NoDigest(f"deterministic-output-path {container_path!r}: nothing is there") from None
    except (OSError, ValueError, RuntimeError) as error:
        # ValueError: a NUL or half of a character in the path; RuntimeError: a circle of links.
        raise NoDigest(f"deterministic-output-path {container_path!r}: {error}") from None


def unseen(output: Path, container_path: str) -> tuple[Path, ...]:
    """Return the files of the hashed folder that `of_path` has not seen for their names."""
    folder = _place(output.resolve(), container_path)
    return tuple(
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if not os.path.lexists(folder / _java_name(path.name))
        and (path.is_symlink() or not path.is_dir())
    )


def of_callback(data: str | None) -> str:
    """Return keccak-256 of the callback data's bytes; raises `NoDigest` without any."""
    if not data:
        raise NoDigest("the deal has a callback and computed.json no callback-data")
    return hex_text(keccak(lenient_bytes(data)))


def _place(root: Path, container_path: str) -> Path:
    """Return what the system finds there: a file has nothing below it, not even a dot."""
    container_path.encode()
    os.stat(f"{root}{container_path}".rstrip("/"))  # noqa: PTH116 - a Path drops the dots
    return Path(f"{root}{container_path}").resolve(strict=True)


def _of_folder(folder: Path, root: Path) -> str:
    names = sorted((_java_name(path.name) for path in folder.iterdir()), key=_code_units)
    return hex_text(keccak(*(_of_child(folder / name, root) for name in names)))


def _java_name(name: str) -> str:
    """Return the text that Java has for a name, and looks the file up by."""
    return java_text.decode(os.fsencode(name))


def _code_units(name: str) -> bytes:
    return name.encode("utf-16-be")


def _of_child(path: Path, root: Path) -> bytes:
    try:
        target = path.resolve(strict=True)
        return _of_file(target) if target.is_relative_to(root) else b""
    except (OSError, RuntimeError):
        return b""


def _of_file(path: Path) -> bytes:
    # Without O_NONBLOCK a pipe left by the app would hold us for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path.name}: no file")
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_CHUNK_BYTES))
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
    return digest.digest()
