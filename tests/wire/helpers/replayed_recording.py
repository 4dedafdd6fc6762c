"""A recording as what surrounds the sandbox's scheduler: its clock, its chain, its result proxy.

What happened on chain is not in a recording. Here it is inferred: a transaction was mined right
before the status that tells of it, the consensus two reference times before the reveal deadline
that `GET /tasks` shows. Where that is not enough, `sandbox-facts.toml` says more. Workers whose
requests were not recorded act as the histories in `GET /tasks` say.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from iexworker.sandbox.scheduler.interfaces import (
    ChainContribution,
    ChainTask,
    ChainTaskStatus,
    ContributionStatus,
    Mined,
)
from iexworker.sandbox.scheduler.models import ZERO_ADDRESS, Deal

WIRE = Path(__file__).parents[1]
FACTS: Mapping[str, Mapping[str, Any]] = tomllib.loads((WIRE / "sandbox-facts.toml").read_text())

BEFORE_S = 0.004
"""How long before the status that tells of it something happened, where nothing says more."""
SAME_S = 0.3
"""Two recordings of one run place an event that they share this near to each other."""
MAX_EXECUTION_MS = 300_000
SOME_HASH = "0x" + "11" * 32
SET_BY_SCHEDULER = frozenset(
    ("CREATED", "RESULT_UPLOAD_REQUESTED", "WORKER_LOST", "RECOVERING", "FAILED")
)
UNTIL_CONTRIBUTING = (
    *("STARTING", "STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED", "DATA_DOWNLOADING"),
    *("DATA_DOWNLOADED", "COMPUTING", "COMPUTED", "CONTRIBUTING"),
)
AFTER_CONTRIBUTING = (
    *("CONTRIBUTED", "REVEALING", "REVEALED", "RESULT_UPLOADING", "RESULT_UPLOADED"),
    *("COMPLETING", "COMPLETED"),
)


def load(name: str) -> dict[str, Any]:
    recording: dict[str, Any] = json.loads((WIRE / f"{name}.json").read_text())
    return recording


def seconds(date: str) -> float:
    return datetime.fromisoformat(date).timestamp()


class MovableClock:
    """A clock that the replay moves, and that a sleeper moves too."""

    def __init__(self, now_s: float) -> None:
        self.time_s = now_s

    def now_s(self) -> float:
        return self.time_s

    def sleep(self, duration_s: float) -> None:
        self.time_s += duration_s

    def move_to(self, now_s: float) -> None:
        self.time_s = max(self.time_s, now_s)


@dataclass
class OnChain:
    """One contribution: when it was mined, and when revealed; `None` is never."""

    contributed_s: float | None = None
    revealed_s: float | None = None
    result_hash: str = SOME_HASH


@dataclass
class RecordedTask:
    """Everything outside the scheduler that is true of one task, and when."""

    task_id: str
    deal: Deal
    index: int
    announced_s: float
    initialization_block: int = 1
    consensus_s: float | None = None
    consensus_block: int = 0
    reveal_deadline_s: int = 0
    finalized_s: float | None = None
    result_s: float | None = None
    contributions: dict[str, OnChain] = field(default_factory=dict)
    initialized: bool = False


class RecordedChain:
    """The chain of the recording."""

    def __init__(self, clock: MovableClock, tasks: Mapping[str, RecordedTask]) -> None:
        self._clock = clock
        self._tasks = tasks

    def _past(self, at_s: float | None) -> bool:
        return at_s is not None and at_s <= self._clock.now_s()

    def head(self) -> tuple[int, int]:
        now_s = int(self._clock.now_s())
        return now_s, now_s

    def deals_since(self, block: int) -> Sequence[tuple[int, str]]:
        return ()

    def deal(self, deal_id: str) -> Deal | None:
        return next((one.deal for one in self._tasks.values() if one.deal.deal_id == deal_id), None)

    def task(self, task_id: str) -> ChainTask | None:
        recorded = self._tasks[task_id]
        if not recorded.initialized:
            return None
        made = recorded.contributions.values()
        status = ChainTaskStatus.ACTIVE
        if self._past(recorded.consensus_s):
            status = ChainTaskStatus.REVEALING
        if self._past(recorded.finalized_s):
            status = ChainTaskStatus.COMPLETED
        return ChainTask(
            status=status,
            deal_id=recorded.deal.deal_id,
            consensus=next((one.result_hash for one in made), SOME_HASH),
            reveal_deadline_s=recorded.reveal_deadline_s,
            final_deadline_s=recorded.deal.final_deadline_s,
            reveals=sum(self._past(one.revealed_s) for one in made),
            winners=sum(self._past(one.contributed_s) for one in made),
        )

    def contribution(self, task_id: str, wallet: str) -> ChainContribution:
        found = self._tasks[task_id].contributions.get(wallet, OnChain())
        status = ContributionStatus.UNSET
        if self._past(found.contributed_s):
            status = ContributionStatus.CONTRIBUTED
        if self._past(found.revealed_s):
            status = ContributionStatus.PROVED
        return ChainContribution(status, found.result_hash, 1)

    def worker_weight(self, wallet: str) -> int:
        return 2

    def consensus_block(self, task_id: str) -> int:
        return self._tasks[task_id].consensus_block

    def has_gas(self, wallet: str) -> bool:
        return True

    def initialize(self, deal_id: str, index: int) -> str:
        for recorded in self._tasks.values():
            if (recorded.deal.deal_id, recorded.index) == (deal_id, index):
                recorded.initialized = True
                return recorded.task_id
        raise AssertionError(f"nobody bought {deal_id}")

    def finalize(self, task_id: str, results: str, callback_data: str) -> str:
        recorded = self._tasks[task_id]
        if recorded.finalized_s is None:
            recorded.finalized_s = self._clock.now_s()
        return task_id

    def mined(self, transaction: str) -> Mined | None:
        return Mined(self._tasks[transaction].initialization_block, True)


class RecordedResults:
    """The result proxy of the recording."""

    def __init__(self, clock: MovableClock, tasks: Mapping[str, RecordedTask]) -> None:
        self._clock = clock
        self._tasks = tasks

    def has_result(self, task_id: str) -> bool:
        at_s = self._tasks[task_id].result_s
        return at_s is not None and at_s <= self._clock.now_s()


@dataclass(frozen=True)
class UnrecordedWorker:
    """A status of a worker whose requests are not in the recording; None asks for work."""

    at_s: float
    task_id: str
    wallet: str
    status: str
    view: Mapping[str, Any]


class ReplayedRecording:
    """One recording, or several of one run, with what is known around them."""

    def __init__(self, name: str, parts: Mapping[str, float]) -> None:
        """`parts` says which recordings, and when each began in the run."""
        self.name = name
        self.profile = name[0]
        self.facts = FACTS.get(name, {})
        self.events = sorted(_merged(parts), key=lambda event: event["t"])
        self.start_s = self._start()
        self.tasks: dict[str, RecordedTask] = {}
        self.unrecorded_workers: list[UnrecordedWorker] = []
        for event in self.events:
            grant = _grant(event)
            if grant and grant["chainTaskId"] not in self.tasks:
                self._stage_task(event, grant)
        for task_id, began_s in self.facts.get("finished", {}).items():
            self._finish_elsewhere(self.tasks[task_id], self.start_s + began_s)
        for one in self.facts.get("beside", ()):
            self._give_beside(one["task"], one["wallet"], self.start_s + one["at"])

    def _start(self) -> float:
        """Find the instant of t = 0 from any date that an answer shows."""
        for event in self.events:
            answer = event.get("response")
            if isinstance(answer, dict) and "timestamp" in answer:
                return seconds(answer["timestamp"]) - float(event["answered"])
        view = next(filter(None, map(_task_view, reversed(self.events))))
        wallet = next(filter(None, map(_grant, self.events)))["workerWallet"]
        history = _history(view, wallet)
        # What was accepted had been recorded before it was answered.
        return max(
            history[event["body"]["status"]] - float(event["answered"])
            for event in self.events
            if event.get("status") == 200 and _tells(event, history)
        )

    def wallets(self) -> set[str]:
        return {grant["workerWallet"] for grant in map(_grant, self.events) if grant}

    def scans_at_s(self) -> float:
        """Return an instant at which the timers ran: that of any WORKER_LOST, or what facts say."""
        if "scan" in self.facts:
            return self.start_s + float(self.facts["scan"])
        return next(iter(self.losses().values()), self.start_s - 1)

    def losses(self) -> dict[str, float]:
        """When each wallet was declared lost."""
        found = {}
        for view in filter(None, map(_task_view, self.events)):
            for replicate in view["replicates"]:
                history = _history(view, replicate["walletAddress"])
                if "WORKER_LOST" in history:
                    found[replicate["walletAddress"]] = history["WORKER_LOST"]
        return found

    def _stage_task(self, event: Mapping[str, Any], grant: Mapping[str, Any]) -> None:
        task_id = grant["chainTaskId"]
        views = [view for view in map(_task_view, self.events) if view]
        view = next((one for one in reversed(views) if one["chainTaskId"] == task_id), None)
        told = self._told(task_id)
        recorded = RecordedTask(
            task_id,
            _deal(grant, view, self.start_s),
            grant.get("taskIndex", 0),
            self.start_s + event["t"] - 0.05,
        )
        self.tasks[task_id] = recorded
        if view is None:
            self._record_from_requests(recorded, grant["workerWallet"], told)
        else:
            self._record_from_view(recorded, view, told)

    def _told(self, task_id: str) -> dict[str, tuple[float, Mapping[str, Any]]]:
        """Find when the recorded worker first told each status of the task, and how."""
        found: dict[str, tuple[float, Mapping[str, Any]]] = {}
        for event in self.events:
            if f"/replicates/{task_id}/" in event.get("request", ""):
                found.setdefault(event["body"]["status"], (event["t"], event["body"]))
        return found

    def _record_from_requests(
        self,
        recorded: RecordedTask,
        wallet: str,
        told: Mapping[str, tuple[float, Mapping[str, Any]]],
    ) -> None:
        def at(status: str) -> float | None:
            return self.start_s + told[status][0] - BEFORE_S if status in told else None

        mined = OnChain(at("CONTRIBUTED"), at("REVEALED"))
        mined.contributed_s = self._fact("contributed", recorded) or mined.contributed_s
        recorded.contributions[wallet] = mined
        recorded.consensus_s = mined.contributed_s
        recorded.result_s = at("RESULT_UPLOADED")
        recorded.finalized_s = self._completion_pushed_s(recorded)
        if "CONTRIBUTED" in told:
            recorded.consensus_block = told["CONTRIBUTED"][1]["details"]["chainReceipt"][
                "blockNumber"
            ]

    def _record_from_view(
        self,
        recorded: RecordedTask,
        view: Mapping[str, Any],
        told: Mapping[str, tuple[float, Mapping[str, Any]]],
    ) -> None:
        recorded.initialization_block = view["initializationBlockNumber"]
        if view["revealDeadline"]:
            recorded.reveal_deadline_s = round(seconds(view["revealDeadline"]))
            recorded.consensus_s = (
                recorded.reveal_deadline_s - 2 * recorded.deal.max_execution_ms / 1000
            )
        for replicate in view["replicates"]:
            self._record_replicate(recorded, view, replicate, told)
        if recorded.consensus_s is None:
            made = [
                one.contributed_s for one in recorded.contributions.values() if one.contributed_s
            ]
            recorded.consensus_s = max(made, default=None)
        recorded.consensus_block = self._consensus_block(told)
        dates = {one["status"]: seconds(one["date"]) for one in view["dateStatusList"]}
        if "FINALIZED" in dates:
            recorded.finalized_s = min(dates["FINALIZED"], self._completion_pushed_s(recorded))
        recorded.result_s = self._fact("result", recorded) or recorded.result_s

    def _record_replicate(
        self,
        recorded: RecordedTask,
        view: Mapping[str, Any],
        replicate: Mapping[str, Any],
        told: Mapping[str, tuple[float, Mapping[str, Any]]],
    ) -> None:
        wallet = replicate["walletAddress"]
        history = _history(view, wallet)
        if wallet in self.wallets():
            # A request comes before what is recorded because of it.
            history = {
                status: min(at_s, self.start_s + told[status][0]) if status in told else at_s
                for status, at_s in history.items()
            }
        mined = OnChain()
        if "CONTRIBUTED" in history:
            known_s = history["CONTRIBUTED"] - BEFORE_S
            mined.contributed_s = min(known_s, recorded.consensus_s or known_s)
            mined.result_hash = replicate["contributionHash"]
            recorded.contributions[wallet] = mined
        if "REVEALED" in history:
            mined.revealed_s = self._fact("revealed", recorded) or history["REVEALED"] - BEFORE_S
        if "RESULT_UPLOADED" in history:
            known_s = history["RESULT_UPLOADED"] - BEFORE_S
            recorded.result_s = min(known_s, recorded.result_s or known_s)
        if wallet not in self.wallets():
            self.unrecorded_workers += [
                UnrecordedWorker(at_s, recorded.task_id, wallet, status, replicate)
                for status, at_s in history.items()
                if status == "CREATED" or status not in SET_BY_SCHEDULER
            ]

    def _fact(self, name: str, recorded: RecordedTask) -> float | None:
        """Return an instant that the facts give for a task."""
        at_s = self.facts.get(name, {}).get(recorded.task_id[:10])
        return None if at_s is None else self.start_s + float(at_s)

    def _completion_pushed_s(self, recorded: RecordedTask) -> float:
        for event in self.events:
            frame = event.get("sockjs", "")
            if "PLEASE_COMPLETE" in frame and recorded.task_id in frame:
                return self.start_s + float(event["t"])
        return float("inf")

    def _finish_elsewhere(self, recorded: RecordedTask, began_s: float) -> None:
        """Run a task whose requests are in no recording to its end, in three seconds."""
        wallet = next(iter(self.wallets()))
        recorded.contributions[wallet] = OnChain(began_s + 0.9, began_s + 1.4)
        recorded.consensus_s, recorded.result_s = began_s + 0.9, began_s + 2
        recorded.finalized_s = began_s + 2.5
        view = {"resultLink": "somewhere"}
        for number, status in enumerate(UNTIL_CONTRIBUTING):
            self._add_unrecorded(began_s + number / 100, recorded, wallet, status, view)
        for number, status in enumerate(AFTER_CONTRIBUTING):
            self._add_unrecorded(began_s + 1 + number / 3, recorded, wallet, status, view)

    def _give_beside(self, task_id: str, wallet: str, at_s: float) -> None:
        """Have a wallet given a task that it does nothing about."""
        grant = {"chainTaskId": task_id}
        recorded = RecordedTask(task_id, _deal(grant, None, self.start_s), 0, at_s - 0.05)
        self.tasks[task_id] = recorded
        self._add_unrecorded(at_s, recorded, wallet, "CREATED", {})

    def _add_unrecorded(
        self, at_s: float, recorded: RecordedTask, wallet: str, status: str, view: Mapping[str, Any]
    ) -> None:
        self.unrecorded_workers.append(
            UnrecordedWorker(at_s, recorded.task_id, wallet, status, view)
        )

    def _consensus_block(self, told: Mapping[str, tuple[float, Mapping[str, Any]]]) -> int:
        for event in self.events:
            frame = event.get("sockjs", "")
            if "PLEASE_REVEAL" in frame:
                return int(frame.partition('blockNumber\\":')[2].partition(",")[0])
        details = told.get("CONTRIBUTED", (0, {}))[1].get("details") or {}
        return int((details.get("chainReceipt") or {}).get("blockNumber", 0))


def _merged(parts: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Yield the events of all parts; those that two parts share come once."""
    seen: list[tuple[str, str, float]] = []
    for name, offset in parts.items():
        for event in load(name)["events"]:
            moved = event | {"t": event["t"] + offset, "part": name, "at": event["t"]}
            moved["answered"] = event.get("answered", event["t"]) + offset
            key = json.dumps([event.get(one) for one in ("request", "body", "sockjs")])
            if any(
                part != name and key == other and abs(at_s - moved["t"]) < SAME_S
                for part, other, at_s in seen
            ):
                continue
            seen.append((name, key, moved["t"]))
            yield moved


def _grant(event: Mapping[str, Any]) -> dict[str, Any] | None:
    answer = event.get("response")
    if event.get("request", "").startswith("GET /replicates/available") and answer:
        grant: dict[str, Any] | None = answer.get("workerpoolAuthorization")
        return grant
    return None


def _task_view(event: Mapping[str, Any]) -> dict[str, Any] | None:
    is_view = event.get("request", "").startswith("GET /tasks/")
    return event["response"] if is_view else None


def _tells(event: Mapping[str, Any], history: Mapping[str, float]) -> bool:
    body = event.get("body")
    return isinstance(body, dict) and body.get("status") in history


def _history(view: Mapping[str, Any], wallet: str) -> dict[str, float]:
    replicate = next(one for one in view["replicates"] if one["walletAddress"] == wallet)
    return {one["status"]: seconds(one["date"]) for one in replicate["statusUpdateList"]}


def _deal(grant: Mapping[str, Any], view: Mapping[str, Any] | None, start_s: float) -> Deal:
    shown = view or {}
    timeref_ms = shown.get("maxExecutionTime", MAX_EXECUTION_MS)
    began_s = int(start_s)
    if "contributionDeadline" in shown:
        began_s = round(seconds(shown["contributionDeadline"])) - 7 * timeref_ms // 1000
    return Deal(
        # 8.5 does not tell the deal: any id will do that is the task's own.
        deal_id=grant.get("dealId", grant["chainTaskId"]),
        trust=shown.get("trust", 1),
        tag=shown.get("tag", "0x" + "00" * 32),
        app_type=shown.get("dappType", "DOCKER"),
        app_image=shown.get("dappName", "app"),
        command=shown.get("commandLine", ""),
        callback=ZERO_ADDRESS,
        max_execution_ms=timeref_ms,
        start_s=began_s,
        first=grant.get("taskIndex", 0),
        size=1,
    )
