"""A hazard's scenario holds with the worker as it is, and fails with upstream's behaviour."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Scenario = Callable[[], None]
Upstream = Callable[[pytest.MonkeyPatch], None]


PATIENCE_S = 30.0
UPSTREAM_PATIENCE_S = 1.0
"""How long a scenario waits: on a machine that may be busy, and where it will be in vain."""

_waits = [PATIENCE_S]


def patience_s() -> float:
    """Return how long to wait now."""
    return _waits[-1]


def fails_only_upstreams_way(scenario: Scenario, upstream: Upstream) -> None:
    """Play the scenario as the worker is; then with the upstream behaviour, which must fail it."""
    scenario()
    with pytest.MonkeyPatch.context() as patch:
        upstream(patch)
        _waits.append(UPSTREAM_PATIENCE_S)
        try:
            with pytest.raises(AssertionError):
                scenario()
        finally:
            _waits.pop()
