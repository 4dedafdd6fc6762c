"""Finds containers of this wallet by label, and removes those that no slot works with.

A crash leaves some behind, and so does an engine that is away when a task ends.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from iexworker import outage
from iexworker.compute import gpu_probe, names
from iexworker.compute.engine import Engine
from iexworker.errors import Unavailable
from iexworker.retry import until_true
from iexworker.task.replicate import Replicate, Step

PROBE_TIMEOUT_S = 10
"""For the calls by which the engine is watched: a silent one is to be noticed soon."""
_SWEEPER = "sweeper"

log = logging.getLogger(__name__)


class EngineContainers:
    """Finds containers by label, never by a guess from their name; calls block."""

    def __init__(self, address: str, wallet: str) -> None:
        self._wallet = wallet
        self._engine = Engine(address)
        self._lock = threading.Lock()  # one client, used by whichever thread needs it
        self._probe = Engine(address, PROBE_TIMEOUT_S)
        self._probe_lock = threading.Lock()

    def ping(self) -> None:
        """Raise `DockerError` when the engine does not answer soon."""
        with self._probe_lock:
            self._probe.ping()

    def runtimes(self) -> tuple[str, ...]:
        """Return the names of the engine's runtimes; raises `DockerError`."""
        with self._probe_lock:
            return self._probe.runtimes()

    def gpu_trouble(self, gpus: str) -> str:
        """Say why no container can have these GPUs, empty when one can; raises `DockerError`."""
        with self._lock:
            return gpu_probe.trouble(self._engine, self._wallet, gpus)

    def kill_task(self, task_id: str) -> None:
        """Kill and remove the task's containers; raises `DockerError`."""
        with self._lock:
            count = self._engine.remove_labelled(self._wallet, task_id)
        if count:
            log.debug("containers removed", extra={"task": task_id, "count": count})

    def owned(self) -> dict[str, str]:
        """Return the id of each container with its task; raises `DockerError`."""
        with self._lock:
            found = self._engine.find({names.LABEL_WALLET: self._wallet})
        return {container.id: container.labels.get(names.LABEL_TASK, "") for container in found}

    def remove(self, container: str) -> None:
        """Kill and remove a container, unless it is gone; raises `DockerError`."""
        with self._lock:
            self._engine.remove(container)


def computing(replicates: Iterable[Replicate]) -> set[str]:
    """Return the tasks whose containers a slot works with, or is about to adopt."""
    return {item.task_id for item in replicates if item.holds_slot or item.step is Step.COMPUTE}


class Containers(Protocol):
    """The wallet's containers in the Docker engine; calls block and raise `DockerError`."""

    def owned(self) -> dict[str, str]:
        """Return the id of each with its task."""

    def remove(self, container: str) -> None:
        """Kill and remove one, unless it is gone."""

    def kill_task(self, task_id: str) -> None:
        """Kill and remove those of a task."""


class Sweeper:
    """Starts with the first `sweep`: before that, a slot may still adopt any container."""

    def __init__(
        self, containers: Containers, replicates: Callable[[], Iterable[Replicate]]
    ) -> None:
        self._containers = containers
        self._replicates = replicates
        self._begun = asyncio.Event()
        self._left = asyncio.Event()

    async def sweep(self) -> None:
        """Remove containers that no task needs; `run` retries what the engine refuses now."""
        self._begun.set()
        if not await self._swept():
            self._left.set()

    async def kill_task(self, task_id: str) -> None:
        """Remove a task's containers, running or not; `run` retries if the engine is away."""
        try:
            await asyncio.to_thread(self._containers.kill_task, task_id)
        except Unavailable as error:
            outage.of(outage.DOCKER).failed(_SWEEPER, error, task=task_id)
            self._left.set()

    async def run(self) -> None:
        """Serve for ever."""
        await self._begun.wait()
        while True:
            await self._left.wait()
            self._left.clear()
            await until_true(self._swept, at_once=False)

    async def _swept(self) -> bool:
        """Look and remove once; return whether it went through."""
        try:
            owned = await asyncio.to_thread(self._containers.owned)
            # Asked after the look: a task is known before it has a container.
            needed = computing(self._replicates())
            for container, task_id in owned.items():
                if task_id not in needed:
                    await asyncio.to_thread(self._containers.remove, container)
                    log.warning("container left behind removed", extra={"task": task_id})
        except Unavailable as error:
            outage.of(outage.DOCKER).failed(_SWEEPER, error)
            return False
        outage.of(outage.DOCKER).worked(_SWEEPER)
        return True
