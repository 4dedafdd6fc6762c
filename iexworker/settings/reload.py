"""Which settings a running worker can take up, and by whose rebirth (SIGHUP).

A process of the tree may be killed at any moment and goes on where it was; so a setting is taken
up by replacing the processes that read it. What the tree itself is made of needs a restart.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection

from iexworker.errors import SettingsError
from iexworker.settings.model import Loaded, Settings

log = logging.getLogger(__name__)

FIXED = frozenset(
    {
        "name",
        "base_dir",
        "wallet_path",
        "wallet_password",
        "cpu_override",
        "gpu_enabled",
        "port",
        "listen_address",
        "window_size",
    }
)
"""Settings that locks, slots, the port or shared memory were made from."""

OF_THE_PARENT = frozenset({"shutdown_grace_s"})
"""Settings that no other process reads."""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What a second reading of the settings found."""

    settings: Settings
    """The settings from now on; what needs a restart is as it was."""
    taken: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    """Changed, but for a restart only."""
    problems: tuple[str, ...] = ()
    """Why nothing was taken."""
    notes: tuple[str, ...] = ()
    """What else the operator should hear."""

    @property
    def renews(self) -> bool:
        """Whether processes have to be born again."""
        return not OF_THE_PARENT.issuperset(self.taken)

    def lines(self) -> list[str]:
        """Return what was done, as an operator reads it."""
        found = [f"taken: {', '.join(self.taken) or 'nothing has changed'}"]
        if self.refused:
            found.append(f"waits for a restart: {', '.join(self.refused)}")
        return [*found, *self.notes]


def compare(old: Settings, new: Settings) -> Change:
    """Return what of `new` can be taken up by a worker that runs with `old`."""
    names = [item.name for item in dataclasses.fields(Settings)]
    changed = [name for name in names if getattr(old, name) != getattr(new, name)]
    taken = tuple(name for name in changed if name not in FIXED)
    merged = dataclasses.replace(old, **{name: getattr(new, name) for name in taken})
    return Change(merged, taken, tuple(name for name in changed if name in FIXED))


def read_again(settings: Settings, told: Collection[str], read: Callable[[], Loaded]) -> Change:
    """Read the settings a second time, and say what is taken and what waits for a restart.

    `settings` are those in use, the password with them; `told` are warnings that were heard.
    """
    try:
        loaded = read()
    except SettingsError as error:
        for problem in error.problems:
            log.error("settings not taken", extra={"reason": problem})
        return Change(settings, problems=error.problems)
    change = compare(settings, loaded.settings)
    warnings = [text for text in loaded.warnings if text not in told]
    change = dataclasses.replace(change, notes=(*loaded.notes, *warnings))
    log.info("settings read again", extra={"taken": ", ".join(change.taken) or "none has changed"})
    for name in change.refused:
        log.warning("setting waits for a restart", extra={"setting": name})
    for note in change.notes:
        log.warning("setting to look at", extra={"reason": note})
    return change
