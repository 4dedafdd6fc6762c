"""A real parent with processes that only pretend to work; test_supervisor.py runs it.

Usage: fake_tree.py '{"compute-0": "crash", ...}' [--env-file FILE]: the behaviour of a role, else
of its kind, else `steady`. Settings come from the environment as for the real worker.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from iexworker import logs
from iexworker.cli import prepare
from iexworker.errors import LoginRefused, SettingsError, WorkerError
from iexworker.procs.context import HTTP, SCHEDULING, Context
from iexworker.shared.board import State
from iexworker.shared.channels import Stop
from iexworker.supervisor.child import Run
from iexworker.supervisor.supervisor import Supervisor

KEYSTORE = {
    "version": 3,
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "00" * 16},
        "ciphertext": "00" * 32,
        "kdf": "scrypt",
        "kdfparams": {"dklen": 32, "n": 2, "r": 8, "p": 1, "salt": "00" * 32},
        "mac": "00" * 32,
    },
}
"""A keystore that no password opens: the parent reads it and opens it not."""


def steady(context: Context) -> None:
    """Be ready, tick, leave when told to."""
    if context.role == HTTP:
        signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0))
    if context.role == SCHEDULING:
        context.board.facts.set(tasks_open=0, stake_at_risk=0)
    entry = context.board.entry(context.role)
    entry.write(state=State.IDLE)
    context.ready()
    while context.stop_order() is None:
        entry.tick()
        time.sleep(0.01)
    _note(context, "left")


def with_tasks(context: Context) -> None:
    """Have two tasks open, one of them with a stake; use the whole grace for them."""
    rows: dict[str, object] = {}
    for digit, doing, at_risk in (("b", "CONTRIBUTED", True), ("a", "COMPUTING", False)):
        rows["0x" + digit * 64] = {
            "doing": doing,
            "at_risk": at_risk,
            "holds_slot": not at_risk,
            "reveal_by_s": time.time() + 300 if at_risk else None,
        }
    context.board.facts.set(open_tasks=rows, tasks_open=2, stake_at_risk=1)
    context.board.entry(context.role).write(state=State.IDLE)
    context.ready()
    while (order := context.stop_order()) is None:
        context.board.entry(context.role).tick()
        time.sleep(0.01)
    time.sleep(order.grace_s)


def busy_until_told(context: Context) -> None:
    """Have a task in hand until a file says otherwise."""
    entry = context.board.entry(context.role)
    entry.write(state=State.BUSY)
    context.ready()
    while context.stop_order() is None:
        if (context.settings.root / "told").exists():
            entry.write(state=State.IDLE)
        time.sleep(0.01)


def refused(_context: Context) -> None:
    """Not be let in by the scheduler."""
    raise LoginRefused("the scheduler says no")


def refused_when_ready(context: Context) -> None:
    """Not be let in after all, once everybody is ready."""
    context.ready()
    while context.board.facts.read().ready_s is None:
        time.sleep(0.01)
    raise LoginRefused("the scheduler says no")


def broken(_context: Context) -> None:
    """Fail before being ready."""
    raise RuntimeError("boom")


def broken_once_ready(context: Context) -> None:
    """Be ready the first time; never again."""
    if (context.settings.root / "was-ready").exists():
        raise LoginRefused("the scheduler says no")
    (context.settings.root / "was-ready").touch()
    steady(context)


def crash(context: Context) -> None:
    """Be ready, then die."""
    context.ready()
    raise WorkerError("crash")


def stuck(context: Context) -> None:
    """Be ready, then never turn again nor listen."""
    context.ready()
    signal.pause()


def curious(context: Context) -> None:
    """Write down what a child can see of secrets and of what the parent holds."""
    seen = {
        "environ": [name for name in os.environ if "PASSWORD" in name or "NOTIFY" in name],
        "initial": "hunter2" in Path("/proc/self/environ").read_text(errors="replace"),
        "settings": context.settings.wallet_password,
        "secret": _secret(context),
        "files": _open_files(),
        "proxy": os.environ.get("HTTP_PROXY", ""),
        "title": Path("/proc/self/cmdline").read_text().strip("\0"),
        "ignores": [signal.getsignal(number) == signal.SIG_IGN for number in (2, 15)],
    }
    (context.settings.root / f"seen-{context.role}").write_text(json.dumps(seen))
    steady(context)


def parent_of_orphans(context: Context) -> None:
    """Leave an orphan that ends, which PID 1 has to reap."""
    if os.fork() == 0:
        orphan = os.fork()
        if orphan == 0:
            time.sleep(0.05)
        else:
            (context.settings.root / "orphan").write_text(str(orphan))
        os._exit(0)
    os.wait()
    steady(context)


def echo(context: Context) -> None:
    """Count the stop orders that came by the queue of a stopped process."""
    context.ready()
    order = context.control.get()
    assert isinstance(order, Stop)
    (context.settings.root / "grace").write_text(str(order.grace_s))


def _secret(context: Context) -> str:
    try:
        return context.secrets.get("wallet_password")
    except PermissionError:
        return "none"


def _open_files() -> list[str]:
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing itself is one
            names.append(str(entry.readlink()))
    return names


def _note(context: Context, text: str) -> None:
    with (context.settings.root / "notes").open("a") as notes:
        notes.write(f"{context.role} {text}\n")


BEHAVIOURS: dict[str, Run] = {
    run.__name__: run
    for run in (
        steady,
        with_tasks,
        busy_until_told,
        refused,
        refused_when_ready,
        broken,
        broken_once_ready,
        crash,
        stuck,
        curious,
        parent_of_orphans,
        echo,
    )
}


def main() -> int:
    chosen = json.loads(sys.argv[1])

    def run_of(role: str) -> Run:
        kind = role.partition("-")[0]
        return BEHAVIOURS[chosen.get(role, chosen.get(kind, "steady"))]

    options = argparse.ArgumentParser()
    options.add_argument("--env-file")
    try:
        start = prepare(options.parse_args(sys.argv[2:]))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    settings = start.loaded.settings
    if not settings.wallet_path.exists():
        settings.wallet_path.write_text(json.dumps(KEYSTORE))
    logs.setup("supervisor", settings.log_level)
    try:
        return Supervisor(
            settings,
            os.environ,
            reload=start.reload,
            told=start.loaded.warnings,
            hidden=start.hidden,
            run_of=run_of,
            preload=lambda _role: None,
            patience_s=float(os.environ.get("TREE_PATIENCE_S", "0.2")),
            stuck_after_s=0.5,
            slots_after_s=0,
        ).run()
    except WorkerError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
