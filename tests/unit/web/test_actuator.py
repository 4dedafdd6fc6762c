"""`/actuator` tells health and build in the framework's form (docs/spec/08, 3.2 to 3.5)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from iexworker.shared import thresholds
from iexworker.shared.board import State
from tests.unit.helpers.web_worker import NOW_S, WebWorker

V3 = "application/vnd.spring-boot.actuator.v3+json"


@pytest.fixture
def worker(tmp_path: Path) -> WebWorker:
    return WebWorker(tmp_path)


@pytest.fixture
def ready(worker: WebWorker) -> WebWorker:
    worker.be_ready()
    return worker


def readiness(worker: WebWorker) -> tuple[int, str, dict[str, str]]:
    """Return HTTP status, status, and component -> reason of what is not up."""
    answer = worker.get("/actuator/health/readiness")
    reasons = {
        name: item["details"]["reason"]
        for name, item in answer.json["components"].items()
        if item["status"] != "UP"
    }
    return answer.status_code, answer.json["status"], reasons


def test_the_links_name_what_is_exposed(worker: WebWorker) -> None:
    answer = worker.get("/actuator", host="worker", port=13100)
    assert answer.headers["content-type"] == V3
    base = "http://worker:13100/actuator"
    assert answer.json == {
        "_links": {
            "self": {"href": base, "templated": False},
            "health": {"href": f"{base}/health", "templated": False},
            "health-path": {"href": f"{base}/health/{{*path}}", "templated": True},
            "info": {"href": f"{base}/info", "templated": False},
            "prometheus": {"href": f"{base}/prometheus", "templated": False},
        }
    }


@pytest.mark.parametrize(
    ("exposure", "found"),
    [
        ({"health"}, {"health"}),
        ({"health", "prometheus", "beans"}, {"health", "prometheus"}),
        ({"*"}, {"health", "info", "prometheus"}),
        (set(), set()),
    ],
)
def test_what_is_not_exposed_is_404_and_has_no_link(
    tmp_path: Path, exposure: set[str], found: set[str]
) -> None:
    worker = WebWorker(tmp_path, exposure=frozenset(exposure))
    for endpoint in ("health", "info", "prometheus"):
        expected = 200 if endpoint in found else 404
        assert worker.get(f"/actuator/{endpoint}").status_code == expected
    links = set(worker.get("/actuator").json["_links"])
    assert links - {"self", "health-path"} == found


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", V3),
        ("application/json", "application/json"),
        (V3, V3),
        (V3.replace("v3", "v2"), V3.replace("v3", "v2")),
        ("application/json, */*;q=0.5", "application/json"),
    ],
)
def test_the_form_is_the_one_asked_for(worker: WebWorker, accept: str, form: str) -> None:
    answer = worker.get("/actuator/health", headers={"Accept": accept})
    assert answer.headers["content-type"] == form


def test_a_starting_worker_is_alive_and_not_ready(worker: WebWorker) -> None:
    for path in ("/actuator/health", "/actuator/health/liveness"):
        answer = worker.get(path)
        assert (answer.status_code, answer.json["status"]) == (200, "UP")
    status, text, reasons = readiness(worker)
    assert (status, text) == (503, "OUT_OF_SERVICE")
    assert set(reasons) == {"worker", "scheduler", "chain", "docker", "gas"}
    assert reasons["worker"] == "the worker is starting"


def test_health_lists_its_groups_as_upstream_does_with_probes(worker: WebWorker) -> None:
    assert worker.get("/actuator/health").json["groups"] == ["liveness", "readiness"]


def test_a_worker_with_all_it_needs_is_ready(ready: WebWorker) -> None:
    assert readiness(ready) == (200, "UP", {})
    answer = ready.get("/actuator/health")
    assert answer.json["components"]["scheduler"] == {
        "status": "UP",
        "details": {"session": "b2f1"},
    }


@pytest.mark.parametrize(
    ("change", "component", "reason"),
    [
        ({"stopping": True}, "worker", "the worker is stopping"),
        ({"scheduler_text": "not on its list"}, "scheduler", "not on its list"),
        ({"registered": False}, "scheduler", "not registered yet"),
        ({"last_ping_s": None}, "scheduler", "no ping answered yet"),
        ({"last_ping_s": NOW_S - 31}, "scheduler", "no ping answered for 31 s"),
        (
            {"last_ping_s": NOW_S - 31, "ping_text": "connection refused"},
            "scheduler",
            "connection refused",
        ),
        ({"profile_text": "needs version 10.0.0"}, "profile", "needs version 10.0.0"),
        ({"chain_ok": False}, "chain", "the node cannot be used"),
        ({"chain_ok": False, "chain_text": "chain 7, not 134"}, "chain", "chain 7, not 134"),
        ({"last_block_s": None}, "chain", "no block seen yet"),
        ({"last_block_s": NOW_S - 61}, "chain", "the chain node has given no new block for 61 s"),
        ({"docker_ok": False, "docker_text": "no socket"}, "docker", "no socket"),
        ({"docker_ok": None}, "docker", "Docker has not been checked yet"),
        ({"gas_ok": False}, "gas", "the wallet's balance is not usable"),
        ({"stake_text": "deposit more"}, "stake", "deposit more"),
        ({"gpu_text": "nvidia-smi not found"}, "gpu", "nvidia-smi not found"),
        ({"disk_ok": False, "disk_text": "1 GiB needed"}, "disk", "1 GiB needed"),
        ({"disk_ok": False}, "disk", "too little room"),
    ],
)
def test_readiness_tells_what_is_missing_and_liveness_does_not_care(
    ready: WebWorker, change: dict[str, object], component: str, reason: str
) -> None:
    ready.board.facts.set(**change)
    assert readiness(ready) == (503, "OUT_OF_SERVICE", {component: reason})
    part = ready.get(f"/actuator/health/{component}")
    assert (part.status_code, part.json["details"]["reason"]) == (503, reason)
    answer = ready.get("/actuator/health")
    assert answer.status_code == 200
    assert answer.json["components"][component]["status"] == "OUT_OF_SERVICE"


def test_a_dead_process_is_down_for_liveness_too(ready: WebWorker) -> None:
    ready.board.entry("compute-1").write(state=State.DOWN, text="killed by SIGKILL", pid=0)
    for path in ("", "/liveness", "/processes"):
        answer = ready.get(f"/actuator/health{path}")
        assert (answer.status_code, answer.json["status"]) == (503, "DOWN")
    assert readiness(ready)[2] == {"processes": "compute-1 is down: killed by SIGKILL"}


def test_a_loop_that_stands_still_is_down(
    ready: WebWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.board.entry("scheduling").tick()
    ready.board.entry("compute-0").tick()
    later_ns = time.monotonic_ns() + 31 * 10**9
    monkeypatch.setattr(time, "monotonic_ns", lambda: later_ns)
    assert readiness(ready)[2] == {"processes": "scheduling has not moved for 31 s"}


def test_processes_that_leave_in_an_orderly_stop_are_no_fault(ready: WebWorker) -> None:
    ready.board.facts.set(stopping=True)
    ready.board.entry("compute-1").write(state=State.DOWN, pid=0)
    assert ready.get("/actuator/health/liveness").status_code == 200


def test_an_unknown_component_is_404(worker: WebWorker) -> None:
    assert worker.get("/actuator/health/db").status_code == 404


def test_a_full_disk_is_told_with_its_figures(
    ready: WebWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds.FreeSpace, "needed", 2**62)
    reason = readiness(ready)[2]["disk"]
    assert f"work is asked for from {2**42} MiB on: make room" in reason


def test_a_folder_to_be_made_is_judged_by_the_one_above(tmp_path: Path) -> None:
    worker = WebWorker(tmp_path / "not" / "yet")
    worker.be_ready()
    assert readiness(worker)[1] == "UP"


def test_a_folder_out_of_reach_is_told(tmp_path: Path) -> None:
    worker = WebWorker(tmp_path / ("x" * 300))
    worker.be_ready()
    assert "File name too long" in readiness(worker)[2]["disk"]


def test_head_of_health_has_its_status_and_no_body(worker: WebWorker) -> None:
    for path, status in (("/actuator/health", 200), ("/actuator/health/readiness", 503)):
        answer = worker.client.simulate_head(path)
        assert (answer.status_code, answer.content) == (status, b"")


def test_info_names_the_build_and_the_version_shown(worker: WebWorker) -> None:
    worker.board.facts.set(version="8.5.0")
    build = worker.get("/actuator/info").json["build"]
    assert build.pop("time").endswith("Z")
    assert build == {
        "artifact": "iexec-worker",
        "name": "iexec-worker",
        "version": "8.5.0",
        "group": "com.iexec.worker",
    }


def test_readiness_shows_both_purses_where_gas_has_a_price(ready: WebWorker) -> None:
    path = "/actuator/health/gas"
    assert "details" not in ready.get(path).json
    ready.board.facts.set(balance_wei=10**16, gas_wanted_text="little wanted", deposit_nrlc=10**9)
    details = {"balance": "0.01 ether", "wanted": "little wanted", "deposit": "1 RLC"}
    assert ready.get(path).json["details"] == details
    ready.board.facts.set(gas_ok=False, gas_text="too poor", gas_note="a note")
    assert ready.get(path).json["details"] == {"reason": "too poor", **details, "note": "a note"}
