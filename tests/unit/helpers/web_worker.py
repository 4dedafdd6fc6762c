"""A worker as the pages see it: real shared memory, a clock of the test's, the real application."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from falcon.testing import Result, TestClient

from iexworker.shared.board import Board, State
from iexworker.shared.ring import Ring, Stage
from iexworker.web.app import create_app
from iexworker.web.worker_view import Source

ROLES = ("supervisor", "scheduling", "heartbeat", "compute-0", "compute-1", "http")
NOW_S = 1_800_000_000.0
WALLET = "0x1a69b2eb604db8eba185df03ea4f5288dcbbd248"


class WebWorker:
    """Board, ring and application of one worker."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        self.now_s = NOW_S
        self.board = Board.create(ROLES)
        self.ring = Ring.create(2, 100)
        source = Source(self.board, self.ring, directory=directory, clock=lambda: self.now_s)
        self.source = replace(source, **changes)
        self.client = TestClient(create_app(self.source))

    def get(self, path: str, **options: Any) -> Result:
        return self.client.simulate_get(path, **options)

    def be_ready(self) -> None:
        """Say on the board all that a worker says when it can take work."""
        for role in ROLES:
            self.board.entry(role).write(state=State.IDLE)
        self.board.facts.set(
            started_s=NOW_S - 100,
            ready_s=NOW_S - 99.5,
            wallet=WALLET,
            profile="9",
            version="9.2.1",
            registered=True,
            last_ping_s=NOW_S - 3,
            last_ping_ok=True,
            session_id="b2f1",
            last_block=1234,
            last_block_s=NOW_S - 1,
            chain_ok=True,
            docker_ok=True,
            disk_ok=True,
            gas_ok=True,
        )

    def record(self, stage: Stage, task: int, duration_ms: int, writer: int = 0) -> None:
        self.ring.writer(writer).record(stage, f"0x{task:064x}", duration_ms)
