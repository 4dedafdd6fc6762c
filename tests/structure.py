"""Holds the worker's folders to the imports that each may have: `python -m tests.structure`.

The table below is the contract; docs/architecture.md tells it in words. Imports inside functions
and under TYPE_CHECKING count too: who names a thing in an annotation depends on it.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "iexworker"

FLOOR_0 = frozenset(
    {
        "errors",
        "error_words",
        "http_environment",
        "http_session",
        "outage",
        "peers",
        "java_text",
        "json_fields",
        "retry",
        "durable_files",
        "file_errors",
        "descriptors",
        "logs",
        "machine",
        "masking",
        "secrets",
        "chain.lean_web3",
    }
)
"""What everybody may import, and what imports libraries only (and one another)."""

_BELOW_SCHEDULING = "poco wallet settings core chain outbox results shared task compute recovery"
ALLOWED: Mapping[str, frozenset[str]] = {
    part: frozenset(text.split())
    for part, text in {
        "poco": "",
        "keystore": "poco",
        "wallet": "poco keystore",
        "settings": "poco",
        "core": "poco wallet settings",
        "chain": "poco",
        "outbox": "poco chain wallet",
        "results": "poco core",
        "shared": "poco",
        "task": "poco core.messages outbox.ledger",
        "compute": "poco results settings shared",
        "recovery": "task poco core outbox results shared compute.folders",
        "scheduling": _BELOW_SCHEDULING,
        "locks": "keystore",
        "control": "",
        "healthcheck": "",
        "web": "shared",
        "procs": _BELOW_SCHEDULING + " scheduling locks control web",
        "supervisor": "procs shared settings web control locks keystore",
        "sandbox": "poco core.stomp core.sockjs control",
        "cli": "settings supervisor control healthcheck sandbox",
        "__main__": "cli",
    }.items()
}
"""Folder, or module beside the folders -> what of the project it may import besides floor 0.

`core.stomp` allows that one module, `core` the whole folder. The command line is the one part that
imports the sandbox, when `iexworker sandbox` is asked for.
"""


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a module of the project by another."""

    path: Path
    line: int
    source: str
    target: str
    """Modules without the leading package: `outbox.plan`."""

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.source} imports {self.target}"


def imports() -> list[Import]:
    """Return every import inside the package."""
    return [found for path in sorted((ROOT / PACKAGE).rglob("*.py")) for found in _of_file(path)]


def part_of(module: str) -> str:
    """Return the folder of a module, or the module itself where it lies beside the folders."""
    return "floor 0" if module in FLOOR_0 or not module else module.partition(".")[0]


def broken(found: list[Import]) -> list[str]:
    """Return a line for each import that the table does not allow."""
    return [f"{item} (allowed: {_words(item.source)})" for item in found if not _allowed(item)]


def floors(found: list[Import]) -> list[list[str]]:
    """Return the parts from the lowest floor up; raises `CycleError` when there is a circle."""
    graph: dict[str, set[str]] = defaultdict(set)
    for item in found:
        source, target = part_of(item.source), part_of(item.target)
        graph[source].update({target} - {source})
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    levels = []
    while sorter.is_active():
        level = sorter.get_ready()
        levels.append(sorted(level))
        sorter.done(*level)
    return levels


def module_circles(found: list[Import]) -> list[str]:
    """Return a circle between modules, an empty list without one."""
    graph: dict[str, set[str]] = defaultdict(set)
    for item in found:
        graph[item.source].add(item.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def repeated_classes() -> dict[str, list[str]]:
    """Return public classes of the worker whose name stands in more than one of its modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        module = _module(path)
        if part_of(module) == "sandbox":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    return {name: modules for name, modules in places.items() if len(modules) > 1}


def main() -> int:
    """Print the floors, and what breaks the contract; 0 when nothing does."""
    found = imports()
    problems = broken(found)
    try:
        for number, level in enumerate(floors(found)):
            print(f"floor {number:>2}  {', '.join(level)}")
    except CycleError as error:
        problems.append("folders in a circle: " + " -> ".join(error.args[1]))
    if circle := module_circles(found):
        problems.append("modules in a circle: " + " -> ".join(circle))
    for name, modules in repeated_classes().items():
        problems.append(f"class {name} stands in {' and '.join(modules)}")
    print("\n".join(problems) or "no circle, no upward import")
    return 1 if problems else 0


def _allowed(item: Import) -> bool:
    source, target = part_of(item.source), part_of(item.target)
    if target in (source, "floor 0"):
        return True
    if source == "floor 0":
        return False
    permitted = ALLOWED.get(source, frozenset())
    prefixes = {item.target, target}
    return bool(prefixes & permitted)


def _words(module: str) -> str:
    part = part_of(module)
    return (
        "libraries" if part == "floor 0" else " ".join(sorted(ALLOWED.get(part, ()))) or "floor 0"
    )


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _of_file(path: Path) -> Iterator[Import]:
    source = _module(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for target in _targets(node):
            if target != source:
                yield Import(path, node.lineno, source, target)  # type: ignore[attr-defined]  # an import has a line


def _targets(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        yield from (name.partition(".")[2] for name in names if name.split(".")[0] == PACKAGE)
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
        base = (node.module or "").partition(".")[2]
        for alias in node.names:
            inner = f"{base}.{alias.name}".strip(".")
            yield inner if _is_module(inner) else base


def _is_module(name: str) -> bool:
    path = ROOT / PACKAGE / name.replace(".", "/")
    return path.with_suffix(".py").exists() or path.is_dir()


if __name__ == "__main__":
    sys.exit(main())
