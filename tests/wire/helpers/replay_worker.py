"""A worker in a replay: scheduling and heartbeat as they are, in one process with a scripted slot.

Started as `python -m tests.wire.helpers.replay_worker RUN START URL FOLDER`; leaves on SIGTERM in
good order.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from iexworker import logs
from iexworker.procs import heartbeat, scheduling
from iexworker.procs.context import HEARTBEAT, SCHEDULING, WALLET_PASSWORD, Channels, Context, roles
from iexworker.secrets import Secrets
from iexworker.settings.model import load
from iexworker.shared.board import Board
from iexworker.shared.channels import Channel, Stop
from iexworker.shared.ring import Ring
from tests.wire.helpers.divergences import amend, divergences
from tests.wire.helpers.run_script import RUNS, Script, recorded, script

PING_PERIOD_S = 0.2
"""A replay goes by events: one waits for a ping no longer than it has to."""
GRACE_S = 2.0


def amended(run: str) -> Script:
    """Return the script of a run as this worker should play it."""
    recordings = recorded(run)
    for entry in divergences():
        if entry.recording in RUNS[run]:
            recordings = amend(entry, recordings)
    return script(run, recordings)


def context(role: str, settings_of: dict[str, str], board: Board, channels: Channels) -> Context:
    """Return what the supervisor gives a process at its birth."""
    settings = load(settings_of, config_dirs=[]).settings
    return Context(
        role=role,
        slot=None,
        settings=settings,
        board=board,
        ring=Ring.create(1, 10),
        channels=channels,
        control=Channel(f"control-{role}"),
        reports=Channel(f"reports-{role}"),
        secrets=Secrets({WALLET_PASSWORD: settings.wallet_password}),
        boot_id="replay",
        parent_pid=os.getppid(),
        fail_fast=False,
    )


def main(run: str, start: int, url: str, folder: Path) -> None:
    """Work until SIGTERM."""
    from tests.helpers.fake_gateway import gateway_class
    from tests.wire.helpers.scripted_peers import (
        NoContainers,
        ScriptedChain,
        ScriptedSlot,
    )

    environ = {
        "IEXEC_CORE_URL": url,
        "IEXEC_WORKER_NAME": "worker",
        "IEXEC_WORKER_BASE_DIR": str(folder),
        "IEXEC_WORKER_WALLET_PATH": str(folder / "wallet.json"),
        "IEXEC_WORKER_WALLET_PASSWORD": "replay",
        "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": "1",
    }
    board, channels = Board.create(roles(1)), Channels.create(1)
    works = context(SCHEDULING, environ, board, channels)
    pings = context(HEARTBEAT, environ, board, channels)
    works.settings.root.mkdir(parents=True, exist_ok=True)
    logs.setup("replay", "INFO", as_json=False, count=lambda *_: None)
    chain = ScriptedChain(amended(run), start)
    ScriptedSlot(chain, works.settings.root, channels.orders[0], channels.outcomes[0]).begin()
    pinger = threading.Thread(target=heartbeat.run, args=(pings, PING_PERIOD_S), daemon=True)
    pinger.start()

    def leave(*_: object) -> None:
        works.control.put_nowait(Stop(GRACE_S))
        pings.control.put_nowait(Stop(GRACE_S))

    signal.signal(signal.SIGTERM, leave)
    outside = scheduling.Outside(
        import_gateway=lambda: gateway_class(chain), containers_class=NoContainers
    )
    scheduling.run(works, outside)
    pinger.join()
    logging.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
