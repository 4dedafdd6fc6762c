"""The recordings drive the worker: the recorded answers in, the recorded requests out.

Real are login, registration, ping, stream, journal, lifecycle, updates and uploads; chain, Docker
and the slot are scripted with what the recordings show of them. Bodies are compared field by
field, and the headers that the worker sets.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eth_account import Account

from tests.wire.helpers import replay_worker
from tests.wire.helpers.replay_server import ReplayServer
from tests.wire.helpers.replay_worker import amended
from tests.wire.helpers.run_script import RUNS

KEY = "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"
"""Of account 5 of the public development mnemonic, which every recorded worker had."""
PATIENCE_S = 30.0
"""Without anything that happens; in the middle of a busy machine."""
POLL_S = 0.05
CHECKOUT = Path(__file__).parents[2]


class Replay:
    """One run with one worker, killed and started again where the recorded one was."""

    def __init__(self, run: str, folder: Path) -> None:
        self.run = run
        self.folder = folder
        self.script = amended(run)
        self.server = ReplayServer(self.script)
        self.expectations = self.server.expectations
        self.process: subprocess.Popen[bytes]
        wallet = Account.encrypt(bytes.fromhex(KEY), "replay", kdf="scrypt", iterations=2)
        (folder / "wallet.json").write_text(json.dumps(wallet))

    def play(self) -> None:
        for start in range(1, len(self.script.starts) + 1):
            self.expectations.begin(start)
            self._start(start)
            try:
                self._follow()
                if start < len(self.script.starts):
                    self._until(self._journalled, "the journal has every answer")
                else:
                    self.process.send_signal(signal.SIGTERM)
                    assert self.process.wait(PATIENCE_S) == 0, self.log
            finally:
                self.process.kill()
                self.process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def _start(self, start: int) -> None:
        with (self.folder / "worker.log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    replay_worker.__name__,
                    self.run,
                    str(start),
                    self.server.url,
                    self.folder,
                ],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _follow(self) -> None:
        """Return when all of this start has happened; raise on the first difference."""
        count, since_s = -1, time.monotonic()
        while not self.expectations.wait(self._over, POLL_S):
            if self.expectations.count != count:
                count, since_s = self.expectations.count, time.monotonic()
            assert self.process.poll() is None, self.log
            waited = time.monotonic() - since_s
            assert waited < PATIENCE_S, f"not sent: {self.expectations.outstanding()}\n{self.log}"
        self._check()

    def _over(self) -> bool:
        return self.expectations.complete() or bool(self.expectations.differences)

    def _check(self) -> None:
        assert self.expectations.differences == [], self.log

    def _journalled(self) -> bool:
        """Tell whether a kill now comes after all that the recorded worker had done."""
        connection = sqlite3.connect(self.folder / "worker" / "journal.sqlite")
        states = [json.loads(row[0]) for row in connection.execute("SELECT state FROM replicates")]
        connection.close()
        ended = self.expectations.ended()
        return all(
            not state["pending"] or state["authorization"]["chainTaskId"] in ended
            for state in states
        )

    def _until(self, condition: Callable[[], bool], words: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until_s, f"not so: {words}\n{self.log}"
            time.sleep(POLL_S)


@pytest.fixture
def replay(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Replay]:
    replay = Replay(request.param, tmp_path)
    try:
        yield replay
    finally:
        replay.server.close()


# The recordings have one wallet, which serves one worker on a machine.
@pytest.mark.xdist_group("replay")
@pytest.mark.parametrize("replay", RUNS, indirect=True)
def test_the_worker_sends_what_the_recordings_show(replay: Replay) -> None:
    replay.play()

    replay._check()
