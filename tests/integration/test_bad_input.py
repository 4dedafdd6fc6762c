"""Tasks that cannot go well: what the scheduler is told, that each ends, and what the log says.

All are bought at once, of one network of each profile, over one worker each; a test looks at one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.helpers.live_worker import SHORT_CATEGORY, LiveSandbox, eventually
from tests.integration.helpers.task_batch import TaskBatch, served

pytestmark = [
    pytest.mark.docker,
    pytest.mark.chain,
    pytest.mark.usefixtures("unmeasured"),
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("bad-input"),
]

Way = tuple[str, ...]

STARTED: Way = ("STARTING", "STARTED")
PULLED: Way = (*STARTED, "APP_DOWNLOADING", "APP_DOWNLOADED")
READY: Way = (*PULLED, "DATA_DOWNLOADING", "DATA_DOWNLOADED")
RUN: Way = (*READY, "COMPUTING")
REVEALED: Way = ("CONTRIBUTING", "CONTRIBUTED", "REVEALING", "REVEALED")
PAID: Way = (*REVEALED, "RESULT_UPLOADING", "RESULT_UPLOADED", "COMPLETING", "COMPLETED")
NOTHING_TO_CONTRIBUTE: Way = (
    "CONTRIBUTING",
    "ABORTED UNKNOWN",
    "CONTRIBUTE_FAILED DETERMINISM_HASH_NOT_FOUND refused",
)
COMPLETED: Way = (*RUN, "COMPUTED", *PAID)
NO_IMAGE: Way = (
    *STARTED,
    "APP_DOWNLOADING",
    "APP_DOWNLOAD_FAILED APP_IMAGE_DOWNLOAD_FAILED",
    *PAID,
)

GOOD_RESULT = (
    "cd /iexec_out && echo hi >r && "
    "echo {#deterministic-output-path#:#/iexec_out/r#} | tr \\# \\\\042 >computed.json"
)
SUM_OF_DATA = "0x5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
UNREACHABLE = "http://127.0.0.1:1/nobody"


def no_data(cause: str) -> Way:
    return (*PULLED, "DATA_DOWNLOADING", f"DATA_DOWNLOAD_FAILED {cause}", *PAID)


def given_up(cause: str) -> Way:
    """The way of a download that failed by a fault of ours, or with nothing to contribute."""
    return (*PULLED, "DATA_DOWNLOADING", f"DATA_DOWNLOAD_FAILED {cause}", "ABORTED UNKNOWN")


def no_result(exit_code: str) -> Way:
    """The way of profile 9 for an app that failed and left no result."""
    return (*RUN, f"COMPUTED {exit_code}", *NOTHING_TO_CONTRIBUTE)


def failed(cause: str) -> Way:
    """The way of a computation without a result."""
    return (*RUN, f"COMPUTE_FAILED {cause}", "ABORTED UNKNOWN")


@dataclass(frozen=True)
class Case:
    """One bad task."""

    wanted: Callable[[TaskBatch], Mapping[str, Any]]
    way: Way
    """Statuses and causes as the scheduler has them, then what it refused."""
    words: str
    """What the worker's log says of it."""
    way_8: Way | None = None
    """Where profile 8 differs."""


def arguments(text: str) -> Callable[[TaskBatch], Mapping[str, Any]]:
    return lambda batch: {"params": batch.params(text)}


def script(text: str) -> Callable[[TaskBatch], Mapping[str, Any]]:
    return lambda batch: batch.script(text)


def inputs(path: str, **wanted: Any) -> Callable[[TaskBatch], Mapping[str, Any]]:
    return lambda batch: (
        wanted | {"params": batch.params(iexec_input_files=[path.format(files=batch.files_url)])}
    )


def dataset(path: str, checksum: str) -> Callable[[TaskBatch], Mapping[str, Any]]:
    return lambda batch: {"dataset": batch.files_url + path, "dataset_checksum": checksum}


def image(suffix: str) -> Callable[[TaskBatch], Mapping[str, Any]]:
    return lambda batch: {"image": batch.sandbox.network.registry_address + suffix}


def params(text: str) -> Callable[[TaskBatch], Mapping[str, Any]]:
    return lambda _: {"params": text, "category": SHORT_CATEGORY}


# Those that take longest come first.
CASES: Mapping[str, Case] = {
    "params that are broken JSON": Case(params('{"iexec_args": "x'), COMPLETED, "/ipfs/"),
    "params with an unknown key": Case(
        params('{"iexec_args": "x", "colour": "red"}'), COMPLETED, "/ipfs/"
    ),
    "params of a wrong type": Case(
        params('{"iexec_input_files": "http://a/b"}'), COMPLETED, "/ipfs/"
    ),
    "params without a storage provider": Case(params('{"iexec_args": "x"}'), COMPLETED, "/ipfs/"),
    "app that never ends": Case(
        lambda batch: {"params": batch.params("sleep=600"), "category": SHORT_CATEGORY},
        no_result("exit=-1"),
        "did not end within its time",
        failed("APP_COMPUTE_TIMEOUT exit=-1"),
    ),
    "host that refuses, for as long as the task may take": Case(
        inputs(UNREACHABLE, category=SHORT_CATEGORY), given_up("UNKNOWN"), "connection refused"
    ),
    "image that does not exist": Case(image("/nothing:1"), NO_IMAGE, "manifest unknown"),
    "image without a tag": Case(image("/demo"), NO_IMAGE, "expected a tag"),
    "image that is no reference": Case(
        lambda _: {"image": "http://evil/x:1"}, NO_IMAGE, "expected no scheme"
    ),
    "input file that is not there": Case(
        inputs("{files}/nothing"), no_data("INPUT_FILES_DOWNLOAD_FAILED"), "HTTP 404"
    ),
    "dataset that is not there": Case(
        dataset("/nothing", SUM_OF_DATA), no_data("DATASET_FILE_DOWNLOAD_FAILED"), "HTTP 404"
    ),
    "dataset with another checksum": Case(
        dataset("/data", "0x" + "11" * 32),
        no_data("DATASET_FILE_BAD_CHECKSUM"),
        f"SHA-256 is {SUM_OF_DATA}, expected 0x1111",
    ),
    "input file of this host": Case(
        inputs("file:///etc/passwd", category=SHORT_CATEGORY),
        given_up("UNKNOWN"),
        "refused by policy",
    ),
    "input that is not there, of a deal with a callback": Case(
        lambda batch: {**inputs("{files}/nothing")(batch), "callback": "receiver"},
        given_up("POST_COMPUTE_FAILED_UNKNOWN_ISSUE"),
        "HTTP 404",
    ),
    "app that fails": Case(
        arguments("fail=3"),
        no_result("exit=3"),
        "ended with exit code 3",
        failed("APP_COMPUTE_FAILED exit=3"),
    ),
    "app that fails and leaves a result": Case(
        script(f"{GOOD_RESULT}; exit 4"),
        (*RUN, "COMPUTED exit=4", *PAID),
        "ended with exit code 4",
        failed("APP_COMPUTE_FAILED exit=4"),
    ),
    "app without computed.json": Case(
        arguments("nocomputed"),
        failed("POST_COMPUTE_SEND_COMPUTED_FILE_FAILED"),
        "the app has written none",
    ),
    "app with a broken computed.json": Case(
        arguments("brokencomputed"),
        failed("POST_COMPUTE_COMPUTED_FILE_NOT_FOUND"),
        "computed.json: expected a text at character",
    ),
    "result path of the host": Case(
        arguments("outside"),
        failed("POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED"),
        "'/etc/passwd': nothing is there",
    ),
    "result path that climbs out": Case(
        script(f"{GOOD_RESULT}; sed -i s:/r:/../../order.json: computed.json"),
        failed("POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED"),
        "leads out of the output",
    ),
    "result file with a name of 32 characters": Case(
        script(f"{GOOD_RESULT}; touch {'n' * 32}"),
        failed("POST_COMPUTE_TOO_LONG_RESULT_FILE_NAME"),
        "is longer than 31 characters",
    ),
    "app without callback data": Case(
        lambda batch: {"params": batch.params("x"), "callback": "receiver"},
        failed("POST_COMPUTE_RESULT_DIGEST_COMPUTATION_FAILED"),
        "the deal has a callback and computed.json no callback-data",
    ),
    "encrypted result without an enclave": Case(
        lambda batch: {"params": batch.params(iexec_result_encryption=True)},
        ("STARTING", "START_FAILED TASK_DESCRIPTION_INVALID", "ABORTED UNKNOWN"),
        "cannot have an encrypted result",
    ),
}

UNREACHABLE_LONG = "host that refuses for two minutes"
TEE = "task for an enclave"
LAST = "good task after all of them"
PROFILES = ("9", "8")


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, TaskBatch]]:
    base = tmp_path_factory.mktemp("networks")
    (base / "files").mkdir()
    (base / "files" / "data").write_text("hello\n")
    with served(base / "files") as url, ThreadPoolExecutor() as threads:
        made = threads.map(
            lambda profile: TaskBatch(LiveSandbox(base / profile, profile, 300), url), PROFILES
        )
        found = dict(zip(PROFILES, made, strict=True))
        for batch in found.values():
            batch.worker.start()
        buying = [threads.submit(buy_all, *item) for item in found.items()]
        yield found
        for bought in buying:
            bought.result()
        for batch in found.values():
            batch.worker.stop()
            batch.sandbox.close()


def buy_all(profile: str, batch: TaskBatch) -> None:
    if profile == "9":
        batch.buy(UNREACHABLE_LONG, **inputs(UNREACHABLE)(batch))
    for name, case in CASES.items():
        batch.buy(name, **case.wanted(batch))
    batch.buy(TEE, tag="0x3")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", CASES)
def test_a_bad_task_ends_as_the_protocol_says_and_the_log_says_why(
    batches: Mapping[str, TaskBatch], name: str, profile: str
) -> None:
    batch, case = batches[profile], CASES[name]
    batch.ended(name)
    way = case.way if profile == "9" else case.way_8 or case.way
    assert batch.way(name) == list(way)
    assert batch.said(name, case.words)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_scheduler_keeps_what_a_failed_app_has_written(
    batches: Mapping[str, TaskBatch], profile: str
) -> None:
    batch = batches[profile]
    batch.ended("app that fails")
    kept = batch.kept_output("app that fails")
    assert "Hello from task 0 of 1" in kept["stdout"]
    assert kept["stderr"] == "failing as told, with 3\n"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_task_for_an_enclave_is_not_given_to_a_worker_without_one(
    batches: Mapping[str, TaskBatch], profile: str
) -> None:
    batch = batches[profile]
    batch.ended("encrypted result without an enclave")
    eventually(lambda: TEE in batch.tasks, "the deal of the task for an enclave")
    assert batch.sandbox.status(batch.tasks[TEE]) in ("UNSET", "ACTIVE")
    assert batch.way(TEE) == []


def test_an_unreachable_host_is_the_requesters_fault_after_two_minutes(
    batches: Mapping[str, TaskBatch],
) -> None:
    batch = batches["9"]
    batch.ended(UNREACHABLE_LONG, 180)
    assert batch.way(UNREACHABLE_LONG) == list(no_data("INPUT_FILES_DOWNLOAD_FAILED"))
    assert batch.said(UNREACHABLE_LONG, "connection refused")


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_is_left_of_them_and_a_good_task_completes(
    batches: Mapping[str, TaskBatch], profile: str
) -> None:
    batch = batches[profile]
    batch.buy(LAST)
    batch.ended(LAST)
    assert batch.way(LAST) == list(COMPLETED)
    batch.worker.at_rest()
    assert not batch.worker.lines("Traceback")
    assert batch.worker.stop() == 0
