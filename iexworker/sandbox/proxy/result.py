"""Results of tasks: fetched from the sandbox's store, shown, unpacked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import requests

from iexworker.errors import SandboxError
from iexworker.sandbox.network.network import Network

TIMEOUT_S = (5, 60)
SHOWN_BYTES = 4096
"""Of each file; more than that is only counted."""


def fetch(network: Network, location: str) -> bytes:
    """Download what lies at `/ipfs/...` of the store; SandboxError when it is not there."""
    answer = requests.get(network.proxy_url + location, timeout=TIMEOUT_S)
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
        archive.extractall(folder)


def _archive(content: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile:
        raise SandboxError("the result is no ZIP archive: it may be encrypted") from None


def _shown(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    header = f"--- {entry.filename} ({entry.file_size} bytes)"
    if entry.is_dir():
        return header
    with archive.open(entry) as file:
        start = file.read(SHOWN_BYTES)
    if b"\0" in start:
        return f"{header}\n(not a text)"
    more = "\n..." if entry.file_size > SHOWN_BYTES else ""
    return f"{header}\n{start.decode(errors='replace').rstrip()}{more}"
