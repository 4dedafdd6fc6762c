"""Runs pytest for one mutant after another, each in a fork of a process that has the slow imports.

Started inside a copy of the tree. A line of JSON in: `tests`, `limit_s`, `examples`, `fresh`. A
line of JSON out: `code` (pytest's exit code, None when the time ran out) and `seconds`.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import eth_account  # noqa: F401 - slow, and needed by every module under test
import hypothesis.stateful
import pytest
import requests  # noqa: F401 - as above

MEMORY_BYTES = 4 * 1024**3
PLUGINS = ("pytest_timeout", "_hypothesis_pytestplugin")


class FewExamples:
    """A profile for hypothesis: few examples, always the same ones, none of them made smaller."""

    def __init__(self, examples: int) -> None:
        self._examples = examples
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile(
            "mutants", deadline=None, database=None, derandomize=True, phases=phases
        )
        hypothesis.settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Lower the number of examples where a test class asks for many."""
        for item in items:
            case: Any = getattr(item, "cls", None)
            wanted = getattr(case, "settings", None)
            if isinstance(wanted, hypothesis.settings):
                few = min(self._examples, wanted.max_examples)
                case.settings = hypothesis.settings(wanted, max_examples=few)


def main() -> None:
    """Answer requests until the input ends."""
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _run_tests(request)
    handle = os.pidfd_open(child)
    ended, _, _ = select.select([handle], [], [], request["limit_s"])
    if not ended:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(handle)
    code = os.waitstatus_to_exitcode(status) if ended else None
    return {"code": code, "seconds": round(time.monotonic() - started, 2)}


def _run_tests(request: dict[str, Any]) -> None:
    code = 99
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        log = os.open("pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        # Two mutants of one size within one second would share a file of bytecode.
        sys.dont_write_bytecode = not request["fresh"]
        sys.path.insert(0, str(Path.cwd()))
        found = find_spec("iexworker")
        assert found and str(found.origin).startswith(str(Path.cwd())), found
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        plugins = [word for name in PLUGINS for word in ("-p", name)]
        words = ["-x", "--tb=line", "-p", "no:cacheprovider", *plugins, *request["tests"]]
        code = int(pytest.main(words, plugins=[FewExamples(request["examples"])]))
    except BaseException:  # noqa: BLE001 - a fork must not go on with what its parent does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
