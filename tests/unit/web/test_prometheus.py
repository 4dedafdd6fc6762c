"""`/actuator/prometheus` exports the families of docs/spec/08, section 6, and those of ours."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from falcon.testing import Result
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from iexworker.shared.board import State
from iexworker.shared.ring import Stage
from tests.unit.helpers.web_worker import NOW_S, WALLET, WebWorker

OPENMETRICS = "application/openmetrics-text"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.fixture
def worker(tmp_path: Path) -> WebWorker:
    worker = WebWorker(tmp_path)
    worker.be_ready()
    return worker


def scrape(worker: WebWorker, query: str = "", accept: str = "*/*") -> Result:
    return worker.get("/actuator/prometheus", query_string=query, headers={"Accept": accept})


def samples(worker: WebWorker) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample of a scrape by name and sorted labels."""
    worker.now_s += 1  # the second after: nothing is kept
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(scrape(worker).text)
        for sample in family.samples
    }


def value(worker: WebWorker, name: str, **labels: str) -> float:
    return samples(worker)[name, tuple(sorted(labels.items()))]


def test_the_default_form_is_text_0_0_4(worker: WebWorker) -> None:
    answer = scrape(worker)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain;version=0.0.4;charset=utf-8"


@pytest.mark.parametrize("accept", [OPENMETRICS, PROMETHEUS_2])
def test_openmetrics_is_for_who_asks_and_stands_a_strict_parser(
    worker: WebWorker, accept: str
) -> None:
    scrape(worker)
    answer = scrape(worker, accept=accept)
    kind = "application/openmetrics-text;version=1.0.0;charset=utf-8"
    assert answer.headers["content-type"] == kind
    assert answer.text.endswith("# EOF\n")
    families = parse_openmetrics(answer.text)  # type: ignore[no-untyped-call]  # has no types
    assert "iexec_poco_transaction" in {family.name for family in families}


@pytest.mark.parametrize("accept", [PROMETHEUS_3, "text/plain", "text/html", "nonsense"])
def test_whatever_else_is_asked_for_gets_an_answer(worker: WebWorker, accept: str) -> None:
    answer = scrape(worker, accept=accept)
    assert answer.status_code == 200
    assert "iexec_version_info" in answer.text


@pytest.mark.parametrize("phase", ["pre_compute", "app_compute", "post_compute"])
def test_an_empty_stage_is_nan_and_counts_zero(worker: WebWorker, phase: str) -> None:
    found = samples(worker)
    labels = (("phase", phase), ("wallet", WALLET))
    for statistic in ("min", "max", "average"):
        assert math.isnan(found[f"iexec_{phase}_duration_{statistic}", labels])
    assert found[f"iexec_{phase}_duration_samples_count", labels] == 0
    assert f'duration_min{{phase="{phase}",wallet="{WALLET}"}} NaN' in scrape(worker).text


def test_durations_are_exported_in_milliseconds(worker: WebWorker) -> None:
    worker.record(Stage.APP, 1, 1000)
    worker.record(Stage.APP, 2, 4349, writer=1)
    labels = {"phase": "app_compute", "wallet": WALLET}
    assert value(worker, "iexec_app_compute_duration_min", **labels) == 1000
    assert value(worker, "iexec_app_compute_duration_max", **labels) == 4349
    assert value(worker, "iexec_app_compute_duration_average", **labels) == 2674.5
    assert value(worker, "iexec_app_compute_duration_samples_count", **labels) == 2
    assert "} 4349.0\n" in scrape(worker).text


def test_the_workers_families_have_the_names_types_and_labels_of_upstream(
    worker: WebWorker,
) -> None:
    worker.board.facts.set(tx_success=7, tx_failure=1, wallet_tx_latest=8, wallet_tx_pending=9)
    types = {family.name: family.type for family in parse_text(scrape(worker).text)}
    for phase in ("pre", "app", "post"):
        for statistic in ("min", "max", "average", "samples_count"):
            assert types[f"iexec_{phase}_compute_duration_{statistic}"] == "gauge"
    assert types["iexec_version_info"] == "gauge"
    assert types["iexec_chain_block_latest"] == "gauge"
    assert types["iexec_chain_wallet_tx_count"] == "gauge"
    assert types["iexec_poco_transaction"] == "counter"
    found = samples(worker)
    version = (("iexecAppName", "iexec-worker"), ("iexecAppVersion", "9.2.1"))
    assert found["iexec_version_info", version] == 1
    assert found["iexec_chain_block_latest", ()] == 1234
    assert found["iexec_chain_wallet_tx_count", (("block", "latest"),)] == 8
    assert found["iexec_chain_wallet_tx_count", (("block", "pending"),)] == 9
    assert found["iexec_poco_transaction_total", (("status", "success"),)] == 7
    assert found["iexec_poco_transaction_total", (("status", "failure"),)] == 1


def test_before_the_first_block_the_latest_is_zero(tmp_path: Path) -> None:
    assert value(WebWorker(tmp_path), "iexec_chain_block_latest") == 0


def test_the_families_that_dashboards_rely_on_are_there(worker: WebWorker, tmp_path: Path) -> None:
    worker.get("/metrics")
    found = {name for name, _ in samples(worker)}
    assert found >= {
        "process_uptime_seconds",
        "process_start_time_seconds",
        "process_cpu_usage",
        "process_files_open_files",
        "process_files_max_files",
        "system_cpu_usage",
        "system_cpu_count",
        "system_load_average_1m",
        "disk_free_bytes",
        "disk_total_bytes",
        "http_server_requests_seconds_count",
        "http_server_requests_seconds_sum",
        "http_server_requests_seconds_max",
        "logback_events_total",
        "application_started_time_seconds",
        "application_ready_time_seconds",
    }
    assert value(worker, "process_start_time_seconds") == NOW_S - 100
    assert value(worker, "process_uptime_seconds") == worker.now_s - (NOW_S - 100)
    assert value(worker, "disk_total_bytes", path=str(tmp_path)) > 0
    ready_s = value(worker, "application_ready_time_seconds", main_application_class="iexworker")
    assert ready_s == pytest.approx(0.5)


def test_answers_are_counted_by_route_and_status(worker: WebWorker) -> None:
    for path in ("/metrics", "/metrics", "/foo", "/bar"):
        worker.get(path)
    labels = {"exception": "None", "error": "none", "method": "GET"}
    known = {**labels, "outcome": "SUCCESS", "status": "200", "uri": "/metrics"}
    unknown = {**labels, "outcome": "CLIENT_ERROR", "status": "404", "uri": "/**"}
    assert value(worker, "http_server_requests_seconds_count", **known) == 2
    assert value(worker, "http_server_requests_seconds_sum", **known) > 0
    assert value(worker, "http_server_requests_seconds_max", **known) > 0
    assert value(worker, "http_server_requests_seconds_count", **unknown) == 2


def test_log_lines_are_counted_by_level(worker: WebWorker) -> None:
    worker.board.entry("scheduling").count_event(30)
    worker.board.entry("compute-0").count_event(30)
    assert value(worker, "logback_events_total", level="warn") == 2
    assert value(worker, "logback_events_total", level="trace") == 0


def test_the_stake_at_risk_and_the_time_left_are_told(worker: WebWorker) -> None:
    assert math.isnan(value(worker, "iexworker_nearest_reveal_deadline_seconds"))
    assert math.isnan(value(worker, "iexworker_stake_at_risk_tasks"))
    worker.board.facts.set(stake_at_risk=2, nearest_reveal_deadline_s=NOW_S + 600)
    assert value(worker, "iexworker_stake_at_risk_tasks") == 2
    left_s = value(worker, "iexworker_nearest_reveal_deadline_seconds")
    assert left_s == NOW_S + 600 - worker.now_s


def test_transactions_pings_and_journal_errors_are_told(worker: WebWorker) -> None:
    worker.board.facts.set(tx_success=3, tx_failure=2, tx_replaced=1, tx_pending=4)
    worker.board.facts.set(journal_errors=5, tasks_open=6)
    found = samples(worker)
    for outcome, count in (("success", 3), ("failure", 2), ("replaced", 1)):
        assert found["iexworker_transactions_total", (("outcome", outcome),)] == count
    assert found["iexworker_transactions_pending", ()] == 4
    assert found["iexworker_journal_errors_total", ()] == 5
    assert found["iexworker_tasks_open", ()] == 6
    assert found["iexworker_last_ping_timestamp_seconds", ()] == NOW_S - 3
    assert found["iexworker_last_demand_timestamp_seconds", ()] == 0


def test_processes_and_slots_are_told(worker: WebWorker) -> None:
    worker.board.entry("compute-0").write(state=State.BUSY)
    worker.board.entry("compute-1").write(state=State.DOWN, pid=0)
    worker.board.facts.set(restarts={"compute-1": 3})
    found = samples(worker)
    assert found["iexworker_process_up", (("role", "compute-0"),)] == 1
    assert found["iexworker_process_up", (("role", "compute-1"),)] == 0
    assert found["iexworker_process_restarts_total", (("role", "compute-1"),)] == 3
    assert found["iexworker_slots", ()] == 2
    assert found["iexworker_slots_busy", ()] == 1
    assert found["iexworker_component_up", (("component", "processes"),)] == 0
    assert found["iexworker_ready", ()] == 0
    assert found["iexworker_process_resident_memory_bytes", (("role", "compute-0"),)] > 0


@pytest.mark.parametrize(
    "query",
    [
        "includedNames=iexec_poco_transaction_total,disk_free_bytes",
        "includedNames=iexec_poco_transaction&includedNames=disk_free_bytes",
    ],
)
def test_included_names_limit_the_families(worker: WebWorker, query: str) -> None:
    families = {family.name for family in parse_text(scrape(worker, query).text)}
    assert families == {"iexec_poco_transaction", "disk_free_bytes"}


def test_names_that_do_not_exist_leave_nothing(worker: WebWorker) -> None:
    assert scrape(worker, "includedNames=nothing").text == ""
    assert scrape(worker, "includedNames=").text != ""


def test_what_nothing_has_changed_is_kept_within_the_second(worker: WebWorker) -> None:
    first = scrape(worker).text
    worker.get("/metrics")
    assert scrape(worker).text == first


def test_a_change_of_ring_or_board_is_seen_at_once(worker: WebWorker) -> None:
    scrape(worker)
    worker.board.facts.set(last_block=1235)
    assert "iexec_chain_block_latest 1235.0" in scrape(worker).text
    worker.record(Stage.PRE, 1, 77)
    assert f'{{phase="pre_compute",wallet="{WALLET}"}} 77.0' in scrape(worker).text


def test_a_folder_out_of_reach_has_no_room(tmp_path: Path) -> None:
    missing = tmp_path / ("x" * 300)
    assert value(WebWorker(missing), "disk_free_bytes", path=str(missing)) == 0


def test_the_wallet_has_two_purses(worker: WebWorker) -> None:
    assert math.isnan(value(worker, "iexworker_wallet_balance_ether"))
    worker.board.facts.set(balance_wei=10**16, gas_wanted_wei=3 * 10**13, deposit_nrlc=10**9)
    assert value(worker, "iexworker_wallet_balance_ether") == 0.01
    assert value(worker, "iexworker_wallet_wanted_ether") == 0.00003
    assert value(worker, "iexworker_wallet_deposit_rlc") == 1


def test_what_gas_has_cost_is_counted(worker: WebWorker) -> None:
    assert value(worker, "iexworker_gas_cost_ether_total") == 0
    worker.board.facts.set(gas_spent_wei=8 * 10**12)
    assert value(worker, "iexworker_gas_cost_ether_total") == 0.000008
