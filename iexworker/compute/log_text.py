"""A container's output as `docker logs` gives it, which is what a Java worker hashes.

The engine's json-file log cuts lines at 16 KiB and keeps each piece as JSON, with U+FFFD for each
byte that is no UTF-8 within that piece. Apps' output reaches the result through it, so what comes
from an attached connection is brought into the same form.
"""

from __future__ import annotations

import codecs

PIECE_BYTES = 16 << 10
"""moby's buffer for a line (daemon/logger/copier.go)."""


class LogText:
    """Cuts one stream into the pieces of the engine's log."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> bytes:
        """Return what of the log is complete with this data, cut anywhere, as UTF-8."""
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        whole, rest = data[:end], data[end:]
        cut = len(rest) - len(rest) % PIECE_BYTES
        self._rest = rest[cut:]
        return _lines(whole) + _pieces(rest[:cut])

    def finish(self) -> bytes:
        """Return the last line, which has no end."""
        rest, self._rest = self._rest, b""
        return entry(rest)


def entry(piece: bytes) -> bytes:
    """Return one piece of the log as UTF-8: as it is, when it comes from the engine."""
    return piece.decode("utf-8", _REPLACED).encode()


def _lines(whole: bytes) -> bytes:
    """Return lines with their ends; most are as they are, wherever they are cut."""
    if whole.isascii():
        return whole
    lines = whole.split(b"\n")
    if max(map(len, lines)) <= PIECE_BYTES and _is_text(whole):
        return whole
    return b"\n".join(map(_pieces, lines))


def _pieces(line: bytes) -> bytes:
    if len(line) <= PIECE_BYTES:
        return entry(line)
    starts = range(0, len(line), PIECE_BYTES)
    return b"".join(entry(line[start : start + PIECE_BYTES]) for start in starts)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replace one byte, as Go does; Python would take a character cut short as one."""
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - only `entry` names the handler
    return "\ufffd", error.start + 1


_REPLACED = "iexworker.go"
codecs.register_error(_REPLACED, _replace)
