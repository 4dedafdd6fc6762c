"""From texts to values: every setting read by its kind, problems and sources collected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from iexworker.settings import parsers, texts
from iexworker.settings.sources import (
    DEFAULT_ENVIRONMENT,
    Found,
    Layers,
    masked,
    read_files,
    shown,
)
from iexworker.settings.table import TABLE, Setting, listed_registry_entries, registry_entries

DEFAULT_CONFIG_DIR = Path("/etc/iexworker")
DEFAULT_SOURCE = "default"

_CORE_PARTS = ("core_protocol", "core_host", "core_port")
_SCONE_PARTS = ("scone_registry_name", "scone_registry_username", "scone_registry_password")
_LOGGERS = ("COM_IEXEC_WORKER", "COM_IEXEC", "COM", "ROOT")
_LISTED_REGISTRY = re.compile(r"DOCKER_REGISTRIES_([0-9]+)_(?:ADDRESS|USERNAME|PASSWORD(?:_FILE)?)")
_OWN_REGISTRY = re.compile(
    r"(?:IEXWORKER_)?DOCKER_REGISTRY_(?:ADDRESS|USERNAME|PASSWORD)_([0-9]+)(?:_FILE)?"
)


_NO_ORIGINS: Mapping[str, str] = {}


class Reading:
    """What one look at all layers gave: `values` by key, usable when there is no problem."""

    def __init__(self, layers: Layers, problems: list[str]) -> None:
        self.problems = problems
        self.warnings: list[str] = []
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.file_keys = layers.files
        self._layers = layers
        self._found = {entry.key: layers.find(entry) for entry in TABLE}
        for entry in TABLE:
            self._set(entry.key, self._value(entry), [self._found[entry.key]])
        self._join_core_url()
        self._join_scone_registry()
        self._join_registries()
        self._choose_log_level()

    def _set(self, key: str, value: object, found: Iterable[Found | None]) -> None:
        self.values[key] = value
        names = dict.fromkeys(item.source for item in found if item)
        self.sources[key] = ", ".join(names) or DEFAULT_SOURCE

    def _value(self, entry: Setting) -> Any:  # noqa: ANN401 - as many types as there are settings
        found = self._found[entry.key]
        text = found.text if found else entry.default
        if not text or (found and found.spoilt):
            return None
        name = found.source if found else entry.shown_variable
        try:
            value = entry.kind.parse(text)
            if entry.kind is parsers.DURATION:
                self._look_at_unit(entry, name, text, value)
            return value
        except ValueError:
            self._expected(
                name,
                shown(text, entry),
                entry.kind.expected,
                f"{entry.shown_variable}={entry.example or entry.default}",
            )
            return None

    def _look_at_unit(self, entry: Setting, name: str, text: str, value_s: float) -> None:
        """Say how a bare number was read, where it was hardly meant so."""
        number = text.removeprefix("+")
        if number.isdigit() and value_s < 1:
            self.warnings.append(
                f"{name}={text}: read as {value_s * 1000:.0f} ms, as a number without a unit is by "
                f"the Java worker; {entry.shown_variable}={number}s is {number} s"
            )

    def _expected(self, name: str, shown: str, expected: str, example: str) -> None:
        self.problems.append(f"{name}={shown}: expected {expected}, for example {example}")

    def _join_core_url(self) -> None:
        parts = [self.values.pop(key) for key in _CORE_PARTS]
        for key in _CORE_PARTS:
            del self.sources[key]
        found = [item for key in _CORE_PARTS if (item := self._found[key])]
        if None in parts:
            return  # told already
        url = self._found["core_url"]
        if url and all(url.rank <= item.rank for item in found):
            return
        text = "{}://{}:{}".format(*parts)
        try:
            self._set("core_url", parsers.parse_url(text), found)
        except ValueError:
            names = ", ".join(item.source for item in found)
            self.problems.append(
                f"{names}: the parts give {masked(text)}, expected {parsers.URL.expected}, "
                "for example IEXEC_CORE_URL=http://localhost:13000"
            )

    def _join_scone_registry(self) -> None:
        parts = tuple(self.values.pop(key) or "" for key in _SCONE_PARTS)
        for key in _SCONE_PARTS:
            del self.sources[key]
        self._set("scone_registry", parts, [self._found[key] for key in _SCONE_PARTS])

    def _join_registries(self) -> None:
        logins, places = [], []
        for entries in self._registries():
            found = [self._layers.find(entry) for entry in entries]
            address, username, password = (
                item.text if item else entry.default
                for item, entry in zip(found, entries, strict=True)
            )
            if any(item.spoilt for item in found if item):
                continue
            if not (address.strip() and username.strip()):
                continue
            if not password.strip():
                self._expected(
                    found[1].source if found[1] else entries[1].shown_variable,
                    masked(username),
                    f"a password for {address} too",
                    f"{entries[2].shown_variable}=..., or its twin ending in _FILE",
                )
            logins.append((address, username, password))
            places.extend(found)
        self._set("registries", tuple(logins), places)

    def _registries(self) -> list[tuple[Setting, ...]]:
        listed = self._numbers(_LISTED_REGISTRY, self._layers.environ)
        if not listed:
            own = self._numbers(_OWN_REGISTRY, self._layers.environ)
            in_files = {
                int(match[1])
                for key in self._layers.files
                if (match := _OWN_REGISTRY.fullmatch(key.upper()))
            }
            return [registry_entries(index) for index in sorted({0, 1} | own | in_files)]
        missing = sorted(set(range(max(listed))) - listed)
        if missing:
            self._expected(
                f"DOCKER_REGISTRIES_{max(listed)}_ADDRESS",
                "...",
                "numbers from 0 without a gap",
                f"DOCKER_REGISTRIES_{missing[0]}_ADDRESS=docker.io",
            )
        return [listed_registry_entries(index) for index in sorted(listed)]

    @staticmethod
    def _numbers(pattern: re.Pattern[str], environ: Mapping[str, str]) -> set[int]:
        return {
            int(match[1])
            for name, text in environ.items()
            if text and (match := pattern.fullmatch(name))
        }

    def _choose_log_level(self) -> None:
        levels = {}
        for name, text in self._layers.environ.items():
            if not text or not name.startswith("LOGGING_LEVEL_") or texts.fault(text):
                continue
            try:
                levels[name.removeprefix("LOGGING_LEVEL_")] = parsers.parse_level(text)
            except ValueError:
                source = self._layers.source(name)
                self._expected(source, masked(text), parsers.LEVEL.expected, f"{name}=INFO")
        logger = next((logger for logger in _LOGGERS if logger in levels), None)
        if logger:
            self.values["log_level"] = levels[logger]
            self.sources["log_level"] = self._layers.source(f"LOGGING_LEVEL_{logger}")


def read(
    environ: Mapping[str, str],
    config_dirs: Sequence[Path] | None,
    origins: Mapping[str, str] = _NO_ORIGINS,
) -> Reading:
    """Look at all layers once; what is wrong is in the reading's `problems`."""
    problems: list[str] = []
    files = read_files(
        _directories(environ, config_dirs, problems),
        environ.get("IEXWORKER_ENV") or DEFAULT_ENVIRONMENT,
        problems,
    )
    return Reading(Layers(environ, files, problems, origins), problems)


def _directories(
    environ: Mapping[str, str], config_dirs: Sequence[Path] | None, problems: list[str]
) -> Sequence[Path]:
    named = environ.get("IEXWORKER_CONFIG_DIR", "")
    if config_dirs is None and (not named or texts.fault(named)):
        return [DEFAULT_CONFIG_DIR]
    directories = [Path(named)] if config_dirs is None else config_dirs
    problems.extend(
        f"configuration folder {folder}: expected a folder that exists, "
        f"for example {DEFAULT_CONFIG_DIR}"
        for folder in directories
        if not _is_folder(folder)
    )
    return directories


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
