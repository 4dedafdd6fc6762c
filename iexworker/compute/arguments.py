"""Split a command line the way the upstream worker does (docs/spec/06, section 6.2).

Not shell rules: only spaces separate, a backslash stays in the output, and a quote right after
a backslash is literal. Workers that split otherwise compute other results.
"""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

_QUOTES = "\"'"


class UnbalancedQuotes(ValueError):
    """A quote is opened and not closed."""


def split(text: str | None) -> tuple[str, ...]:
    """Return the arguments; none, with a log line, when the quotes are unbalanced."""
    try:
        return _split(text or "")
    except UnbalancedQuotes:
        log.error("unbalanced quotes in the arguments, the image's own command is used")
        return ()


def _split(text: str) -> tuple[str, ...]:
    arguments: list[str] = []
    current: list[str] = []
    quote = ""
    after_backslash = False
    for piece in _pieces(text):
        if piece in _QUOTES and _toggles(piece, quote, after_backslash):
            quote = "" if quote else piece
        elif piece == " " and not quote:
            if current:
                arguments.append("".join(current))
                current = []
        else:
            current.append(piece)
            after_backslash = piece == "\\"
    if quote:
        raise UnbalancedQuotes(text)
    if current:
        arguments.append("".join(current))
    return tuple(arguments)


def _toggles(piece: str, quote: str, after_backslash: bool) -> bool:
    """Whether a quote character opens or closes, rather than stands for itself."""
    return not after_backslash and quote in ("", piece)


def _pieces(text: str) -> list[str]:
    """Cut at each separator, which is a piece of its own; runs of other characters are one."""
    pieces: list[str] = []
    start = 0
    for index, character in enumerate(text):
        if character in " \\\"'":
            if start < index:
                pieces.append(text[start:index])
            pieces.append(character)
            start = index + 1
    if start < len(text):
        pieces.append(text[start:])
    return pieces
