"""A base directory as a Java worker leaves it, under a worker of ours that starts and stops."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.live_worker import LiveSandbox, LiveWorker

pytestmark = [
    pytest.mark.docker,
    pytest.mark.chain,
    pytest.mark.usefixtures("unmeasured"),
    pytest.mark.timeout(120),
    pytest.mark.xdist_group("supervisord"),
]

COMPUTED, COMPUTING, DOWNLOADING = ("0x" + digit * 64 for digit in "abc")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[LiveSandbox]:
    sandbox = LiveSandbox(tmp_path / "net", "9")
    yield sandbox
    sandbox.close()


def _leave(root: Path) -> None:
    """Write what docs/spec/02, 5.3 and docs/spec/06, 2 say: a task of each kind."""
    output = root / COMPUTED / "output"
    (output / "iexec_out").mkdir(parents=True)
    computed = json.dumps({"deterministic-output-path": "/iexec_out/result.txt"})
    for name, text in (("computed.json", computed), ("result.txt", "42"), ("stdout.txt", "done")):
        (output / "iexec_out" / name).write_text(text)
    (output / "computed.json").write_text(computed)
    with zipfile.ZipFile(output / "iexec_out.zip", "w") as archive:
        archive.write(output / "iexec_out" / "result.txt", "result.txt")
    (root / COMPUTED / "input").mkdir()
    for task in (COMPUTING, DOWNLOADING):
        (root / task / "input").mkdir(parents=True)
        (root / task / "input" / "data.csv").write_text("1,2\n")
    (root / COMPUTING / "output" / "iexec_out").mkdir(parents=True)
    (root / f"session-{COMPUTING}.json").write_text("{}")


def _seen(root: Path) -> dict[str, tuple[int, int, str]]:
    """Return mode, time of change and content of all that is below."""
    return {
        str(path.relative_to(root)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in root.rglob("*")
    }


def test_what_a_java_worker_left_stays_as_it_is_while_a_task_of_ours_completes(
    sandbox: LiveSandbox,
) -> None:
    worker = LiveWorker(sandbox, "worker1")
    _leave(worker.root)
    left = _seen(worker.root)
    worker.start().ready()
    (task,) = sandbox.buy()
    sandbox.completed(task)
    worker.stop()
    now = _seen(worker.root)
    assert {path: now.get(path) for path in left} == left
