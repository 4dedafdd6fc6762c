"""The status page tells an operator with a browser what the worker does."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from iexworker.shared.board import State
from iexworker.shared.ring import Stage
from tests.unit.helpers.web_worker import NOW_S, WALLET, WebWorker


class Words(HTMLParser):
    """The text of a page, a row a line; it raises on an end tag that was not opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += "\n" if tag in ("tr", "h1", "h2", "p") else " "

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def worker(tmp_path: Path) -> WebWorker:
    worker = WebWorker(tmp_path)
    worker.be_ready()
    return worker


def words(worker: WebWorker) -> str:
    return re.sub(r"[ \t]+", " ", Words(worker.get("/").text).text)


def test_it_is_html_that_loads_nothing_from_elsewhere(worker: WebWorker) -> None:
    answer = worker.get("/")
    assert answer.headers["content-type"] == "text/html;charset=UTF-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text


def test_a_ready_worker_says_so_with_its_wallet(worker: WebWorker) -> None:
    text = words(worker)
    assert f"iexworker {WALLET}" in text
    assert "Ready for work. Version shown: 9.2.1." in text
    assert "last ping answered 3 s ago" in text


def test_a_worker_that_is_not_ready_says_why(worker: WebWorker) -> None:
    worker.board.facts.set(docker_ok=False, docker_text="no <socket>")
    text = words(worker)
    assert "Not ready for work." in text
    assert "docker no <socket>" in text
    assert "no &lt;socket&gt;" in worker.get("/").text


def test_each_process_shows_what_it_does_and_since_when(worker: WebWorker) -> None:
    entry = worker.board.entry("compute-0")
    entry.write(state=State.BUSY, task="0xab", step="app", text="4 of 10 s")
    worker.board.entry("compute-1").write(state=State.DOWN, pid=0)
    worker.now_s = entry.read().since_s + 200
    text = words(worker)
    assert "compute-0 busy 3 min ago 0xab app 4 of 10 s" in text
    assert "<span class='bad'>down</span>" in worker.get("/").text


def test_what_is_at_stake_and_until_when_is_shown(worker: WebWorker) -> None:
    assert "contributed, not revealed –" in words(worker)
    worker.board.facts.set(stake_at_risk=0)
    assert "contributed, not revealed 0" in words(worker)
    worker.board.facts.set(stake_at_risk=2, nearest_reveal_deadline_s=NOW_S + 90, last_block=None)
    text = words(worker)
    assert "contributed, not revealed 2" in text
    assert "nearest reveal deadline in 90 s" in text
    assert "block –" in text


def test_durations_are_shown_with_their_count(worker: WebWorker) -> None:
    worker.record(Stage.APP, 1, 1000)
    worker.record(Stage.APP, 2, 4000)
    text = words(worker)
    assert "app 2 1,000 2,500 4,000" in text
    assert "pre-compute 0 – – –" in text


@pytest.mark.parametrize(
    ("age_s", "words_"),
    [(0, "0 s ago"), (119, "119 s ago"), (7200, "2 h ago"), (260000, "3 d ago"), (-5, "0 s ago")],
)
def test_ages_are_in_the_largest_unit_that_fits(
    worker: WebWorker, age_s: float, words_: str
) -> None:
    worker.board.facts.set(last_demand_s=NOW_S - age_s, demand_text="no task for us")
    assert f"last asked for work {words_} no task for us" in words(worker)


def test_a_fresh_worker_has_never_asked(tmp_path: Path) -> None:
    assert "last asked for work never" in words(WebWorker(tmp_path))


def test_money_for_gas_has_a_row_where_gas_has_a_price(worker: WebWorker) -> None:
    assert "money for gas" not in words(worker)
    worker.board.facts.set(balance_wei=10**16, gas_wanted_text="little wanted", gas_note="a note")
    assert "money for gas 0.01 ether; little wanted; a note" in words(worker)
