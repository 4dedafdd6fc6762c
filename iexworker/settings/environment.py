"""The variables that settings are read from, at the start and again on a reload.

They are those that the process was started with and, over them, those of the env file that
`--env-file` names, as in a systemd unit, whose `EnvironmentFile=` wins over its `Environment=`. On
a reload the file counts for the names that it held at the start: systemd has put their old values
into the process's environment too. A name that is new in the file waits for a restart (decision
0013).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from iexworker import secrets
from iexworker.settings.checks import known_variables, unknown_names
from iexworker.settings.env_file import EnvFile, read_env_file

_SETTINGS = ("IEXEC_", "IEXWORKER_", "LOGGING_LEVEL_", "DOCKER_REGISTRIES_")


@dataclass(frozen=True, slots=True)
class Variables:
    """What one look found."""

    values: Mapping[str, str]
    origins: Mapping[str, str]
    """Name -> the env file that it is from."""
    notes: tuple[str, ...] = ()
    """What the operator should hear of the file."""
    exported: Mapping[str, str] = field(default_factory=dict)
    """What of the file libraries and programs read too; no secret is in it."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where variables come from, fixed at the start; it holds no secret."""

    path: Path | None
    held: frozenset[str]
    """The names that the file had at the start."""
    of_others: Mapping[str, str]
    """Those that are no setting of ours, with their values."""

    @classmethod
    def at_start(cls, own: Mapping[str, str], path: Path | None) -> tuple[Environment, Variables]:
        """Read the env file, when one is named; raises `SettingsError`."""
        if path is None:
            return cls(None, frozenset(), {}), Variables(own, {})
        file = read_env_file(path.absolute())
        exported = {name: text for name, text in file.values.items() if not secrets.is_secret(name)}
        variables = Variables(
            {**own, **file.values},
            _origins(file),
            (*file.warnings, *_overruled(own, file)),
            exported,
        )
        others = {name: text for name, text in exported.items() if _is_of_others(name)}
        return cls(file.path, frozenset(file.values), others), variables

    def again(self, own: Mapping[str, str]) -> Variables:
        """Return the variables of a reload; raises `SettingsError`."""
        if self.path is None:
            notes = ("no env file is named (--env-file): variables stay as they were at the start",)
            return Variables(own, {}, notes)
        file = read_env_file(self.path)
        kept = {name: text for name, text in own.items() if name not in self.held}
        taken = {name: text for name, text in file.values.items() if name in self.held}
        return Variables({**kept, **taken}, _origins(file), (*file.warnings, *self._waiting(file)))

    def _waiting(self, file: EnvFile) -> Iterator[str]:
        """Yield what of the file a running worker cannot take up."""
        new = {name: text for name, text in file.values.items() if name not in self.held}
        unknown = list(unknown_names(new, {}))
        yield from unknown
        for name in new:
            if not any(line.startswith(f"{name} ") for line in unknown):
                yield f"{name} is new in {file.path} and waits for a restart"
        for name, text in self.of_others.items():
            if file.values.get(name) != text:
                yield f"{name} has changed in {file.path} and waits for a restart"


def _overruled(own: Mapping[str, str], file: EnvFile) -> Iterator[str]:
    for name, text in file.values.items():
        if own.get(name, text) != text:
            yield f"{name}: {file.path} has another value than the environment, and wins"


def _is_of_others(name: str) -> bool:
    """Whether a library or program reads it, from the environment that it was started with."""
    return name not in known_variables() and not name.startswith(_SETTINGS)


def _origins(file: EnvFile) -> Mapping[str, str]:
    return dict.fromkeys(file.values, str(file.path))
