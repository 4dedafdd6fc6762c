"""A small set of cases in which every two values of two factors meet (pairwise testing)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence, Set

TRIES = 40
"""Candidates for each case: more make the set a little smaller, and its making slower."""

Case = dict[str, str]
Pair = tuple[str, str, str, str]
"""Two factors, each with its value."""


def pairwise(
    factors: Mapping[str, Sequence[str]], seed: int, without: Set[Pair] = frozenset()
) -> list[Case]:
    """Return cases that hold every pair, none of those `without`; the same for the same seed.

    A pair names its factors in alphabetical order. Each value needs a partner in each factor.
    """
    chance = random.Random(seed)
    left = set(_all_pairs(factors)) - without
    found: list[Case] = []
    while left:
        first = chance.choice(sorted(left))
        candidates = [_grown(first, factors, left, without, chance) for _ in range(TRIES)]
        best = max(candidates, key=lambda case: len(left & set(_pairs(case))))
        left -= set(_pairs(best))
        found.append(best)
    return found


def _grown(
    first: Pair,
    factors: Mapping[str, Sequence[str]],
    left: set[Pair],
    without: Set[Pair],
    chance: random.Random,
) -> Case:
    """Return a case with this pair, whose other factors are chosen greedily in random order."""
    case = {first[0]: first[1], first[2]: first[3]}
    others = [name for name in factors if name not in case]
    chance.shuffle(others)
    for name in others:
        values = chance.sample(list(factors[name]), len(factors[name]))
        values = [value for value in values if not without & set(_pairs({**case, name: value}))]
        case[name] = max(values, key=lambda value: len(left & set(_pairs({**case, name: value}))))
    return {name: case[name] for name in factors}


def _pairs(case: Mapping[str, str]) -> list[Pair]:
    return [
        (one, case[one], other, case[other])
        for one, other in itertools.combinations(sorted(case), 2)
    ]


def _all_pairs(factors: Mapping[str, Sequence[str]]) -> list[Pair]:
    return [
        (one, value, other, another)
        for one, other in itertools.combinations(sorted(factors), 2)
        for value in factors[one]
        for another in factors[other]
    ]
