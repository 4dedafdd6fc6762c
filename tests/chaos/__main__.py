"""The long tests, as `scripts/soak` runs them."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos import reliability_table, soak
from tests.chaos.faulty_sandbox import FaultySandbox


def main() -> int:
    """Run what was asked for; 0 only when all of it holds."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--tasks", type=int, default=200, help="how many tasks a soak has")
    parser.add_argument("--profile", choices=("8", "9"), default="9", help="of a soak")
    parser.add_argument("--table", action="store_true", help="fill docs/reliability/table.md")
    parser.add_argument("--only", default="", help="of the table: trials whose name holds this")
    parser.add_argument("--hours", type=float, default=2.0, help="begin no trial after these")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the first
        signal.signal(number, signal.default_int_handler)
    if options.table:
        return 0 if reliability_table.fill(options.seed, options.hours, options.only) else 1
    return 0 if _soak(options.profile, options.tasks, options.seed) else 1


def _soak(profile: str, count: int, seed: int) -> bool:
    print(f"{count} tasks, profile {profile}, seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="iexworker-soak-"))
    sandbox = FaultySandbox(folder / "net", profile)
    try:
        verdict = soak.play(sandbox, count, seed)
    finally:
        sandbox.close()
    for role, (first, last) in verdict.memory_mib.items():
        print(f"  {role}: {first:.1f} MiB in the first third, {last:.1f} in the last")
    for words in verdict.trouble:
        print(f"  wrong: {words}")
    print(f"{verdict.completed} ended, {verdict.lost} lost, {verdict.double} double")
    if verdict.held:
        shutil.rmtree(folder)
    else:
        print(f"logs: {sandbox.network.logs_path}")
    return verdict.held


if __name__ == "__main__":
    sys.exit(main())
