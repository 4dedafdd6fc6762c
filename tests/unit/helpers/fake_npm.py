"""A stand-in for npm, for what the real one cannot be made to do: to fail, to hang, to deceive."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def npm(folder: Path, script: str) -> Path:
    """Write a program `npm` of some lines of shell; give its path."""
    folder.mkdir(exist_ok=True)
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def archive(path: Path, files: Mapping[str, bytes], mode: int = 0o644) -> str:
    """Write an archive like npm's; give its integrity."""
    with tarfile.open(path, "w:gz") as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size, entry.mode = len(content), mode
            made.addfile(entry, io.BytesIO(content))
    digest = hashlib.sha512(path.read_bytes()).digest()
    return "sha512-" + base64.b64encode(digest).decode()
