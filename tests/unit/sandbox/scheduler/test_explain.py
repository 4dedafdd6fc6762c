from __future__ import annotations

from pathlib import Path

import pytest

from iexworker.sandbox.scheduler import cause_words, explain
from iexworker.sandbox.scheduler.causes import known_causes
from iexworker.sandbox.scheduler.models import Details, Profile, Task
from iexworker.sandbox.scheduler.store import REFUSALS_KEPT
from tests.helpers.sandbox_pool import ALICE, BOB, HASH, OTHER_HASH, TIMEREF_S, Pool

NAMES = {ALICE: "worker1", BOB: "worker2"}


def told(pool: Pool, task: Task) -> list[str]:
    return explain.of_both(task, pool.profile, NAMES)


def test_an_app_that_fails_is_told_with_its_exit_code_though_9_tells_no_cause() -> None:
    pool = Pool()
    task = pool.task_at("COMPUTING")
    pool.tell(task, ALICE, "COMPUTED", Details(exit_code=3))
    pool.tell(task, ALICE, "ABORTED", Details(cause="UNKNOWN"))

    assert told(pool, task) == ["worker1: the app ended with exit code 3 (APP_COMPUTE_FAILED)"]


@pytest.mark.parametrize(
    ("profile", "status", "details"),
    [
        ("9", "COMPUTED", Details(exit_code=-1)),
        ("8", "COMPUTE_FAILED", Details(exit_code=-1, cause="APP_COMPUTE_TIMEOUT")),
    ],
)
def test_an_app_that_does_not_end_is_told_with_its_time(
    profile: str, status: str, details: Details
) -> None:
    pool = Pool(profile)
    task = pool.task_at("COMPUTING")
    pool.tell(task, ALICE, status, details)

    (words,) = told(pool, task)
    assert f"did not end within the {TIMEREF_S} s of its category" in words


def test_a_missing_image_is_told_by_its_name_though_the_task_may_complete() -> None:
    pool = Pool()
    task = pool.task_at("APP_DOWNLOADING", app_image="127.0.0.1:5000/typo:1")
    pool.tell(task, ALICE, "APP_DOWNLOAD_FAILED", Details(cause="APP_IMAGE_DOWNLOAD_FAILED"))

    (words,) = told(pool, task)
    assert words.startswith("worker1: the image 127.0.0.1:5000/typo:1 cannot be pulled: was it")
    assert words.endswith("(APP_IMAGE_DOWNLOAD_FAILED)")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("INPUT_FILES_DOWNLOAD_FAILED", "does each address in iexec_input_files answer"),
        ("DATASET_FILE_BAD_CHECKSUM", "another SHA-256"),
        ("UNKNOWN", "could not be downloaded in time: does the worker reach its address?"),
        ("TEE_PREPARATION_FAILED", "could not get its enclave ready (TEE_PREPARATION_FAILED)"),
    ],
)
def test_data_that_cannot_be_had_is_told(cause: str, words: str) -> None:
    pool = Pool()
    task = pool.task_at("DATA_DOWNLOADING")
    pool.tell(task, ALICE, "DATA_DOWNLOAD_FAILED", Details(cause=cause))
    pool.tell(task, ALICE, "ABORTED", Details(cause="UNKNOWN"))

    (line,) = told(pool, task)
    assert all(part in line for part in words.split(".*"))


def test_an_app_without_a_result_is_pointed_to_computed_json() -> None:
    pool = Pool()
    task = pool.task_at("COMPUTED")
    pool.must_tell(task, ALICE, "CONTRIBUTING")
    pool.tell(task, ALICE, "ABORTED", Details(cause="UNKNOWN"))

    assert "/iexec_out/computed.json" in told(pool, task)[0]


def test_a_result_that_differs_from_the_others_asks_whether_the_app_is_deterministic() -> None:
    pool = Pool()
    task = pool.task_at("COMPUTED", trust=3)
    pool.join(BOB)
    pool.give(task, BOB)
    pool.bring(task, BOB, "CONTRIBUTED")
    pool.must_tell(task, ALICE, "CONTRIBUTING")
    pool.chain.contribute(task.task_id, ALICE, OTHER_HASH)
    pool.chain.agree(task.task_id, 1, HASH)
    pool.must_tell(task, ALICE, "CONTRIBUTED")

    (words,) = told(pool, task)
    assert words.startswith("worker1: ")
    assert "is the app deterministic?" in words


def test_a_silent_worker_is_told() -> None:
    pool = Pool()
    task = pool.task_at("COMPUTING")
    pool.pass_time(100)

    assert told(pool, task) == ["worker1: the worker is silent: does it run?"]


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("CONTRIBUTION_TIMEOUT", "contributed nothing when the deadline passed"),
        ("CONSENSUS_REACHED", "agreed without it"),
        ("UNKNOWN", "gave it up"),
    ],
)
def test_a_worker_that_stops_says_why(cause: str, words: str) -> None:
    pool = Pool()
    task = pool.task_at("COMPUTING")
    pool.tell(task, ALICE, "ABORTED", Details(cause=cause))

    assert words in told(pool, task)[0]


def test_a_task_that_waits_for_a_worker_says_so_and_why_it_waits_for_ever() -> None:
    pool = Pool()
    plain, tee = pool.buy(1), pool.buy(2, tag="0x" + "00" * 31 + "03")

    assert told(pool, plain) == [explain.NOT_TAKEN]
    assert "asks for an enclave" in told(pool, tee)[0]


def test_a_task_that_was_given_up_says_why() -> None:
    pool = Pool()
    task = pool.buy()
    pool.pass_time(7 * TIMEREF_S + 31)

    assert told(pool, task) == [
        "given up by the scheduler: the workers did not agree on a result before the deadline"
    ]


@pytest.mark.parametrize("profile", ["8", "9"])
def test_of_a_task_that_goes_well_nothing_is_said(profile: str) -> None:
    pool = Pool(profile)
    for number, last in enumerate(("COMPUTING", "CONTRIBUTED", "COMPLETED"), start=1):
        task = pool.task_at(last, number=number)
        assert told(pool, task) == []
        assert explain.of_task(task, Profile(profile)) == ""


@pytest.mark.parametrize("profile", list(Profile))
def test_every_cause_that_a_scheduler_knows_is_told_in_words(profile: Profile) -> None:
    silent = {cause for cause in known_causes(profile) if not cause_words.words(cause)}

    assert silent == {"UNKNOWN"}


def test_a_task_that_waits_for_a_second_worker_says_so() -> None:
    pool = Pool()
    task = pool.task_at("CONTRIBUTED", trust=3)
    assert told(pool, task) == ["waits for more workers: with trust 3 several must agree"]

    pool.join(BOB)
    pool.give(task, BOB)

    assert told(pool, task) == []


def test_a_reveal_that_comes_too_late_is_told() -> None:
    pool = Pool()
    task = pool.task_at("CONTRIBUTED")
    pool.pass_time(2 * TIMEREF_S + 121, pinging=[ALICE])

    assert told(pool, task)[0] == (
        "worker1: it did not reveal its contribution before the deadline (REVEAL_TIMEOUT)"
    )


def test_an_upload_that_does_not_come_is_told() -> None:
    pool = Pool()
    task = pool.task_at("RESULT_UPLOADING")
    pool.pass_time(151, pinging=[ALICE])

    assert "did not upload the result in time" in told(pool, task)[0]


def test_what_others_wrote_cannot_steer_the_terminal() -> None:
    pool = Pool()
    task = pool.task_at("APP_DOWNLOADING", app_image="\x1b[2Japp{0}")
    pool.tell(task, ALICE, "APP_DOWNLOAD_FAILED", Details(cause="APP_IMAGE_DOWNLOAD_FAILED"))

    assert told(pool, task)[0].startswith("worker1: the image ?[2Japp{0} cannot be pulled")


class TestRefusals:
    """What scheduler and result proxy did not take."""

    def refuse(self, pool: Pool, task: Task, what: str, reason: str, wallet: str = ALICE) -> None:
        pool.scheduler.note_refusal(task.task_id, wallet, what, reason)

    def test_of_a_worker_that_has_no_replicate_are_told_too(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        self.refuse(pool, task, "token", "braces {} are no fields", BOB)
        self.refuse(pool, task, "upload", "the token is unknown", "")

        assert told(pool, task) == [
            "somebody: the result proxy refuses the result: the token is unknown",
            "worker2: the result proxy gives no token: braces {} are no fields",
        ]

    def test_outlive_a_restart_and_do_not_add_up(self, tmp_path: Path) -> None:
        pool = Pool(path=tmp_path / "book.sqlite")
        task = pool.task_at("COMPUTING")
        for number in range(50):
            self.refuse(pool, task, "upload", f"reason {number}")
            self.refuse(pool, task, f"STATUS_{number}", "why not")

        pool.restart()

        kept = pool.book.tasks[task.task_id]
        assert len(kept.refusals) == REFUSALS_KEPT
        assert "reason 49" in str(kept.refusals)

    @pytest.mark.parametrize("last", ["RESULT_UPLOADED", "COMPLETED"])
    def test_that_were_made_good_are_not_told(self, last: str) -> None:
        pool = Pool()
        task = pool.task_at("RESULT_UPLOADING")
        self.refuse(pool, task, "upload", "not yet")
        pool.tell(task, ALICE, "COMPUTING")
        pool.bring(task, ALICE, last)

        assert told(pool, task) == []

    def test_that_change_nothing_are_not_told(self) -> None:
        pool = Pool()
        task = pool.task_at("COMPUTING")
        pool.tell(task, ALICE, "ABORTED")
        pool.tell(task, ALICE, "RECOVERING")

        assert told(pool, task) == ["worker1: the worker gave it up"]

    def test_of_a_task_that_nobody_knows_are_only_logged(self) -> None:
        pool = Pool()
        pool.scheduler.note_refusal("0x12", ALICE, "upload", "no such task")

        assert pool.book.tasks == {}

    @pytest.mark.parametrize(
        ("cause", "words"),
        [
            ("OUT_OF_GAS", "the worker's wallet has nothing to pay its transactions with"),
            (None, "the scheduler refuses CONTRIBUTE_FAILED: no scheduler records it"),
            ("UNKNOWN", "the scheduler refuses CONTRIBUTE_FAILED: no scheduler records it"),
        ],
    )
    def test_of_a_failed_contribution_are_told_by_their_cause(
        self, cause: str | None, words: str
    ) -> None:
        pool = Pool()
        task = pool.task_at("CONTRIBUTING")
        pool.tell(task, ALICE, "CONTRIBUTE_FAILED", Details(cause=cause))
        pool.tell(task, ALICE, "ABORTED", Details(cause="UNKNOWN"))

        assert words in told(pool, task)[0]
