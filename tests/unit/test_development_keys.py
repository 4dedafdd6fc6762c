"""The sandbox's accounts are known to everybody: the worker must never come near them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from iexworker.sandbox.chain import accounts

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "iexworker"

IMPORT_ALL = """
import importlib, pkgutil, sys
import iexworker, iexworker.cli

def names(package):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if found.name != "iexworker.sandbox" and not found.name.endswith("__main__"):
            module = importlib.import_module(found.name)
            yield found.name
            if found.ispkg:
                yield from names(module)

assert "iexworker.outbox.outbox" in list(names(iexworker))
for verb in ("run", "config", "status", "--help"):
    iexworker.cli._parser([verb])
print([name for name in sys.modules if name.startswith("iexworker.sandbox")])
"""


def outside() -> Iterator[Path]:
    """Give the worker's files, which are all but the sandbox's."""
    for path in PACKAGE.rglob("*"):
        inner = path.relative_to(PACKAGE).parts
        if path.is_file() and "sandbox" not in inner and "__pycache__" not in inner:
            yield path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield from (f"{node.module}.{one.name}" for one in node.names)


def test_no_module_of_the_worker_names_the_sandbox_but_the_verb_that_starts_it() -> None:
    found = [
        (str(path.relative_to(PACKAGE)), name)
        for path in outside()
        if path.suffix == ".py"
        for name in imports(path)
        if name.startswith("iexworker.sandbox")
    ]

    assert found == [("cli.py", "iexworker.sandbox.cli.add_parser")]


def test_importing_the_whole_worker_loads_nothing_of_the_sandbox() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr


def test_the_keys_stand_nowhere_outside_the_sandbox() -> None:
    public = [accounts.MNEMONIC]
    public += [bytes(account.key).hex() for account in accounts.derive().values()]
    shipped = [*outside(), *(ROOT / "config").rglob("*.*"), *(ROOT / "deploy").rglob("*.*")]

    found = [
        path
        for path in shipped
        for key in public
        if key in path.read_text(errors="replace").lower()
    ]

    assert found == []
