"""`/metrics` and `/version` answer as the Java worker does (docs/spec/08, sections 2 and 3.1)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iexworker.shared.ring import Stage
from tests.unit.helpers.web_worker import WebWorker

EMPTY = {
    "durationSamplesCount": 0,
    "minDuration": "NaN",
    "maxDuration": "NaN",
    "averageDuration": "NaN",
}
GROUPS = [
    "preComputeDurations",
    "appComputeDurations",
    "postComputeDurations",
    "completeComputeDurations",
]


@pytest.fixture
def worker(tmp_path: Path) -> WebWorker:
    return WebWorker(tmp_path)


def test_a_fresh_worker_prints_nan_as_a_text_in_all_four_groups(worker: WebWorker) -> None:
    answer = worker.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == GROUPS
    assert all(answer.json[group] == EMPTY for group in GROUPS)


def test_durations_appear_at_the_next_read_as_numbers_with_a_fraction(worker: WebWorker) -> None:
    worker.get("/metrics")
    worker.record(Stage.PRE, 1, 3835)
    worker.record(Stage.PRE, 2, 3928, writer=1)
    worker.record(Stage.APP, 1, 4349)
    worker.record(Stage.POST, 1, 16080)
    answer = worker.get("/metrics")
    assert answer.json["preComputeDurations"] == {
        "durationSamplesCount": 2,
        "minDuration": 3835.0,
        "maxDuration": 3928.0,
        "averageDuration": 3881.5,
    }
    assert answer.json["completeComputeDurations"]["averageDuration"] == 24264.0
    assert '"minDuration": 4349.0' in answer.text
    assert '"durationSamplesCount": 1,' in answer.text


def test_a_duration_of_hours_is_an_equal_number(worker: WebWorker) -> None:
    worker.record(Stage.APP, 1, 12345678)
    assert worker.get("/metrics").json["appComputeDurations"]["maxDuration"] == 1.2345678e7


@pytest.mark.parametrize(
    "accept", ["application/json", "*/*", "application/*", "text/html,*/*;q=.1"]
)
def test_whoever_takes_json_gets_it(worker: WebWorker, accept: str) -> None:
    assert worker.get("/metrics", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "application/json;q=0", "/"])
def test_whoever_takes_no_json_gets_406(worker: WebWorker, accept: str) -> None:
    assert worker.get("/metrics", headers={"Accept": accept}).status_code == 406


def test_head_has_the_headers_of_get_and_no_body(worker: WebWorker) -> None:
    head = worker.client.simulate_head("/metrics")
    assert head.status_code == 200
    assert head.headers["content-length"] == str(len(worker.get("/metrics").content))
    assert head.content == b""


def test_the_version_is_bare_text(worker: WebWorker) -> None:
    answer = worker.get("/version")
    assert answer.headers["content-type"] == "text/plain;charset=UTF-8"
    assert answer.text == "9.2.0"
    assert worker.client.simulate_head("/version").headers["content-length"] == "5"


def test_the_version_is_labelled_json_for_who_asks_for_json(worker: WebWorker) -> None:
    answer = worker.get("/version", headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == "9.2.0"


def test_the_version_is_the_one_that_the_scheduler_wants_once_it_is_known(
    worker: WebWorker,
) -> None:
    worker.board.facts.set(version="8.5.0")
    assert worker.get("/version").text == "8.5.0"


def test_the_operators_version_wins(tmp_path: Path) -> None:
    worker = WebWorker(tmp_path, reported_version="9.9.9")
    worker.board.facts.set(version="8.5.0")
    assert worker.get("/version").text == "9.9.9"


def test_metrics_are_json_for_a_strict_parser(worker: WebWorker) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(worker.get("/metrics").text, parse_constant=refuse)
