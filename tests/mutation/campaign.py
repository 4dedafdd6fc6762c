"""Puts a sample of faults into the pure modules and counts which of them the unit tests notice."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from tests.mutation import mutants, report
from tests.mutation.mutant_runner import ROOT, STATE, TESTS, MutantRunner, Outcome, Unusable
from tests.mutation.mutants import Mutant
from tests.mutation.report import Tried

DOCUMENT = ROOT / "docs" / "reliability" / "mutants.md"
REASONS = ROOT / "tests" / "mutation" / "survivors.toml"
SAMPLE = 400
"""How many mutants docs/reliability/mutants.md tells of."""
TESTED = ("iexworker", "tests/helpers", "tests/unit", "tests/conftest.py", "tests/mutation")


def main() -> int:
    """Try the sample; 0 only when enough of it is noticed."""
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutants", type=int, default=SAMPLE, help="how many")
    parser.add_argument("--jobs", type=int, default=1, help="how many at the same time")
    parser.add_argument("--survivors", action="store_true", help="try again what survived last")
    options = parser.parse_args()
    os.nice(10)
    STATE.mkdir(parents=True, exist_ok=True)
    chosen = mutants.sample(ROOT / "iexworker", TESTS, options.mutants, options.seed)
    record = Record(options.seed, options.mutants, keep=options.survivors)
    if options.survivors:
        chosen = [mutant for mutant in chosen if record.fate(mutant) == "survived"]
        record.forget(chosen)
    missing = [mutant for mutant in chosen if record.fate(mutant) is None]
    print(f"seed {options.seed}: {len(chosen)} mutants, {len(missing)} to be tried", flush=True)
    try:
        _try(missing, record, options.jobs)
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2
    results = record.of(chosen)
    (STATE / f"survivors-{options.seed}-{options.mutants}.json").write_text(_tell(results))
    if options.survivors:
        return 0  # a part of the sample has no score
    if options.mutants == SAMPLE:
        _write(results, options.seed)
    print(f"{report.score(results):.1%} noticed, at least {report.BAR:.0%} are wanted")
    return 0 if report.score(results) >= report.BAR else 1


def _try(missing: list[Mutant], record: Record, jobs: int) -> None:
    waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for mutant in missing:
        waiting.put(mutant)
    modules = {mutant.module for mutant in missing}

    def work() -> None:
        with MutantRunner() as runner:
            runner.warm_up(modules)
            while True:
                try:
                    mutant = waiting.get_nowait()
                except queue.Empty:
                    return
                record.add(mutant, runner.trial(mutant))

    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(work) for _ in range(jobs if missing else 0)]:
            done.result()


def _tell(results: list[Tried]) -> str:
    """Print fates and survivors, and return the survivors as JSON."""
    reasons = report.read_reasons(REASONS)
    for name, count, killed, timeouts, survived in report.summary(results):
        print(f"{name:20} {count:4} {killed:4} killed {timeouts:3} timeouts {survived:3} survived")
    left = report.survivors(results)
    rows = [{**asdict(item), "reason": report.reason(item, reasons)} for item in left]
    for row in rows:
        print("{module}:{line} {was}  ->  {becomes}  [{reason}]".format(**row))
    return json.dumps(rows, indent=1) + "\n"


def _write(results: list[Tried], seed: int) -> None:
    section = report.text(results, report.read_reasons(REASONS), seed, _commit())
    DOCUMENT.write_text(report.put(DOCUMENT.read_text(), section))


def _commit() -> str:
    """Return the commit that is tested, marked where files differ from it."""
    changed = _git("status", "--porcelain", "--", "iexworker", "tests/helpers", "tests/unit")
    return _git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def _git(*words: str) -> str:
    answer = subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


def _fingerprint() -> str:
    """Return what the fates hang on: a change of the code or of its tests begins anew."""
    digest = hashlib.sha256()
    for path in TESTED:
        found = sorted((ROOT / path).rglob("*.py")) or [ROOT / path]
        for file in found:
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class Record:
    """The fates so far, on disk after each, so that a run goes on where it was stopped."""

    def __init__(self, seed: int, count: int, *, keep: bool) -> None:
        self._path = STATE / f"fates-{seed}-{count}.json"
        self._lock = threading.Lock()
        self._fingerprint = _fingerprint()
        self._fates: dict[str, dict[str, object]] = {}
        if self._path.exists():
            known = json.loads(self._path.read_text())
            if keep or known["fingerprint"] == self._fingerprint:
                self._fates = known["fates"]
        if keep:
            self._fingerprint = "several"  # no later run may take these fates for its own

    def fate(self, mutant: Mutant) -> str | None:
        """Return the mutant's fate, None before it was tried."""
        found = self._fates.get(mutant.key)
        return None if found is None else str(found["fate"])

    def forget(self, chosen: list[Mutant]) -> None:
        """Drop the fates of these mutants."""
        for mutant in chosen:
            del self._fates[mutant.key]

    def add(self, mutant: Mutant, outcome: Outcome) -> None:
        """Take an outcome and say it."""
        with self._lock:
            self._fates[mutant.key] = asdict(outcome)
            state = {"fingerprint": self._fingerprint, "fates": self._fates}
            draft = self._path.with_suffix(".draft")
            draft.write_text(json.dumps(state, indent=0))
            draft.rename(self._path)
            place = f"{mutant.module}:{mutant.line}"
            print(
                f"{len(self._fates):4} {outcome.fate:8} {outcome.seconds:5.1f} s {place}",
                flush=True,
            )

    def of(self, chosen: list[Mutant]) -> list[Tried]:
        """Return the results of these mutants."""
        return [
            Tried(
                mutant.module,
                mutant.inside,
                mutant.line,
                mutant.operator,
                mutant.was,
                mutant.becomes,
                mutant.nth,
                **self._fates[mutant.key],  # type: ignore[arg-type]
            )
            for mutant in chosen
        ]


if __name__ == "__main__":
    sys.exit(main())
