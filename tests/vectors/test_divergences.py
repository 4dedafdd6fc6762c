from __future__ import annotations

import re

import pytest

from tests.vectors.helpers.loader import FOLDER, divergences, raw_cases

ONLY_TEE = {"chain-enclave-config"}
"""Copied now, tested when TEE tasks are built."""

VECTORS = sorted(path.stem for path in FOLDER.glob("chain-*.json"))


def vectors_under_test() -> set[str]:
    return {
        name
        for path in FOLDER.glob("test_*.py")
        for name in re.findall(
            r'(?:cases\(\s*|/ )"(chain-[a-z0-9-]+?)(?:\.json)?"', path.read_text(encoding="utf-8")
        )
    }


@pytest.mark.parametrize("vector", sorted(set(VECTORS) - ONLY_TEE))
def test_every_vector_of_standard_tasks_is_a_test(vector: str) -> None:
    assert vector in vectors_under_test()


def test_every_divergence_is_used_and_says_why() -> None:
    for entry in divergences():
        assert entry.vector in vectors_under_test(), entry
        upstream = {case["name"]: case["expected"] for case in raw_cases(entry.vector)}
        assert entry.expected != upstream[entry.case], "no divergence: the vector expects the same"
        assert len(entry.reason) > 20, entry


def test_no_case_has_two_divergences() -> None:
    named = [(entry.vector, entry.case) for entry in divergences()]

    assert len(named) == len(set(named))
