"""Answers are tallied by route, and what clients invent adds no series."""

from __future__ import annotations

from pathlib import Path

import pytest
from falcon.asgi import App
from falcon.testing import TestClient

from iexworker.web.request_metrics import RouteTally, Traffic, outcome
from tests.unit.helpers.web_worker import WebWorker


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (200, "SUCCESS"),
        (208, "SUCCESS"),
        (302, "REDIRECTION"),
        (404, "CLIENT_ERROR"),
        (503, "SERVER_ERROR"),
    ],
)
def test_each_class_of_statuses_has_its_word(status: int, word: str) -> None:
    assert outcome(status) == word


def test_a_tally_adds_up() -> None:
    tally = RouteTally()
    tally.add(0.25, now=1000.0)
    tally.add(0.5, now=1001.0)
    assert (tally.count, tally.total_s, tally.slowest_s(1002.0)) == (2, 0.75, 0.5)


def test_the_slowest_answer_is_forgotten_after_two_minutes() -> None:
    tally = RouteTally()
    tally.add(0.5, now=1000.0)
    tally.add(0.25, now=1061.0)
    assert tally.slowest_s(1062.0) == 0.5
    assert tally.slowest_s(1122.0) == 0.25
    assert tally.slowest_s(1300.0) == 0.0


def test_unknown_paths_and_methods_share_one_key() -> None:
    traffic = Traffic()
    client = TestClient(App(middleware=[traffic]))
    for number in range(20):
        client.simulate_get(f"/{number}")
        client.simulate_request("GET" if number % 2 else "PROPFIND", f"/x{number}")
    assert {(method, route) for method, route, _, _ in traffic.tallies()} <= {
        ("GET", "/**"),
        ("UNKNOWN", "/**"),
    }


def test_a_template_stands_for_all_of_its_paths(tmp_path: Path) -> None:
    worker = WebWorker(tmp_path)
    for part in ("liveness", "disk", "nothing"):
        worker.get(f"/actuator/health/{part}")
    text = worker.get("/actuator/prometheus").text
    assert 'uri="/actuator/health/{part}"' in text
    assert 'uri="/actuator/health/disk"' not in text
