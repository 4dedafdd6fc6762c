"""Bytes and JSON documents as the Java services read them.

`new String(bytes)` where the locale is UTF-8, as in upstream's images, and Jackson's `ObjectMapper`
with its defaults. Since 2.15, which profile 9 has, it limits depth, numbers and names.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Container

_HALF_PAIR = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]?")
_BLANKS = re.compile(r"[ \t\r\n]*")
_PLAIN = r'[^"\\\x00-\x1f]*'
_STRING = re.compile(rf'"{_PLAIN}(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{{4}}){_PLAIN})*"')
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE][+-]?([0-9]+))?")
_WORD = re.compile(r"true|false|null")
_CLOSING = {"{": "}", "[": "]"}

_DEEPEST = 1000
_MOST_DIGITS = 1000
_LONGEST_NAME = 50_000


class NotRead(ValueError):
    """Jackson refuses the document."""


def decode(data: bytes) -> str:
    """Return the text of UTF-8 bytes: U+FFFD for what is none, and a BOM is a character."""
    return data.decode("utf-8", _REPLACED)


def texts(document: str, keys: Container[str]) -> dict[str, str | None]:
    """Return what a bean whose text properties are `keys` gets from an object; raises `NotRead`.

    Numbers and booleans count as they are written, the last of several alike counts, other keys
    and what follows the object are ignored. A null is None.
    """
    return _Document(document).texts(keys)


class _Document:
    """A JSON text and how far it is read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def texts(self, keys: Container[str]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        self._expect("{")
        if self._take("}"):
            return found
        while True:
            name = self._name()
            if name in keys:
                found[name] = self._scalar()
            else:
                self._skip()
            if self._take("}"):
                return found
            self._expect(",")

    def _skip(self) -> None:
        """Pass over a value, however deep."""
        open_ones: list[str] = []
        while True:
            if self._open(open_ones):
                continue
            while open_ones and self._take(open_ones[-1]):
                open_ones.pop()
            if not open_ones:
                return
            self._expect(",")
            if open_ones[-1] == "}":
                self._name()

    def _open(self, open_ones: list[str]) -> bool:
        """Pass over a scalar or an opening bracket; return whether a value must follow."""
        for bracket, closing in _CLOSING.items():
            if self._take(bracket):
                open_ones.append(closing)
                if len(open_ones) >= _DEEPEST:
                    raise NotRead("nested too deep")
                if self._take(closing):
                    open_ones.pop()
                    return False
                if bracket == "{":
                    self._name()
                return True
        self._scalar()
        return False

    def _name(self) -> str:
        name = self._string()
        if name is None:
            raise NotRead(f"expected a name at character {self._at}")
        if len(name.encode("utf-16-le", "surrogatepass")) > 2 * _LONGEST_NAME:
            raise NotRead("a name is too long")
        self._expect(":")
        return name

    def _scalar(self) -> str | None:
        """Read a text, or the text of a number or boolean; null is None."""
        text = self._string()
        if text is not None:
            return text
        if word := _WORD.match(self._text, self._at):
            self._at = word.end()
            return None if word[0] == "null" else word[0]
        number = _NUMBER.match(self._text, self._at)
        if number is None:
            raise NotRead(f"expected a text at character {self._at}")
        if sum(len(digits or "") for digits in number.groups()) > _MOST_DIGITS:
            raise NotRead("a number is too long")
        self._at = number.end()
        return number[0]

    def _string(self) -> str | None:
        self._at = self._after_blanks()
        found = _STRING.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return str(json.loads(found[0])) if "\\" in found[0] else found[0][1:-1]

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise NotRead(f"expected {mark!r} at character {self._at}")

    def _take(self, mark: str) -> bool:
        start = self._after_blanks()
        if not self._text.startswith(mark, start):
            return False
        self._at = start + 1
        return True

    def _after_blanks(self) -> int:
        found = _BLANKS.match(self._text, self._at)
        assert found is not None  # noqa: S101 - the pattern takes an empty text too
        return found.end()


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replace what is no UTF-8 as Java does: half of a surrogate pair counts once, not thrice."""
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - only `decode` names the handler
    half = _HALF_PAIR.match(error.object, error.start)
    return "\ufffd", half.end() if half else error.end


_REPLACED = "iexworker.java"
codecs.register_error(_REPLACED, _replace)
