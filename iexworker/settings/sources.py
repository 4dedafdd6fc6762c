"""Where a setting's text comes from: environment, password files, TOML files.

From strongest to weakest: the upstream variable, its `_FILE` twin, `IEXWORKER_*` (and twin),
`.secrets.toml`, `settings.local.toml`, `settings.toml`. Empty equals unset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iexworker.settings.table import Setting

FILE_NAMES = ("settings.toml", "settings.local.toml", ".secrets.toml")
"""Weakest first; of two folders the later one wins for the same name."""

DEFAULT_ENVIRONMENT = "production"

_CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Found:
    """The text of a setting, and what the operator calls the place it came from."""

    text: str
    source: str
    rank: int
    """0 is the strongest place."""


def masked(text: str, *, secret: bool = False) -> str:
    """Return the text as one line to show: secrets and credentials inside of URLs are hidden."""
    if secret:
        return "***"
    line = text if text.isprintable() else repr(text)[1:-1]
    return _CREDENTIALS_IN_URL.sub("***@", line)


class Layers:
    """All places at once; what is wrong with a place is added to `problems`."""

    def __init__(
        self, environ: Mapping[str, str], files: Mapping[str, Found], problems: list[str]
    ) -> None:
        self.environ = environ
        self.files = files
        self._problems = problems

    def find(self, entry: Setting) -> Found | None:
        """Return the strongest text of a setting, None when nothing sets it."""
        found = self._variable(entry, entry.variable, 0) if entry.variable else None
        if found is None and entry.own:
            found = self._variable(entry, entry.own_variable, 2) or self.files.get(entry.key)
        return found

    def _variable(self, entry: Setting, name: str, rank: int) -> Found | None:
        text = self.environ.get(name, "")
        path = self.environ.get(name + "_FILE", "") if entry.secret else ""
        if text and path:
            self._problems.append(
                f"{name} and {name}_FILE are both set: expected one of them, "
                f"for example only {name}_FILE={masked(path)}"
            )
        if text:
            return Found(text, name, rank)
        return self._secret_file(name + "_FILE", path, rank + 1) if path else None

    def _secret_file(self, name: str, path: str, rank: int) -> Found:
        try:
            text = Path(path).read_text(encoding="utf-8")
            reason = "" if text else "it is empty"
        except OSError as error:
            text, reason = "", error.strerror or "it cannot be read"
        except UnicodeDecodeError:
            text, reason = "", "it is not UTF-8"
        if reason:
            self._problems.append(
                f"{name}={path}: expected a file with the password ({reason}), "
                f"for example {name}=/run/secrets/password"
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
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}); expected a TOML file"
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
            found[name.lower()] = Found(text, f"{source}: {name.lower()}", len(FILE_NAMES) + 1)
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
