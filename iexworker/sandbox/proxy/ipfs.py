"""The sandbox's IPFS: files on disk under the hash of what they hold.

A name is a CIDv0 in form: base58btc of the multihash sha2-256. It is made from the plain bytes,
not from the blocks that a real node would cut them into.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_MULTIHASH_SHA256 = b"\x12\x20"
_NAME = re.compile(r"Qm[1-9A-HJ-NP-Za-km-z]{44}")


class Store:
    """A folder of files named by their content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes) -> str:
        """Keep the bytes and return their name; the same bytes have the same name."""
        name = content_name(content)
        path = self._folder / name
        if not path.exists():
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as draft:
                draft.write(content)
            Path(draft.name).replace(path)
        return name

    def get(self, name: str) -> bytes | None:
        """Return the bytes of a name, None when there are none."""
        path = self.path(name)
        return None if path is None else path.read_bytes()

    def path(self, name: str) -> Path | None:
        """Return the file of a name, None when there is none."""
        if not _NAME.fullmatch(name):
            return None
        path = self._folder / name
        return path if os.access(path, os.R_OK) else None


def content_name(content: bytes) -> str:
    """Return the name under which the bytes are kept."""
    number = int.from_bytes(_MULTIHASH_SHA256 + hashlib.sha256(content).digest(), "big")
    digits = ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
