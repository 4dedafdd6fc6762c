"""Many tasks at once over one real worker, and what the scheduler saw of each."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from iexworker.sandbox import image
from tests.helpers.live_worker import LiveSandbox, LiveWorker, eventually

_FACT = re.compile(r" (status|cause|exit_code)=(\S+)")
_NOT_OURS = frozenset({"CREATED", "RESULT_UPLOAD_REQUESTED", "FAILED"})
_SHELL = f'FROM {{demo}}\nENTRYPOINT ["/bin/sh", "-c"]\nLABEL {image.LABEL}="shell"\n'


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP; give its URL."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def publish_shell(sandbox: LiveSandbox) -> str:
    """Push an image whose first argument is a script; give its reference."""
    full = image.reference(sandbox.network.registry, "shell")
    dockerfile = io.BytesIO(_SHELL.format(demo=sandbox.app).encode())
    sandbox.engine.images.build(fileobj=dockerfile, tag=full, rm=True)
    for answer in sandbox.engine.api.push(full, stream=True, decode=True):
        assert "error" not in answer, answer
    for name in (full, sandbox.app):
        sandbox.engine.images.remove(name)
    return full


class TaskBatch:
    """Tasks by name, bought on one network for one worker."""

    def __init__(self, sandbox: LiveSandbox, files_url: str) -> None:
        self.sandbox = sandbox
        self.shell = publish_shell(sandbox)
        self.files_url = files_url
        self.worker = LiveWorker(sandbox, slots=4)
        self.tasks: dict[str, str] = {}

    def params(self, arguments: str = "", **more: Any) -> str:
        """Return the params of a deal that gets its result, with `more` keys."""
        known = {
            "iexec_args": arguments,
            "iexec_result_storage_provider": "ipfs",
            "iexec_result_storage_proxy": self.sandbox.network.proxy_url,
        }
        return json.dumps(known | more)

    def script(self, script: str) -> dict[str, str]:
        """Return what buys a run of this script, which holds no single quote."""
        return {"image": self.shell, "params": self.params(f"'{script}'")}

    def buy(self, name: str, **wanted: Any) -> None:
        """Buy the task that goes by this name."""
        (self.tasks[name],) = self.sandbox.buy(**wanted)

    def ended(self, name: str, patience_s: float = 280) -> None:
        """Wait until the worker has let go of a task."""
        eventually(
            lambda: name in self.tasks and self.said(name, "task ended"),
            f"end of {name}",
            patience_s,
        )

    def said(self, name: str, words: str) -> list[str]:
        """Return the worker's log lines about a task that hold these words."""
        return self.worker.lines(f"task={self.tasks[name]}", words)

    def way(self, name: str) -> list[str]:
        """Return the worker's statuses of a task in the scheduler's log, causes and all."""
        log = self.sandbox.network.logs_path / "server.log"
        task = f"task={self.tasks[name]}"
        lines = [line for line in log.read_text().splitlines() if task in line]
        changed = (_status(line) for line in lines if "replicate changed" in line)
        refused = [_status(line) + " refused" for line in lines if "update refused" in line]
        return [item for item in changed if item not in _NOT_OURS] + refused

    def kept_output(self, name: str) -> dict[str, str]:
        """Return what the scheduler keeps of the app's output."""
        wallet = self.sandbox.chain.accounts[self.worker.role].address.lower()
        path = f"/tasks/{self.tasks[name]}/replicates/{wallet}/logs"
        with urllib.request.urlopen(self.sandbox.network.scheduler_url + path, timeout=10) as reply:
            kept: dict[str, str] = json.loads(reply.read())
        return kept


def _status(line: str) -> str:
    facts = dict(_FACT.findall(line))
    words = [facts["status"]]
    if "cause" in facts:
        words.append(facts["cause"])
    if "exit_code" in facts:
        words.append(f"exit={facts['exit_code']}")
    return " ".join(words)
