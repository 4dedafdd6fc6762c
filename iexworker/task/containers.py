"""The containers of this wallet, as scheduling deals with them when no slot does."""

from __future__ import annotations

import logging
import threading

from iexworker.compute import names
from iexworker.compute.engine import Engine

log = logging.getLogger(__name__)


class EngineContainers:
    """Finds containers by label, never by a guess from their name; calls block."""

    def __init__(self, address: str, wallet: str) -> None:
        self._wallet = wallet
        self._engine = Engine(address)
        self._lock = threading.Lock()  # one client, used by whichever thread needs it

    def ping(self) -> None:
        """Raise `DockerError` when the engine does not answer."""
        with self._lock:
            self._engine.ping()

    def runtimes(self) -> tuple[str, ...]:
        """Return the names of the engine's runtimes; raises `DockerError`."""
        with self._lock:
            return self._engine.runtimes()

    def kill_task(self, task_id: str) -> None:
        """Kill and remove the task's containers; raises `DockerError`."""
        with self._lock:
            count = self._engine.remove_labelled(self._wallet, task_id)
        if count:
            log.info("containers removed", extra={"task": task_id, "count": count})

    def owned(self) -> dict[str, str]:
        """Return the id of each container with its task; raises `DockerError`."""
        with self._lock:
            found = self._engine.find({names.LABEL_WALLET: self._wallet})
        return {container.id: container.labels.get(names.LABEL_TASK, "") for container in found}

    def remove(self, container: str) -> None:
        """Kill and remove a container, gone is fine; raises `DockerError`."""
        with self._lock:
            self._engine.remove(container)
