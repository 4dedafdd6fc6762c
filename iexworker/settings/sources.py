"""Where a setting's text comes from: environment, password files, TOML files.

From strongest to weakest: the upstream variable, its `_FILE` twin, `IEXWORKER_*` (and twin),
`.secrets.toml`, `settings.local.toml`, `settings.toml`. Empty equals unset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from iexworker import file_errors, masking
from iexworker.settings import texts
from iexworker.settings.parsers import BIND_PATH, DOCKER_HOST, NODE_URL, PATH, URL, URL_LIST
from iexworker.settings.table import Setting

FILE_NAMES = ("settings.toml", "settings.local.toml", ".secrets.toml")
"""Weakest first; of two folders the later one wins for the same name."""

DEFAULT_ENVIRONMENT = "production"

_RANK_OF_FILES = 4

_ADDRESSES = (URL, NODE_URL, URL_LIST, DOCKER_HOST)
_ADDRESS_PARTS = ("core_protocol", "core_host", "core_port")
_PATHS = (PATH, BIND_PATH)
_BETWEEN_ADDRESSES = re.compile(r",(?=\s*[A-Za-z][A-Za-z0-9+.-]*://)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Found:
    """The text of a setting, and what the operator calls the place it came from."""

    text: str
    source: str
    rank: int
    """0 is the strongest place."""
    spoilt: bool = False
    """What is wrong with the text is told already: no value is made of it."""


def masked(text: str) -> str:
    """Return the text as one line to show, addresses without their keys."""
    return _on_a_line(masking.masked(text))


def shown(text: str, entry: Setting) -> str:
    """Return a text that may be no value of its setting as one line: what is secret is hidden."""
    if entry.secret:
        return masking.HIDDEN
    if entry.kind in _ADDRESSES or entry.key in _ADDRESS_PARTS:
        parts = _BETWEEN_ADDRESSES.split(text)
        return _on_a_line(",".join(map(masking.masked_address, parts)))
    return masked(text)


def _on_a_line(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


class Layers:
    """All places at once; what is wrong with a place or a text is added to `problems`.

    `origins` has, for the variables that come from an env file which we have read, its name.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        files: Mapping[str, Found],
        problems: list[str],
        origins: Mapping[str, str],
    ) -> None:
        self.environ = environ
        self.files = files
        self._problems = problems
        self._origins = origins

    def find(self, entry: Setting) -> Found | None:
        """Return the strongest text of a setting, None when nothing sets it."""
        found = self._variable(entry, entry.variable, 0) if entry.variable else None
        if found is None and entry.own:
            found = self._variable(entry, entry.own_variable, 2) or self.files.get(entry.key)
        return None if found is None else self._checked(entry, found)

    def source(self, name: str) -> str:
        """Return what the operator calls this variable, with the env file that it is from."""
        return f"{name} ({self._origins[name]})" if name in self._origins else name

    def _checked(self, entry: Setting, found: Found) -> Found:
        """Tell what is wrong with a text before it is read, if anything is."""
        where = texts.ENV_FILE
        if found.rank == _RANK_OF_FILES:
            where = "the settings file"
        elif found.source.endswith("_FILE"):
            where = "the file"
        look = texts.password_fault if entry.secret else texts.fault
        if entry.kind in _PATHS and not entry.secret:
            look = texts.path_fault
        problem = look(found.text, where)
        if not problem:
            return found
        example = masking.HIDDEN if entry.secret else entry.example or entry.default or "worker"
        expected = "a password on one line" if entry.secret else entry.kind.expected
        self._problems.append(
            f"{found.source}={shown(found.text, entry)}: expected {expected}, for example "
            f"{entry.shown_variable}={example}; {problem}"
        )
        return replace(found, spoilt=True)

    def _variable(self, entry: Setting, name: str, rank: int) -> Found | None:
        text = self.environ.get(name, "")
        path = self.environ.get(name + "_FILE", "") if entry.secret else ""
        if text and path:
            self._problems.append(
                f"{name} and {name}_FILE are both set: expected one of them, "
                f"for example only {name}_FILE={masked(path)}"
            )
        if text:
            return Found(text, self.source(name), rank)
        return self._secret_file(self.source(name + "_FILE"), path, rank + 1) if path else None

    def _secret_file(self, name: str, path: str, rank: int) -> Found:
        if problem := texts.path_fault(path):
            self._problems.append(
                f"{name}={masked(path)}: expected the path of a file, for example "
                f"{name.split()[0]}=/run/secrets/password; {problem}"
            )
            return Found("", name, rank, spoilt=True)
        try:
            # Not as text, which would take a CR for a line end.
            text = Path(path).read_bytes().decode()
            reason = "" if text else "it is empty"
        except OSError as error:
            text, reason = "", file_errors.why(Path(path), error, given=True)
        except UnicodeDecodeError:
            text, reason = "", "it is not UTF-8"
        if reason:
            self._problems.append(
                f"{name}={path}: expected a file with the password ({reason}), "
                f"for example {name.split()[0]}=/run/secrets/password"
            )
        return Found(text.removesuffix("\n").removesuffix("\r"), name, rank)


def read_files(
    directories: Sequence[Path], environment: str, problems: list[str]
) -> dict[str, Found]:
    """Return what the TOML files of these folders say, by key; dynaconf merges them.

    `environment` is the section that overrides `[default]`.
    """
    paths = [
        path for name in FILE_NAMES for folder in directories if _exists(path := folder / name)
    ]
    broken = [problem for path in paths if (problem := _trouble(path))]
    problems.extend(broken)
    return {} if broken or not paths else _served(paths, environment, problems)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # not ours to look at: reading it will say why


def _trouble(path: Path) -> str:
    import tomllib  # here for the same reason as dynaconf below

    try:
        content = path.read_bytes()
        if content.startswith(_BYTE_ORDER_MARK):
            return f"{path}: begins with a byte order mark; save it as UTF-8 without one"
        data = tomllib.loads(content.decode())
    except OSError as error:
        reason = file_errors.why(path, error, given=True)
        return f"{path}: cannot be read ({reason}); expected a TOML file"
    except ValueError as error:
        return f"{path}: is not TOML ({error}); expected lines such as port = 13100"
    strays = [key for key, value in data.items() if not isinstance(value, dict)]
    if strays:
        # dynaconf would drop them without a word.
        return f"{path}: {', '.join(strays)} outside of a section; expected below [default]"
    return ""


def _served(paths: Iterable[Path], environment: str, problems: list[str]) -> dict[str, Found]:
    # Here, since dynaconf takes 80 ms to import and most workers have no file.
    from dynaconf import Dynaconf, get_history
    from dynaconf.loaders import toml_loader

    # No search for files, no dotenv, no variables, and "@format" in a password is a password.
    served = Dynaconf(
        settings_files=[],
        core_loaders=[],
        loaders=[],
        envvar_prefix=False,
        load_dotenv=False,
        environments=True,
        env=environment,
    )
    served.set("AUTO_CAST_FOR_DYNACONF", False)
    for path in paths:
        toml_loader.load(served, env=environment, filename=str(path))
    sources: dict[str, str] = {}
    for item in get_history(served):
        if item["loader"] == "toml":
            sources |= dict.fromkeys(item["value"], f"{item['identifier']} [{item['env']}]")
    found = {}
    for name, source in sources.items():
        text = _text(served.get(name))
        if text is None:
            problems.append(f"{source}: {name.lower()}: expected a plain value, not a table")
        elif text:
            found[name.lower()] = Found(text, f"{source}: {name.lower()}", _RANK_OF_FILES)
    return found


def _text(value: object) -> str | None:
    """Write a TOML value the way a variable would hold it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return None
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    return str(value)
