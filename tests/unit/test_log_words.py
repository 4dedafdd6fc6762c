"""What log calls have in common: the facts that explain are `error` and `reason`, and what the
operator's guide shows is what is printed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")
OTHER_NAMES_FOR_A_REASON = {"why", "problem", "explanation", "message", "text", "details"}
OF_A_PEER = {("malformed message of the scheduler", "text")}
"""Facts of such a name that are no explanation: what a peer has sent."""
SAMPLE = re.compile(r"\S+Z (?P<level>[A-Z]+) +(?P<role>\S+) +(?P<rest>.+)")


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of a module's `log` with its place."""
    for path in sorted((ROOT / "iexworker").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "log" and node.func.attr in LEVELS:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def words(call: ast.Call) -> set[str]:
    """Return every text in a call: its message, as far as it is written there, and its facts."""
    return {
        node.value
        for node in ast.walk(call)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def keys(tree: ast.AST) -> set[str]:
    """Return the keys of the dictionaries written in a piece of code."""
    return {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def test_an_explanation_is_called_error_or_reason() -> None:
    wrong = [
        f"{place}: {key}"
        for place, call in log_calls()
        for key in keys(call) & OTHER_NAMES_FOR_A_REASON
        if not any((message, key) in OF_A_PEER for message in words(call))
    ]
    assert wrong == []


def samples() -> list[str]:
    text = (ROOT / "docs/operators.md").read_text()
    return [line for line in text.splitlines() if SAMPLE.fullmatch(line)]


@pytest.mark.parametrize("sample", samples())
def test_a_line_of_the_operators_guide_is_one_that_the_worker_logs(sample: str) -> None:
    match = SAMPLE.fullmatch(sample)
    assert match is not None
    message = re.split(r" \w+=", match["rest"])[0]
    shown = set(re.findall(r" (\w+)=", re.sub(r'"[^"]*"', '""', match["rest"])))
    assert any(message in words(call) for _, call in log_calls()), "no such event"
    known = set().union(
        *(keys(ast.parse(path.read_text())) for path in (ROOT / "iexworker").rglob("*.py"))
    )
    assert shown <= known
