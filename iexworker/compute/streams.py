"""What a container writes to stdout and stderr, kept in two files with bounded memory.

The engine sends both on one connection, each piece behind a header of eight bytes: which stream,
three zeros, the length as a big-endian number (Docker API, "attach", stream format). The files have
the text of the engine's log, whichever way it came (`log_text.py`).
"""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from iexworker.compute.log_text import LogText, entry
from iexworker.shared.handoff import LOG_TAIL, tail

MOST_BYTES = 1 << 30
"""Of each stream; an app that writes more is one that the upstream worker does not survive."""

_HEADER_BYTES = 8
_STDOUT, _STDERR = 1, 2
_CHUNK_BYTES = 1 << 16
_CONTINUATION = bytes(range(0x80, 0xC0))
_BYTES_PER_UNIT = 3  # UTF-8 takes at most three bytes for each UTF-16 unit


class Capture:
    """Two files that receive a container's output; each is cut at `MOST_BYTES`."""

    def __init__(self, stdout: Path, stderr: Path) -> None:
        self.paths = {_STDOUT: stdout, _STDERR: stderr}
        self._files: dict[int, BinaryIO] = {}
        self._room: dict[int, int] = {}
        self._texts: dict[int, LogText] = {}
        self._header = b""
        self._stream = _STDOUT
        self._left = 0

    def __enter__(self) -> Self:
        self.restart()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def restart(self) -> None:
        """Empty both files: what follows is the whole output."""
        self._close_files()
        self._files = {stream: path.open("wb") for stream, path in self.paths.items()}
        self._room = dict.fromkeys(self.paths, MOST_BYTES)
        self._texts = {stream: LogText() for stream in self.paths}
        self._header, self._left = b"", 0

    def close(self) -> None:
        """Close the files; what was received is in them."""
        for stream in self._files:
            self._keep(stream, self._texts[stream].finish())
        self._close_files()

    def _close_files(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}

    def feed(self, data: bytes) -> None:
        """Take a piece of the attached connection, cut anywhere."""
        view = memoryview(data)
        while view:
            if self._left:
                piece, view = view[: self._left], view[self._left :]
                self._left -= len(piece)
                self.write(self._stream, piece)
            else:
                view = self._read_header(view)

    def write(self, stream: int, piece: bytes | memoryview) -> None:
        """Take a piece of what the app wrote to one stream, cut anywhere: 1 is stdout, 2 stderr."""
        if self._room[stream]:
            self._keep(stream, self._texts[stream].take(bytes(piece)))

    def write_entry(self, stream: int, piece: bytes) -> None:
        """Take a piece of the engine's log, cut where the engine has cut it."""
        self._keep(stream, entry(piece))

    def _keep(self, stream: int, text: bytes) -> None:
        if len(text) > self._room[stream]:
            # Up to the limit, and between two characters.
            text = text[: self._room[stream]].decode("utf-8", "ignore").encode()
            self._room[stream] = 0
        else:
            self._room[stream] -= len(text)
        self._files[stream].write(text)

    def _read_header(self, view: memoryview) -> memoryview:
        missing = _HEADER_BYTES - len(self._header)
        self._header += bytes(view[:missing])
        if len(self._header) == _HEADER_BYTES:
            self._stream = _STDERR if self._header[0] == _STDERR else _STDOUT
            self._left = int.from_bytes(self._header[4:], "big")
            self._header = b""
        return view[missing:]


def read_tail(path: Path) -> str:
    """Return the last characters that an update carries; a missing file reads as empty."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            skipped = max(0, size - (LOG_TAIL + 1) * _BYTES_PER_UNIT)
            file.seek(skipped)
            data = file.read()
    except FileNotFoundError:
        return ""
    if skipped:
        data = data[:3].lstrip(_CONTINUATION) + data[3:]  # the rest of a character cut in two
    return tail(data.decode("utf-8", "replace"))


def copy_as_text(source: Path, target: BinaryIO) -> None:
    """Copy a stream as UTF-8 text: what is no UTF-8, as after a full disk, becomes U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            target.write(decoder.decode(chunk).encode())
    target.write(decoder.decode(b"", final=True).encode())
