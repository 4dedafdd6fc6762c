"""Every error has the framework's document and status (docs/spec/08, section 1.1)."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from iexworker.web import error_documents
from tests.unit.helpers.web_worker import WebWorker

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def worker(tmp_path: Path) -> WebWorker:
    return WebWorker(tmp_path)


def test_an_unknown_path_is_404_with_the_four_fields_in_order(worker: WebWorker) -> None:
    answer = worker.get("/foo")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(
        r'\{"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00",'
        r'"status":404,"error":"Not Found","path":"/foo"\}',
        answer.text,
    )


@pytest.mark.parametrize(
    "path",
    ["/metrics/", "/version/", "/actuator/", "/actuator/health/", "/actuator/beans", "/metrics/x"],
)
def test_a_trailing_slash_and_what_is_not_served_are_404(worker: WebWorker, path: str) -> None:
    assert worker.get(path).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/metrics", "/version", "/actuator/health", "/actuator/info"])
def test_a_wrong_method_is_405_and_names_the_right_ones(
    worker: WebWorker, path: str, method: str
) -> None:
    answer = worker.client.simulate_request(method, path)
    assert answer.status_code == 405
    assert {"GET", "HEAD", "OPTIONS"} == set(answer.headers["allow"].split(", "))
    assert answer.json["error"] == "Method Not Allowed"


@pytest.mark.parametrize("path", ["/", "/metrics", "/actuator/prometheus"])
def test_options_is_200_with_the_methods_and_no_body(worker: WebWorker, path: str) -> None:
    answer = worker.client.simulate_options(path)
    assert answer.status_code == 200
    assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))
    assert answer.content == b""


def test_head_of_an_unknown_path_is_404_without_a_body(worker: WebWorker) -> None:
    answer = worker.client.simulate_head("/foo")
    assert (answer.status_code, answer.content) == (404, b"")


def test_a_browser_gets_a_page_with_the_path_escaped(worker: WebWorker) -> None:
    answer = worker.get("/<script>", headers={"Accept": BROWSER})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html;charset=UTF-8"
    assert "<h1>404 Not Found</h1>" in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize("accept", ["*/*", "application/json, text/html", "image/png", "nonsense"])
def test_all_others_get_json(worker: WebWorker, accept: str) -> None:
    answer = worker.get("/foo", headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/json"


def test_a_fault_of_ours_is_500_without_its_text_and_is_logged(
    worker: WebWorker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(worker.board.facts, "read", fail)
    with caplog.at_level(logging.ERROR, error_documents.__name__):
        answer = worker.get("/version")
    assert answer.status_code == 500
    assert answer.json["error"] == "Internal Server Error"
    assert "secret" not in answer.text
    assert "request failed" in caplog.text
