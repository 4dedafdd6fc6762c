"""Vectors as test parameters; `divergences.toml` says where we rightly answer something else."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1]
DIVERGENCES = FOLDER / "divergences.toml"


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a vector; `expected` is ours where it diverges."""

    name: str
    input: Any
    expected: Any


@dataclass(frozen=True, slots=True)
class Divergence:
    """A case where the spec decides otherwise; `expected` replaces the vector's."""

    vector: str
    case: str
    reason: str
    expected: Any


def divergences() -> list[Divergence]:
    """Return the entries of divergences.toml, where our answer is JSON since TOML has no null."""
    with DIVERGENCES.open("rb") as file:
        entries = tomllib.load(file).get("divergence", [])
    return [
        Divergence(
            entry["vector"], entry["case"], entry["reason"], json.loads(entry["expected_json"])
        )
        for entry in entries
    ]


def raw_cases(vector: str) -> list[dict[str, Any]]:
    """Return the cases of a vector as its file has them."""
    data = json.loads((FOLDER / f"{vector}.json").read_text(encoding="utf-8"))
    cases: list[dict[str, Any]] = data["cases"]
    return cases


def cases(vector: str) -> list[Any]:
    """Return a vector's cases for `pytest.mark.parametrize`, divergences applied."""
    ours = {entry.case: entry.expected for entry in divergences() if entry.vector == vector}
    return [
        pytest.param(
            Case(raw["name"], raw["input"], ours.get(raw["name"], raw["expected"])), id=raw["name"]
        )
        for raw in raw_cases(vector)
    ]
