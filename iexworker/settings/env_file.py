"""The env file that a unit names: read as systemd reads `EnvironmentFile=`, and strictly.

systemd drops a line that it does not understand, and says so in its own log at most; the setting
then has its default. Such a line is a problem here, and so is one that has another meaning than it
seems to have. Any other text gives what `load_env_file` of systemd 252 gives (env-file.c).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from iexworker.errors import SettingsError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANKS = " \t\n\r"
_LINE_ENDS = "\n\r"
_COMMENTS = "#;"
_ESCAPABLE = '"\\`$'  # between double quotes: SHELL_NEED_ESCAPE


@dataclass(frozen=True, slots=True)
class EnvFile:
    """What an env file says."""

    path: Path
    values: Mapping[str, str]
    warnings: tuple[str, ...]


def read_env_file(path: Path) -> EnvFile:
    """Read an env file; raises `SettingsError` with every problem and the line it is in."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            [f"--env-file {path}: cannot be read ({error.strerror}); name a file that the worker's "
             "user may read, or leave the option away"]
        ) from None  # fmt: skip
    parser = _Parser(path, _text(path, content))
    if parser.problems:
        raise SettingsError(parser.problems)
    return EnvFile(path, parser.values, tuple(parser.warnings()))


def _text(path: Path, content: bytes) -> str:
    if content.startswith(b"\xef\xbb\xbf"):
        raise SettingsError(
            [f"{path}, line 1: begins with a byte order mark, which becomes part of a name; save "
             "the file as UTF-8 without one"]
        )  # fmt: skip
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            [f"{path}, line {line}: is not UTF-8; save the file as UTF-8"]
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SettingsError([f"{path}, line {line}: has a NUL; no text of a variable can have one"])
    return text


class _Parser:
    """One walk through the text."""

    def __init__(self, path: Path, text: str) -> None:
        self.values: dict[str, str] = {}
        self.problems: list[str] = []
        self._path = path
        self._text = text
        self._at = 0
        self._lines: dict[str, list[int]] = {}
        while self._skip_blanks():
            if self._text[self._at] in _COMMENTS:
                self._comment()
            else:
                self._assignment()

    def warnings(self) -> list[str]:
        """Return a note about each name that stands more than once: the last one counts."""
        return [
            f"{self._path}: {name} stands in lines {', '.join(map(str, lines[:-1]))} and "
            f"{lines[-1]}: the last one counts"
            for name, lines in self._lines.items()
            if len(lines) > 1
        ]

    def _skip_blanks(self) -> bool:
        """Go to the next character that is no blank; False at the end."""
        while self._at < len(self._text) and self._text[self._at] in _BLANKS:
            self._at += 1
        return self._at < len(self._text)

    def _line(self, at: int | None = None) -> int:
        at = self._at if at is None else at
        return len(re.findall(r"\r\n|\r|\n", self._text[:at])) + 1

    def _problem(self, line: int, words: str, expected: str = "IEXEC_WORKER_NAME=worker-1") -> None:
        self.problems.append(
            f"{self._path}, line {line}: {words}; expected a line such as {expected}"
        )

    def _rest_of_line(self) -> str:
        """Take what is left of this line, without its end."""
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in _LINE_ENDS:
            self._at += 1
        return self._text[start : self._at]

    def _comment(self) -> None:
        line = self._line()
        if self._rest_of_line().endswith("\\"):
            words = "a comment ends in a backslash, and some versions of systemd take the next line"
            self._problem(line, f"{words} for a part of it")

    def _assignment(self) -> None:
        line, start = self._line(), self._at
        end = next(
            (at for at in range(start, len(self._text)) if self._text[at] in "=" + _LINE_ENDS),
            len(self._text),
        )
        name = self._text[start:end].rstrip(" \t")
        if end == len(self._text) or self._text[end] != "=":
            # Not shown: it may be a password that was to stand somewhere else.
            self._problem(line, "has no =, so that it sets nothing")
            self._at = end
            return
        self._at = end + 1
        before = len(self.problems)
        value = self._value(line)
        if _NAME.fullmatch(name) is None:
            self._problem(line, *_of_name(name))
        elif len(self.problems) == before:
            self.values[name] = value
            self._lines.setdefault(name, []).append(line)

    def _value(self, line: int) -> str:
        """Read what stands behind the `=`, and go on the next line where that is said."""
        value, quoted = "", False
        while self._at < len(self._text):
            while self._at < len(self._text) and self._text[self._at] in " \t":
                self._at += 1
            char = self._text[self._at : self._at + 1]
            if char in ("'", '"'):
                quoted = True
                value += self._quoted(char, line)
            elif not char or char in _LINE_ENDS:
                break
            else:
                bare = self._bare(line)
                if quoted and ("'" in bare or '"' in bare):
                    self._problem(line, "has a quote that is neither opened nor closed")
                return value + bare
        return value

    def _quoted(self, quote: str, line: int) -> str:
        """Read up to the closing quote; it may be lines away."""
        self._at += 1
        value = ""
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char == quote:
                self._look_behind_quote(line)
                return value
            if quote == '"' and char == "\\" and self._at < len(self._text):
                escaped = self._text[self._at]
                self._at += 1
                value += (
                    "" if escaped == "\n" else escaped if escaped in _ESCAPABLE else "\\" + escaped
                )
            else:
                value += char
        self._problem(line, "has an opening quote and no closing quote")
        return value

    def _look_behind_quote(self, line: int) -> None:
        rest = re.match(r"[ \t]+([^\n\r]*)", self._text[self._at :])
        if rest and rest[1]:
            words = "has text after the closing quote, which becomes part of the value"
            self._problem(line, f"{words} (a comment has a line of its own)")

    def _bare(self, line: int) -> str:
        """Read a value without quotes: blanks at its end do not count, nor does a backslash."""
        value, kept = "", 0
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in _LINE_ENDS:
                break
            self._at += 1
            if char != "\\":
                value += char
                kept = kept if char in " \t" else len(value)
                continue
            escaped = self._text[self._at : self._at + 1]
            self._at += 1
            if escaped == "\r":
                words = "a backslash before a Windows line end does not continue the line"
                self._problem(line, words)
                self._at += self._text[self._at : self._at + 1] == "\n"
            elif escaped != "\n":
                value += escaped
            kept = len(value)
        return value[:kept]


def _of_name(name: str) -> tuple[str, ...]:
    """Return what is wrong with a name, and what was meant where that is clear."""
    words = name.split()
    if len(words) > 1 and words[0] == "export" and _NAME.fullmatch(words[-1]):
        return "`export` is for shells, systemd drops the line", f"{words[-1]}=..."
    return (f"{_shown(name)} is no name of a variable, which has letters, digits and _ alone",)


def _shown(text: str) -> str:
    """Return a piece of a line that may hold a secret: enough to find it."""
    short = text if len(text) <= 40 else text[:37] + "..."
    return repr(short)
