"""The faults that are put into the pure modules, by the operators of mutmut.

mutmut draws no sample and works on functions only, by trampolines inside the module; so only its
operators are taken, and each mutant is a whole source text with one change. It forces the branches
of `a if b else c` either way; here those of `if b:` are forced too.
"""

from __future__ import annotations

import ast
import difflib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import Mutation, MutationVisitor, deep_replace
from mutmut.mutation.mutators import mutation_operators, operator_if_exp
from mutmut.mutation.pragma_handling import IgnoredCode

# Names for annotations (`Change = tuple[...]`) and for `import *`: no behaviour hangs on them.
_TYPE_ONLY = re.compile(r"__all__|[A-Z][a-z]\w*")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One module with one fault in it."""

    module: str
    """The path below `iexworker/`."""
    inside: str
    """The function or class, dotted; empty for the module itself."""
    line: int
    operator: str
    was: str
    becomes: str
    source: str = field(repr=False)
    nth: int = 1
    """Tells mutants apart that are alike in all of that, the line aside."""

    @property
    def key(self) -> str:
        """Return what stays the same when other lines of the module change."""
        place = f"{self.module}:{self.inside}:{self.operator}:{self.nth}"
        return f"{place}: {self.was} -> {self.becomes}"


def sample(package: Path, modules: Iterable[str], count: int, seed: int) -> list[Mutant]:
    """Draw `count` of all mutants of `modules`, module by module; the same for the same sources."""
    everything = [mutant for module in modules for mutant in _mutants(package, module)]
    chosen = random.Random(seed).sample(range(len(everything)), min(count, len(everything)))
    return [everything[index] for index in sorted(chosen)]


def _mutants(package: Path, module: str) -> Iterator[Mutant]:
    source = (package / module).read_text()
    wrapper = MetadataWrapper(cst.parse_module(source))
    positions = wrapper.resolve(PositionProvider)
    places = _Places(source)
    statements = _Statements(wrapper.module)
    seen = {source}
    alike: Counter[str] = Counter()
    for operator, mutation in _mutations(wrapper):
        line = _first_line(mutation.original_node, positions)
        if places.type_only(line):
            continue
        text = statements.changed(mutation)
        if text in seen or not _compiles(text):
            continue
        seen.add(text)
        was, becomes = _change(source, text)
        mutant = Mutant(module, places.inside(line), line, operator, was, becomes, text)
        alike[mutant.key] += 1
        yield replace(mutant, nth=alike[mutant.key])


def _mutations(wrapper: MetadataWrapper) -> Iterator[tuple[str, Mutation]]:
    makers: dict[int, str] = {}
    operators = [*mutation_operators, (cst.If, operator_condition)]
    named = [(kind, _noting(operator, makers)) for kind, operator in operators]
    visitor = MutationVisitor(named, IgnoredCode(set(), set(), set()))
    wrapper.visit(visitor)
    for mutation in visitor.mutations:
        yield makers[id(mutation.mutated_node)].removeprefix("operator_"), mutation


def operator_condition(node: cst.If) -> Iterable[cst.If]:
    """Force the branch of an `if` to be taken always, or never."""
    choice = cst.IfExp(test=node.test, body=cst.Name("a"), orelse=cst.Name("b"))
    return [node.with_changes(test=forced.test) for forced in operator_if_exp(choice)]


def _noting(
    operator: Callable[[Any], Iterable[cst.CSTNode]], makers: dict[int, str]
) -> Callable[[Any], Iterator[cst.CSTNode]]:
    def operate(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        for mutated in operator(node):
            makers[id(mutated)] = operator.__name__
            yield mutated

    return operate


def _first_line(node: cst.CSTNode, positions: Mapping[cst.CSTNode, Any]) -> int:
    # Operators have no position of their own in libcst; their first child has.
    stack = [node]
    while stack:
        item = stack.pop(0)
        if item in positions:
            return int(positions[item].start.line)
        stack += item.children
    raise AssertionError(f"no line for {node}")


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _change(source: str, text: str) -> tuple[str, str]:
    """Return the lines that differ, before and after, in one line each."""
    before, after = source.splitlines(), text.splitlines()
    was: list[str] = []
    becomes: list[str] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
        if tag != "equal":
            was += before[i1:i2]
            becomes += after[j1:j2]
    return _joined(was), _joined(becomes)


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


class _Statements:
    """The module's statements as texts: only the one with the fault is written anew."""

    def __init__(self, module: cst.Module) -> None:
        self._module = module
        self._texts = [module.code_for_node(statement) for statement in module.body]
        before, _, self._after = module.code.partition("".join(self._texts))
        self._before = before
        self._home = {
            id(node): index
            for index, statement in enumerate(module.body)
            for node in _descendants(statement)
        }

    def changed(self, mutation: Mutation) -> str:
        """Return the source with the fault."""
        index = self._home[id(mutation.original_node)]
        statement = deep_replace(
            self._module.body[index], mutation.original_node, mutation.mutated_node
        )
        texts = [*self._texts]
        texts[index] = self._module.code_for_node(statement)
        return "".join([self._before, *texts, self._after])


def _descendants(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        yield from _descendants(child)


class _Places:
    """Tells by a line's number in what it stands."""

    def __init__(self, source: str) -> None:
        self._spans: list[tuple[int, int, str]] = []
        self._type_only: set[int] = set()
        tree = ast.parse(source)
        self._collect(tree.body, "")
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                self._judge(node)

    def _judge(self, node: ast.Assign | ast.AnnAssign) -> None:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name) and _TYPE_ONLY.fullmatch(target.id):
            self._type_only.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))

    def _collect(self, body: list[ast.stmt], outer: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{outer}.{node.name}" if outer else node.name
                self._spans.append((node.lineno, node.end_lineno or node.lineno, name))
                self._collect(node.body, name)

    def inside(self, line: int) -> str:
        """Return the name of the innermost function or class."""
        fitting = [name for first, last, name in self._spans if first <= line <= last]
        return fitting[-1] if fitting else ""

    def type_only(self, line: int) -> bool:
        """Tell whether the line only names types."""
        return line in self._type_only
