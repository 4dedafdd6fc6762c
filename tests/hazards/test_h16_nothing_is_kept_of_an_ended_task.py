"""H16: what is kept of a task outlives it, a description that its last update fetches again first.

When ours has ended, neither memory nor journal mention it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pytest

from iexworker.scheduling.effects import EffectExecutor
from iexworker.scheduling.runner import Runner
from tests.hazards.helpers.hazard_check import fails_only_upstreams_way
from tests.hazards.helpers.scheduling_harness import SchedulingHarness, run_scenario

DEPTH = 6


async def scenario(harness: SchedulingHarness) -> None:
    tasks = [harness.grant(number) for number in (1, 2)]
    await harness.completes(*tasks)
    harness.held.add("compute")
    aborted = harness.grant(3)
    await harness.computes(aborted)
    harness.push_abort(aborted)
    await harness.comes_to(aborted, "ABORTED")
    await harness.until(lambda: not harness.runner.replicates, "no record is left")
    ended = {task.task_id for task in (*tasks, aborted)}
    await harness.until(lambda: set(harness.node.forgotten) == ended, "the outbox has been told")
    parts = (
        harness.runner,
        harness.effects,
        harness.slots,
        harness.poller,
        harness.topics,
    )
    await harness.until(lambda: not kept(parts, ended), "nothing is kept in memory")
    assert not list(harness.folder.glob("0x*"))
    assert harness.journal.unfinished() == 0


def kept(parts: Iterable[object], ended: set[str]) -> set[str]:
    """Return the tasks that these objects still hold, however deep."""
    return {found for part in parts for found in _texts(part, DEPTH) if found in ended}


def _texts(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth and not isinstance(value, bytes):
        for inner in _inside(value):
            yield from _texts(inner, depth - 1)


def _inside(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    own = type(value).__module__.startswith(("iexworker.task", "iexworker.scheduling"))
    return list(vars(value).values()) if own and hasattr(value, "__dict__") else []


def upstream(patch: pytest.MonkeyPatch) -> None:
    kick, drop = EffectExecutor.kick, Runner._drop

    def describe_first(self: EffectExecutor, task_id: str) -> None:
        descriptions = self.__dict__.setdefault("descriptions", {})
        descriptions[task_id] = "read from the chain, for the final deadline is in it"
        kick(self, task_id)

    def update_once_more(self: Runner, replicate: object) -> None:
        drop(self, replicate)  # type: ignore[arg-type]  # as it came
        self._effects.kick(replicate.task_id)  # type: ignore[attr-defined]  # as above

    patch.setattr(EffectExecutor, "kick", describe_first)
    patch.setattr(Runner, "_drop", update_once_more)


def test_an_ended_task_is_mentioned_nowhere() -> None:
    fails_only_upstreams_way(lambda: run_scenario(scenario, slots=3), upstream)
