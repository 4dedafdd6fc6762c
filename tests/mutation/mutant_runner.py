"""A copy of the tree with one mutant in it, and the process that runs the tests there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.mutation.mutants import Mutant

ROOT = Path(__file__).parents[2]
STATE = ROOT / ".cache" / "mutation"
COPIED = (
    *("iexworker", "pyproject.toml", "tests/__init__.py", "tests/conftest.py"),
    *("tests/helpers", "tests/unit", "tests/wire"),
)

_LIFE = (
    *("task/test_lifecycle", "task/test_lifecycle_at_stake"),
    *("recovery/test_rebuild", "scheduling/test_runner", "task/test_lifecycle_histories"),
)
_OUTBOX = (
    *("outbox/test_outbox", "outbox/test_outbox_prices", "outbox/test_outbox_memory"),
    "outbox/test_outbox_histories",
)
TESTS = {
    "task/lifecycle.py": _LIFE,
    "task/transitions.py": _LIFE,
    "task/chain_rules.py": _LIFE,
    "recovery/rebuild.py": (
        *("recovery/test_rebuild", "recovery/test_contributions", "recovery/test_lost_grants"),
    ),
    "recovery/recovery.py": ("recovery/test_recovery",),
    "task/push_timeout.py": ("task/test_push_timeout",),
    "outbox/outbox.py": _OUTBOX,
    "outbox/plan.py": ("outbox/test_plan", *_OUTBOX),
    "core/stomp.py": ("core/test_stomp",),
    "core/sockjs.py": ("core/test_sockjs",),
}
"""The pure modules, and the unit tests of each, the quick ones first."""

EXAMPLES = 200
LIMIT_S = 60.0
"""A mutant gets that long; on an idle machine the slowest tests take a tenth of it."""

_FAILED, _INTERRUPTED = 1, 2  # pytest's: a test failed; a test file could not be imported


class Unusable(Exception):
    """The tests fail without a mutant, or pytest itself did."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant: `killed`, `survived` or `timeout`."""

    fate: str
    seconds: float


class MutantRunner:
    """Tries mutants one after another; the tree itself is never touched."""

    def __init__(self) -> None:
        self._tree = Path(tempfile.mkdtemp(prefix="tree-", dir=STATE))
        for path in COPIED:
            source, target = ROOT / path, self._tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        self._process = subprocess.Popen(
            [ROOT / ".venv/bin/python", ROOT / "tests/mutation/pytest_forks.py"],
            cwd=self._tree,
            env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(STATE / "hypothesis")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> MutantRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        if error is None:
            shutil.rmtree(self._tree)

    def warm_up(self, modules: set[str]) -> None:
        """See the tests pass without a mutant, as mutants meet them; raises `Unusable`."""
        everything = sorted({TESTS[module] for module in modules})
        for tests in everything:
            self._ask(tests, fresh=True)
        for module in TESTS:
            path = self._tree / "iexworker" / module
            for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
                compiled.unlink()
        for tests in everything:
            if self._ask(tests, fresh=False)["code"] != 0:
                raise Unusable(f"{', '.join(tests)} fail without a mutant: {self._tree}/pytest.log")

    def trial(self, mutant: Mutant) -> Outcome:
        """Run the tests of the mutant's module against it."""
        path = self._tree / "iexworker" / mutant.module
        good = path.read_text()
        path.write_text(mutant.source)
        try:
            answer = self._ask(TESTS[mutant.module], fresh=False)
        finally:
            path.write_text(good)
        return Outcome(self._fate(answer["code"]), answer["seconds"])

    def _fate(self, code: int | None) -> str:
        if code is None:
            return "timeout"
        if code == 0:
            return "survived"
        if code in (_FAILED, _INTERRUPTED) or code < 0:  # below zero: it took the process along
            return "killed"
        raise Unusable(f"pytest ended with {code}: {self._tree}/pytest.log")

    def _ask(self, tests: tuple[str, ...], *, fresh: bool) -> dict[str, Any]:
        request = {
            "tests": [f"tests/unit/{name}.py" for name in tests],
            "limit_s": LIMIT_S * (5 if fresh else 1),
            "examples": EXAMPLES,
            "fresh": fresh,
        }
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer
