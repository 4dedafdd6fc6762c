"""Runs every trial and writes docs/reliability/table.md; goes on where it was stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path

from tests.chaos.faulty_sandbox import FaultySandbox
from tests.chaos.trials import PROFILES, Row, Trial, all_trials, run

ROOT = Path(__file__).parents[2]
STATE = ROOT / ".cache" / "reliability.json"
LOGS = ROOT / ".cache" / "reliability"
DOCUMENT = ROOT / "docs" / "reliability" / "table.md"
BEGIN, END = "<!-- table: scripts/soak --table -->", "<!-- end of table -->"
SAID_LENGTH = 110
LANES = 2
"""Of each profile: a trial mostly waits."""
CALM_LOAD = 2.5 * (os.cpu_count() or 1)
"""On a machine busier than that no trial begins: it would tell of the machine, and slow others."""
CALM_PAUSE_S = 5.0


def commit() -> str:
    """Return the commit that is tested, marked where files differ from it."""
    found = _git("rev-parse", "--short=12", "HEAD")
    return found + ("+" if _git("status", "--porcelain", "--", "iexworker") else "")


def _git(*words: str) -> str:
    answer = subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


class Record:
    """The rows so far, on disk after each; of one seed, each with its commit."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.commit = commit()
        self._lock = threading.Lock()
        self.rows: dict[str, dict[str, object]] = {}
        if STATE.exists():
            known = json.loads(STATE.read_text())
            if known["seed"] == seed:
                self.rows = known["rows"]

    def has(self, trial: Trial) -> bool:
        """Tell whether the trial was run and held."""
        return bool(self.rows.get(str(trial), {}).get("held"))

    def add(self, trial: Trial, row: Row) -> None:
        """Take a row."""
        with self._lock:
            self.rows[str(trial)] = {**asdict(trial), **asdict(row), "commit": self.commit}
            draft = STATE.with_suffix(".draft")
            draft.write_text(json.dumps({"seed": self.seed, "rows": self.rows}, indent=1))
            draft.replace(STATE)


class Lane(threading.Thread):
    """Runs the trials of one profile one after the other, on a sandbox of its own."""

    def __init__(self, profile: str, trials: list[Trial], record: Record, until_s: float) -> None:
        super().__init__(name=f"profile {profile}")
        self._profile = profile
        self._left = deque(trials)
        self._record = record
        self._until_s = until_s
        self._sandbox: FaultySandbox | None = None
        self.stopped = threading.Event()
        """Set to begin no more trials."""

    def run(self) -> None:
        """Run until nothing or no time is left."""
        try:
            while self._left and time.monotonic() < self._until_s and not self.stopped.is_set():
                if os.getloadavg()[0] > CALM_LOAD:
                    time.sleep(CALM_PAUSE_S)
                else:
                    self._try(self._left.popleft())
        finally:
            self._close()

    def _try(self, trial: Trial) -> None:
        try:
            self._sandbox = self._sandbox or FaultySandbox(_folder(), self._profile)
            row = run(self._sandbox, trial)
        except Exception as error:  # noqa: BLE001 - a trial that cannot be run is a row, too
            row = Row(f"not run: {error!r:.200}", False, 0.0, "")
        self._record.add(trial, row)
        print(
            f"{'ok' if row.held else 'NOT'} {row.seconds:5.1f} s  {trial}: {row.result}", flush=True
        )
        if not row.held:
            self._keep_logs(trial)
            self._close()  # the next trial shall not suffer from what this one left

    def _keep_logs(self, trial: Trial) -> None:
        if self._sandbox is None:
            return
        LOGS.mkdir(exist_ok=True)
        for log in self._sandbox.network.logs_path.glob("*.log"):
            name = f"{trial} {log.name}".replace(" ", "_").replace("/", "")
            (LOGS / name).write_bytes(log.read_bytes())

    def _close(self) -> None:
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            sandbox.close()
            shutil.rmtree(sandbox.network.path.parent)


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="iexworker-table-")) / "net"


def fill(seed: int, hours: float, only: str = "") -> bool:
    """Run what is not in the table yet and write it; tell whether all of it holds."""
    record = Record(seed)
    trials = all_trials(seed)
    wanted = [trial for trial in trials if only in str(trial) and not record.has(trial)]
    print(f"seed {seed}, commit {record.commit}: {len(wanted)} of {len(trials)} trials", flush=True)
    until_s = time.monotonic() + hours * 3600
    lanes = [
        Lane(profile, _of(profile, wanted)[first::LANES], record, until_s)
        for profile in PROFILES
        for first in range(LANES)
    ]
    for lane in lanes:
        lane.start()
    try:
        for lane in lanes:
            lane.join()
    except KeyboardInterrupt:
        print("stopping after the trials that run now", flush=True)
        for lane in lanes:
            lane.stopped.set()
        for lane in lanes:
            lane.join()
    write(record, trials)
    return all(record.has(trial) for trial in trials)


def _of(profile: str, trials: list[Trial]) -> list[Trial]:
    return [item for item in trials if item.profile == profile]


def write(record: Record, trials: list[Trial]) -> None:
    """Write the table into the document, between its two marks."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{_table(record, trials)}\n{END}{after}")


def _table(record: Record, trials: list[Trial]) -> str:
    run_ones = [trial for trial in trials if str(trial) in record.rows]
    held = sum(record.has(trial) for trial in run_ones)
    commits = sorted({str(record.rows[str(trial)]["commit"]) for trial in run_ones})
    head = (
        f"{len(run_ones)} of {len(trials)} trials run, {held} of them held; seed {record.seed}, "
        f"commit {', '.join(commits)}.\n\n"
        "| profile | at | what | result | s | the log's first line of trouble |\n"
        "|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(_line(trial, record.rows[str(trial)]) for trial in run_ones)


def _line(trial: Trial, row: dict[str, object]) -> str:
    what = str(trial).rpartition(" at ")[0]
    said = str(row["said"])[:SAID_LENGTH].replace("|", "\\|").replace("<", "&lt;")
    shown = str(row["result"]) if row["held"] else f"**{row['result']}**"
    return f"| {trial.profile} | {trial.point} | {what} | {shown} | {row['seconds']} | {said} |"
