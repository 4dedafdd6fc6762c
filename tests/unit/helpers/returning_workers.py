"""Workers that fall silent and come back, as the rows of docs/spec/04, 11.1 tell it.

What happens is written as a script: happenings with commas between, a word or three each.

    STARTED             she tells this status and gets 200 with its usual action
    STARTED 202         she gets this answer
    CONTRIBUTED 202 18s she gets it after so long
    to REVEALED         she tells all that is missing up to there, and does what she tells of
    contributes         her transaction is mined and she tells nobody; `reveals` likewise
    uploads 401         she brings her result to the proxy and gets this status
    joins               she asks for work and is given the task
    wait 30             so many seconds pass; whoever is there pings
    until 718           the same, until so many seconds after the first
    away 90             the same, while she is silent
    asks PLEASE_UPLOAD  she calls `interrupted`, which lists this
    pushed A/alice B/all  exactly this was pushed since the last such line, or since the return
    task RUNNING        the task has this status
    never WORKER_LOST   this status is not in the history of her replicate

She is Alice, who goes away; a `bob` in front makes it Bob, who stays.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from iexworker.sandbox.scheduler.models import Profile, Replicate
from tests.helpers.sandbox_pool import NOW_S, STEPS, history
from tests.unit.helpers.returning_pool import SCAN_S, ReturningPool, ScriptedWorker

QUICK_S = 4
SETTLE_S = 5
"""What a worker that is back waits for a message before it goes on unasked."""
BETWEEN_SCANS_S, BEFORE_SCAN_S = 5, 28
"""When in the period of the detectors a worker falls silent."""

USUAL = {
    "STARTED": "PLEASE_DOWNLOAD_APP",
    "APP_DOWNLOADED": "PLEASE_DOWNLOAD_DATA",
    "DATA_DOWNLOADED": "PLEASE_COMPUTE",
    "COMPUTED": "PLEASE_CONTRIBUTE",
    "CONTRIBUTED": "PLEASE_WAIT",
    "REVEALED": "PLEASE_WAIT",
    "RESULT_UPLOADED": "PLEASE_WAIT",
    "COMPLETED": "PLEASE_WAIT",
    "COMPUTE_FAILED": "PLEASE_ABORT",
    "ABORTED": "",
}
"""The action of each status that is not followed by PLEASE_CONTINUE (04, 1.5)."""

ENDS_COMPUTING = {"COMPUTED", "COMPUTE_FAILED", "COMPLETED", "FAILED"}
ENDED = {"COMPLETED", "FAILED"}
WHOLE = "PLEASE_REVEAL/alice PLEASE_UPLOAD/alice PLEASE_COMPLETE/all"
"""What is pushed in the life of a task that Alice computes alone."""


class Absence(enum.Enum):
    QUICK = "quick"
    LOST = "lost"
    RESTART = "restart"
    """Short, and the scheduler starts anew in it."""
    LATE = "late"
    """Four minutes."""
    OVERDUE = "overdue"
    """Until the scheduler has given up the upload."""


@dataclass(frozen=True)
class Row:
    """A row of the tables."""

    name: str
    before: str
    """What happens before Alice falls silent."""
    back: str
    """What happens when she is back, with the answers."""
    asked: str = ""
    """What `interrupted` lists: an action, and `block` for that of the consensus, or a cause."""
    mined: str = ""
    """What she did and did not live to tell."""
    found: bool = False
    """The detectors come by before she is back, and find it."""
    meanwhile: str = ""
    """What others do while she is away; before the scheduler goes down if it does."""
    missed: str = ""
    """What is pushed while she is away."""
    asked_pushes: str = ""
    """What `interrupted` makes the scheduler push."""
    asked_back: str = ""
    """Replaces `back` where she has called `interrupted`."""
    stuck: str = ""
    """The status in which the task stays until its final deadline."""
    end: str = "COMPLETED"
    pushes: str = WHOLE
    """All that is pushed from first to last: nothing twice."""
    winners: int = 1
    finalize_delay_s: float = 2.4
    profiles: Sequence[str] = ("8", "9")
    absences: Sequence[Absence] = (Absence.QUICK, Absence.LOST, Absence.RESTART)
    ways: Sequence[str] = ("plain", "int")


@dataclass(frozen=True)
class Case:
    """A row with one way to go and to come back."""

    row: Row
    absence: Absence
    asks: bool
    profile: str

    def __str__(self) -> str:
        way = "int" if self.asks else "plain"
        return f"{self.row.name}-{self.absence.value}-{way}-{self.profile}"


def cases(rows: Sequence[Row]) -> list[Case]:
    return [
        Case(row, absence, way == "int", profile)
        for row in rows
        for absence in row.absences
        for way in row.ways
        for profile in row.profiles
    ]


class ReturnRun:
    """One case, played."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.row = case, case.row
        self.pool = ReturningPool(case.profile, folder, self.row.winners, self.row.finalize_delay_s)
        self.alice = ScriptedWorker(self.pool, "alice", b"\7" * 32)
        self.bob = ScriptedWorker(self.pool, "bob", b"\x08" * 32)
        self.seen = 0
        for worker in (self.alice, self.bob):
            self.pool.join(worker.wallet)
            self.pool.present.add(worker.wallet)
            worker.login()

    @property
    def mine(self) -> Replicate:
        return self.pool.replicate(self.pool.task, self.alice.wallet)

    def play(self) -> None:
        self.run("joins")
        to_be_found = self.row.found and self.case.absence is not Absence.RESTART
        self.pool.wait_for_phase(BEFORE_SCAN_S if to_be_found else BETWEEN_SCANS_S)
        self.run(self.row.before)
        last = next((one for one in reversed(history(self.mine)) if one in STEPS), None)
        self.seen = len(self.pool.push.sent)
        self.go_away()
        self.come_back(last)
        self.run(self.row.asked_back if self.case.asks and self.row.asked_back else self.row.back)
        self.end()

    # --- the absence ---

    def go_away(self) -> None:
        self.pool.present.remove(self.alice.wallet)
        if self.row.found and self.case.absence is not Absence.RESTART:
            self.run(self.row.mined)
        _LEAVE[self.case.absence](self)
        if not self.row.found:
            self.run(self.row.mined)
        if self.case.absence is not Absence.RESTART:
            self.run(self.row.meanwhile)

    def quick(self) -> None:
        self.pool.wait(QUICK_S)

    def late(self) -> None:
        self.pool.wait(240)

    def lost(self) -> None:
        assert 60 < self.wait_for("WORKER_LOST") <= 90

    def overdue(self) -> None:
        assert 120 < self.wait_for("RESULT_UPLOAD_FAILED") <= 150

    def wait_for(self, status: str) -> float:
        """Wait until the scheduler has recorded a status of hers; return for how long it was."""
        since_s = self.pool.clock.time_s
        while status not in history(self.mine):
            assert self.pool.clock.time_s < since_s + 300
            self.pool.wait(1)
        return self.pool.clock.time_s - since_s

    def restart(self) -> None:
        self.run(self.row.meanwhile)
        self.pool.wait(QUICK_S / 2)
        self.pool.book.close()
        self.pool.clock.time_s += QUICK_S / 2
        self.pool.chain.block += QUICK_S // 2
        if self.row.found:
            self.run(self.row.mined)
        self.pool.boot()
        self.pool.scheduler.turn()

    # --- the return ---

    def come_back(self, last: str | None) -> None:
        if self.case.absence is Absence.RESTART:
            self.meet_new_scheduler()
        else:
            old = self.alice.token
            assert self.alice.login() == old
        assert self.alice.ping() == 200
        self.pool.present.add(self.alice.wallet)
        self.check_slots()
        self.check_pushes(self.row.missed)
        if self.case.asks:
            self.ask(self.row.asked)
        if last is not None:
            self.tell(self.alice, last, 208)
        self.pool.wait(SETTLE_S)
        self.check_pushes(self.row.asked_pushes if self.case.asks else "")

    def meet_new_scheduler(self) -> None:
        for worker in (self.alice, self.bob):
            old = worker.token
            assert worker.ping() == 401
            assert worker.login() != old
        if self.pool.profile is Profile.V9:
            # Any status will do: none is looked at yet.
            assert self.alice.tell("ABORTED") == (503, "")
            self.pool.wait(1)

    def ask(self, expected: str) -> None:
        """Call `interrupted`; whoever is told something is recovering from then on."""
        assert self.alice.interrupted() == [expected] * bool(expected)
        assert (history(self.mine)[-1] == "RECOVERING") is bool(expected)
        self.check_slots()

    def check_slots(self) -> None:
        """The list of what she computes: right, and nothing but read."""
        task = self.pool.task
        before = (history(self.mine), len(task.history), len(self.pool.push.sent))
        over = ENDS_COMPUTING & set(history(self.mine)) or task.status.value in ENDED
        for _ in range(2):
            assert self.alice.computing() == ([] if over else [self.pool.task_id])
            self.pool.scheduler.turn()
        assert (history(self.mine), len(task.history), len(self.pool.push.sent)) == before

    def check_pushes(self, expected: str) -> None:
        assert self.pushed(self.seen) == expected.split()
        self.seen = len(self.pool.push.sent)

    def pushed(self, since: int = 0) -> list[str]:
        """Return what was pushed, in the words of a row."""
        names = {worker.wallet: worker.name for worker in (self.alice, self.bob)}
        return [
            "/".join(
                [
                    one.action.value,
                    "+".join(names[wallet] for wallet in one.recipients) or "all",
                    *([one.cause.value] if one.cause else []),
                ]
            )
            for one in self.pool.push.sent[since:]
        ]

    def end(self) -> None:
        """What comes of the task, and all that was pushed for it: nothing twice."""
        if self.row.stuck:
            assert self.pool.task.status.value == self.row.stuck
            left_s = self.pool.task.deal.final_deadline_s - self.pool.clock.time_s
            self.pool.wait(left_s - 1)
            assert self.pool.task.status.value == self.row.stuck
            self.pool.wait(SCAN_S + 1)
        assert self.pool.task.status.value == self.row.end
        self.check_slots()
        assert self.pushed() == self.row.pushes.split()

    # --- scripts ---

    def run(self, script: str) -> None:
        for line in filter(None, script.split(", ")):
            words = line.split()
            worker = self.bob if words[0] == "bob" else self.alice
            self.do(worker, *(words[1:] if worker is self.bob else words))

    def do(self, worker: ScriptedWorker, verb: str, *told: str) -> None:
        if verb in ("wait", "until"):
            passed_s = self.pool.clock.time_s - NOW_S if verb == "until" else 0
            self.pool.wait(float(told[0]) - passed_s)
        elif verb == "away":
            self.pool.present.remove(worker.wallet)
            self.pool.wait(float(told[0]))
            self.pool.present.add(worker.wallet)
        elif verb == "pushed":
            self.check_pushes(" ".join(told))
        elif verb == "task":
            assert [self.pool.task.status.value] == list(told)
        elif verb == "never":
            assert told[0] not in history(self.mine)
        else:
            self.act(worker, verb, *told)

    def act(self, worker: ScriptedWorker, verb: str, *told: str) -> None:
        if verb == "joins":
            self.pool.give(self.pool.task, worker.wallet)
        elif verb == "to":
            for status in self.missing(worker, told[0]):
                self.tell(worker, status)
        elif verb == "contributes":
            worker.contribute()
        elif verb == "reveals":
            worker.reveal()
        elif verb == "asks":
            self.ask(" ".join(told))
        elif verb == "uploads":
            assert worker.upload() == int(told[0])
        else:
            self.tell(worker, verb, *map(_number, told))

    def missing(self, worker: ScriptedWorker, last: str) -> Iterator[str]:
        told = set(history(self.pool.replicate(self.pool.task, worker.wallet)))
        furthest = max((at for at, one in enumerate(STEPS) if one in told), default=-1)
        for status in STEPS[furthest + 1 : STEPS.index(last) + 1]:
            if status == "COMPLETING":
                # It tells that it completes when the task has ended.
                self.pool.wait(SETTLE_S)
            yield status

    def tell(
        self, worker: ScriptedWorker, status: str, code: int = 200, duration_s: int = 0
    ) -> None:
        """Tell a status after what it is about, and compare the answer."""
        if code != 208:
            worker.prepare(status)
        action = {200: USUAL.get(status, "PLEASE_CONTINUE"), 202: "PLEASE_ABORT"}
        began_s = self.pool.clock.time_s
        assert worker.tell(status) == (code, action.get(code, "PLEASE_WAIT")), status
        assert self.pool.clock.time_s - began_s == duration_s
        if worker is self.alice:
            self.check_slots()


_LEAVE = {
    Absence.QUICK: ReturnRun.quick,
    Absence.LOST: ReturnRun.lost,
    Absence.RESTART: ReturnRun.restart,
    Absence.LATE: ReturnRun.late,
    Absence.OVERDUE: ReturnRun.overdue,
}


def _number(word: str) -> int:
    return int(word.removesuffix("s"))
