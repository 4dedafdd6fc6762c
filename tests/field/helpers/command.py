"""The command line as an operator starts it, with an environment of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "iexworker"]
TIMEOUT_S = 60.0


def environment(base: Path, **variables: str) -> dict[str, str]:
    """Return the variables of a worker whose folder, wallet and port are nobody else's."""
    return {
        "PATH": os.environ["PATH"],
        "IEXWORKER_CONFIG_DIR": str(_empty_folder(base)),
        "IEXEC_WORKER_BASE_DIR": str(base / "base"),
        "IEXEC_WORKER_NAME": "w",
        "IEXEC_WORKER_OVERRIDE_AVAILABLE_CPU_COUNT": "1",
        "IEXEC_WORKER_WALLET_PATH": str(base / "wallet.json"),
        "IEXEC_WORKER_WALLET_PASSWORD": "hunter2",
        "IEXEC_WORKER_PORT": "0",
        "IEXEC_CORE_URL": "http://127.0.0.1:1",
        **{name: value for name, value in os.environ.items() if name.startswith("COV")},
        **variables,
    }


def _empty_folder(base: Path) -> Path:
    folder = base / "settings"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(
    environ: Mapping[str, str], *arguments: str, cwd: Path | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run one verb to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )
