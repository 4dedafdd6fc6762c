"""What docs/reliability/mutants.md says of the last run, and the reasons of survivors."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN, END = "<!-- mutation: scripts/mutate -->", "<!-- end of mutation -->"
UNEXPLAINED = "**unexplained**"
BAR = 0.85


@dataclass(frozen=True, slots=True)
class Tried:
    """One mutant and its fate, as the state file keeps it."""

    module: str
    inside: str
    line: int
    operator: str
    was: str
    becomes: str
    nth: int
    fate: str
    seconds: float


Reasons = Mapping[tuple[str, str, str, str, str, int], str]


def read_reasons(path: Path) -> Reasons:
    """Read why survivors survive, by what names each of them."""
    rows = tomllib.loads(path.read_text()).get("survivor", [])
    return {
        (
            row["module"],
            row.get("inside", ""),
            row["operator"],
            row["was"],
            row["becomes"],
            row.get("nth", 1),
        ): row["reason"]
        for row in rows
    }


def reason(tried: Tried, reasons: Reasons) -> str | None:
    """Return why the mutant survives, None where nobody has said."""
    key = (tried.module, tried.inside, tried.operator, tried.was, tried.becomes, tried.nth)
    return reasons.get(key)


def survivors(results: Sequence[Tried]) -> list[Tried]:
    """Return the mutants that no test has noticed."""
    return [item for item in results if item.fate == "survived"]


def score(results: Sequence[Tried]) -> float:
    """Return the part that was noticed, from 0 to 1; a test that does not end has noticed."""
    return 1 - len(survivors(results)) / len(results)


def summary(results: Sequence[Tried]) -> list[tuple[str, int, int, int, int]]:
    """Return module, mutants, killed, timeouts and survivors of each module, then of all."""
    modules = list(dict.fromkeys(item.module for item in results))
    rows = [_row(module, [item for item in results if item.module == module]) for module in modules]
    return [*rows, _row("all", results)]


def _row(name: str, results: Sequence[Tried]) -> tuple[str, int, int, int, int]:
    fates = Counter(item.fate for item in results)
    return name, len(results), fates["killed"], fates["timeout"], fates["survived"]


def text(results: Sequence[Tried], reasons: Reasons, seed: int, commit: str) -> str:
    """Return what stands between the marks."""
    lines = [
        f"Commit `{commit}`, seed {seed}: {len(results)} mutants, "
        f"{score(results):.1%} noticed (bar: {BAR:.0%}).",
        "",
        "| module | mutants | killed | killed by time-out | survived |",
        "|---|---|---|---|---|",
        *("| {} | {} | {} | {} | {} |".format(*row) for row in summary(results)),
        "",
        "| survivor | was | becomes | reason |",
        "|---|---|---|---|",
        *(_survivor(item, reasons) for item in survivors(results)),
    ]
    return "\n".join(lines)


def _survivor(item: Tried, reasons: Reasons) -> str:
    place = f"{item.module}:{item.line}"
    words = reason(item, reasons) or UNEXPLAINED
    return f"| {place} | {_code(item.was)} | {_code(item.becomes)} | {words} |"


def _code(line: str) -> str:
    if not line:
        return "(removed)"
    fence = "``" if "`" in line else "`"
    return f"{fence}{line.replace('|', chr(92) + '|')}{fence}"


def put(document: str, section: str) -> str:
    """Return the document with `section` between its marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{section}\n{END}{after}"
