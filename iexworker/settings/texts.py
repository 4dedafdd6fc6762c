"""Texts that an env file spoils on their way to us: found before they are read as values.

A shell that reads an env file leaves the CR of Windows line ends in the values, Docker leaves the
quotes, and a byte order mark or an `export` becomes part of a name. The value then looks right and
is none, and a folder of that name comes to be. No setting begins or ends with a quote, and none has
a character that cannot be seen; a password alone is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

ENV_FILE = "the env file"

_QUOTES = "\"'`\u00ab\u00bb\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f"
_NOT_IN_PASSWORDS = "\r\n\0"
_NAMES = {
    "\0": "a NUL",
    "\t": "a tab",
    "\n": "a line end",
    "\r": "a carriage return",
    "\x1b": "an escape character",
    "\u00a0": "a no-break space",
    "\ufeff": "a byte order mark",
}
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")
_UNEXPANDED = re.compile(r"~(?:/|$)|.*\$(?:\{|[A-Za-z_])")
_WORDS = re.compile(r"[A-Za-z0-9_]+")


def fault(text: str, where: str = ENV_FILE) -> str:
    """Say what of a setting's text cannot be meant; empty when nothing is wrong with it."""
    if not text.isprintable():
        unseen = next((char for char in text if _cannot_be_seen(char)), None)
        if unseen is not None:
            return _of_character(unseen, where)
    if text and (text[0] in _QUOTES or text[-1] in _QUOTES):
        docker = " (Docker's --env-file keeps them)" if where == ENV_FILE else ""
        return f"its quotes count as part of it{docker}: write it without quotes in {where}"
    return ""


def path_fault(text: str, where: str = ENV_FILE) -> str:
    """Say the same of a path, which is used to the letter."""
    if found := fault(text, where):
        return found
    if text != text.strip():
        return f"a blank at its begin or end counts as part of it: see {where}"
    if " #" in text:
        return f"a comment behind a value counts as part of it: see {where}"
    if _UNEXPANDED.match(text):
        return f"nothing is expanded, neither ~ nor $: write the whole path into {where}"
    return ""


def password_fault(text: str, where: str = ENV_FILE) -> str:
    """Say what of a password can only be a fault of the file that it comes from."""
    found = next((char for char in text if char in _NOT_IN_PASSWORDS), None)
    return "" if found is None else _of_character(found, where)


def spoilt_names(names: Collection[str], known: Collection[str]) -> Iterator[str]:
    """Yield a problem for each name in the environment that holds the name of a setting."""
    for name in sorted(names):
        words = _WORDS.findall("".join(char for char in name if not _cannot_be_seen(char)))
        meant = words[-1] if words else ""
        ours = meant in known or meant.startswith(("IEXEC_", "IEXWORKER_"))
        if ours and meant != name:
            yield f"'{_on_a_line(name)}': expected the name {meant}; {_of_name(name, words)}"


def _of_name(name: str, words: list[str]) -> str:
    if len(words) > 1:
        return (
            f"`{' '.join(words[:-1])}` is for shells: a line of {ENV_FILE} is, for example, "
            f"{words[-1]}=..."
        )
    unseen = next((char for char in name if _cannot_be_seen(char)), None)
    if unseen is not None:
        return f"{_of_character(unseen, ENV_FILE)}; for example {words[-1]}=..."
    return f"a name has neither blanks nor quotes: {ENV_FILE} says, for example, {words[-1]}=..."


def _of_character(char: str, where: str) -> str:
    what = _NAMES.get(char, f"the character U+{ord(char):04X}")
    if "\ud800" <= char <= "\udfff":
        return f"it has bytes that are no UTF-8: save {where} as UTF-8"
    if char == "\r":
        return f"it has {what}: take the Windows line ends out of {where}"
    if char == "\ufeff":
        return f"it has {what}: save {where} as UTF-8 without one"
    return f"it has {what}: take it out of {where}"


def _cannot_be_seen(char: str) -> bool:
    if char == " " or char.isprintable():
        return False
    # Here, since good texts need no table of characters.
    from unicodedata import category

    return category(char) in _UNSEEN


def _on_a_line(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
