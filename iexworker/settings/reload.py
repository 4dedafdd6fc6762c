"""Which settings a running worker can take up, and by whose rebirth (SIGHUP).

A process of the tree may be killed at any moment and goes on where it was; so a setting is taken
up by replacing the processes that read it. What the tree itself is made of needs a restart.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from iexworker.errors import SettingsError
from iexworker.settings.model import Settings

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
        "shutdown_grace_s",
    }
)
"""Settings that locks, slots, the port or shared memory were made from."""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What a second reading of the settings found."""

    settings: Settings
    """The settings from now on; what needs a restart is as it was."""
    taken: tuple[str, ...]
    refused: tuple[str, ...]
    """Changed, but for a restart only."""


def compare(old: Settings, new: Settings) -> Change:
    """Return what of `new` can be taken up by a worker that runs with `old`."""
    names = [item.name for item in dataclasses.fields(Settings)]
    changed = [name for name in names if getattr(old, name) != getattr(new, name)]
    taken = tuple(name for name in changed if name not in FIXED)
    merged = dataclasses.replace(old, **{name: getattr(new, name) for name in taken})
    return Change(merged, taken, tuple(name for name in changed if name in FIXED))


def read_again(settings: Settings, read: Callable[[], Settings]) -> Change:
    """Read the settings a second time, and say what is taken and what waits for a restart."""
    try:
        # The password is where the others are not: in the secrets of `scheduling`.
        change = compare(settings, dataclasses.replace(read(), wallet_password=""))
    except SettingsError as error:
        for problem in error.problems:
            log.error("settings not taken", extra={"reason": problem})
        return Change(settings, (), ())
    log.info("settings read again", extra={"taken": ", ".join(change.taken) or "none has changed"})
    for name in change.refused:
        log.warning("setting waits for a restart", extra={"setting": name})
    return change
