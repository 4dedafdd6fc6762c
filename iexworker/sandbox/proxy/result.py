"""Results of tasks: fetched from the sandbox's store, shown, unpacked."""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import requests

from iexworker.errors import SandboxError
from iexworker.sandbox.chain.chain import DIRECTLY
from iexworker.sandbox.network.network import Network, command
from iexworker.sandbox.scheduler.explain import printable

TIMEOUT_S = (5, 60)
SHOWN_BYTES = 4096
"""Of each file; more than that is only counted."""


def fetch(network: Network, location: str) -> bytes:
    """Download what lies at `/ipfs/...` of the store; SandboxError when it is not there."""
    url = network.proxy_url + location
    try:
        answer = requests.get(url, timeout=TIMEOUT_S, proxies=DIRECTLY)
    except requests.RequestException as error:
        raise SandboxError(
            f"the store at {network.proxy_url} does not answer: "
            f"see {command('logs server', network.path)}"
        ) from error
    if answer.status_code != requests.codes.ok:
        raise SandboxError(f"the store answers {answer.status_code} for {location}")
    return answer.content


def show(content: bytes) -> str:
    """Print an archive: each file's name, size and text."""
    with _archive(content) as archive:
        return "\n".join(_shown(archive, entry) for entry in archive.infolist())


def unpack(content: bytes, folder: Path) -> None:
    """Unpack an archive; names that lead out of the folder are kept inside by zipfile."""
    with _archive(content) as archive:
        try:
            archive.extractall(folder)
        except OSError as error:
            what = error.strerror or error
            raise SandboxError(
                f"{error.filename or folder}: {what}: give --output another folder"
            ) from error


@contextlib.contextmanager
def _archive(content: bytes) -> Iterator[zipfile.ZipFile]:
    """Open an archive; whatever is wrong with it is told in words."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield archive
    except zipfile.BadZipFile:
        raise SandboxError("the result is no ZIP archive: it may be encrypted") from None
    except (RuntimeError, NotImplementedError, zlib.error) as error:
        raise SandboxError(f"a file of the result cannot be unpacked: {error}") from None


def _shown(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    header = f"--- {printable(entry.filename)} ({entry.file_size} bytes)"
    if entry.is_dir():
        return header
    with archive.open(entry) as file:
        start = file.read(SHOWN_BYTES)
    if b"\0" in start:
        return f"{header}\n(not a text)"
    more = "\n..." if entry.file_size > SHOWN_BYTES else ""
    text = start.decode(errors="replace").rstrip()
    lines = (printable(line.removesuffix("\r")) for line in text.split("\n"))
    return "\n".join([header, *lines]) + more
