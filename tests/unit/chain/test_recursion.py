from __future__ import annotations

import subprocess
import sys

NESTED = """
import json, sys
import iexworker.scheduling.chain_gateway
try:
    json.loads("[" * 200_000)
except RecursionError:
    print("refused", sys.getrecursionlimit())
"""


def test_hostile_nesting_is_an_error_and_no_crash_once_web3_is_there() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", NESTED], capture_output=True, text=True, check=False
    )
    assert answer.stdout.split() == ["refused", "1000"], answer.stderr
