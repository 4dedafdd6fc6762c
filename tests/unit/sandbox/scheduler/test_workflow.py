"""docs/spec/03, 9.2, 9.4 and 7.4: the tables, compared with those that the page prints."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from iexworker.sandbox.scheduler.causes import known_causes
from iexworker.sandbox.scheduler.models import ZERO_ADDRESS, Action, Deal, Profile, ReplicateStatus
from iexworker.sandbox.scheduler.workflow import allowed, eligible_to_finalize, is_tee, next_action

SPEC = Path(__file__).parents[4] / "docs" / "spec" / "03-scheduler-protocol.md"
LETTERS = {"F": "FAILED", "L": "WORKER_LOST", "R": "RECOVERING", "A": "ABORTED"}
STANDARD = Deal("0x1", 1, "0x0", "DOCKER", "app", "", ZERO_ADDRESS, 300_000, 1, 0, 1)
TEE = replace(STANDARD, tag="0x3")
CALLBACK = "0x" + "ca" * 20


def section(title: str) -> str:
    text = SPEC.read_text(encoding="utf-8")
    return text.partition(f"### {title}")[2].partition("\n### ")[0]


def printed_transitions() -> dict[str, set[str]]:
    """Read the table of 9.2, two transitions a row."""
    found: dict[str, set[str]] = {}
    for line in section("9.2").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for source, targets, asides in zip(cells[::3], cells[1::3], cells[2::3], strict=False):
            for name in re.findall(r"[A-Z_]{5,}", source):
                found[name] = printed_targets(name, targets, asides)
    return found


def printed_targets(source: str, targets: str, asides: str) -> set[str]:
    every = {one.value for one in ReplicateStatus}
    if targets.startswith("everything except"):
        return every - set(re.findall(r"[A-Z_]{5,}", targets)) - {source}
    stem = "CONTRIBUTE_AND_FINALIZE"
    named = {one.replace("…", stem) for one in re.findall(r"…?[A-Z_]{5,}", targets)}
    return named | {LETTERS[one] for one in asides if one in LETTERS}


PRINTED = printed_transitions()


@pytest.mark.parametrize("source", ReplicateStatus, ids=lambda one: one.value)
def test_exactly_the_printed_transitions_are_allowed(source: ReplicateStatus) -> None:
    found = {one.value for one in ReplicateStatus if allowed(source, one)}
    assert found == PRINTED[source.value]


@pytest.mark.parametrize(
    ("status", "cause", "action"),
    [
        ("STARTING", None, "PLEASE_CONTINUE"),
        ("RESULT_UPLOADING", None, "PLEASE_CONTINUE"),
        ("CONTRIBUTE_AND_FINALIZE_ONGOING", None, "PLEASE_CONTINUE"),
        ("STARTED", None, "PLEASE_DOWNLOAD_APP"),
        ("APP_DOWNLOADED", None, "PLEASE_DOWNLOAD_DATA"),
        ("DATA_DOWNLOADED", None, "PLEASE_COMPUTE"),
        ("COMPUTED", None, "PLEASE_CONTRIBUTE"),
        ("CONTRIBUTED", None, "PLEASE_WAIT"),
        ("REVEALED", None, "PLEASE_WAIT"),
        ("RESULT_UPLOADED", None, "PLEASE_WAIT"),
        ("CONTRIBUTE_AND_FINALIZE_DONE", None, "PLEASE_WAIT"),
        ("COMPLETED", None, "PLEASE_WAIT"),
        ("START_FAILED", "UNKNOWN", "PLEASE_ABORT"),
        ("COMPUTE_FAILED", "APP_COMPUTE_FAILED", "PLEASE_ABORT"),
        ("RESULT_UPLOAD_FAILED", "RESULT_LINK_MISSING", "PLEASE_ABORT"),
        ("CONTRIBUTE_AND_FINALIZE_FAILED", None, "PLEASE_ABORT"),
        ("COMPLETE_FAILED", None, "PLEASE_ABORT"),
        ("APP_DOWNLOAD_FAILED", "APP_IMAGE_DOWNLOAD_FAILED", "PLEASE_CONTRIBUTE"),
        ("APP_DOWNLOAD_FAILED", "POST_COMPUTE_FAILED_UNKNOWN_ISSUE", "PLEASE_ABORT"),
        ("APP_DOWNLOAD_FAILED", None, "PLEASE_ABORT"),
        ("DATA_DOWNLOAD_FAILED", "DATASET_FILE_DOWNLOAD_FAILED", "PLEASE_CONTRIBUTE"),
        ("DATA_DOWNLOAD_FAILED", "DATASET_FILE_BAD_CHECKSUM", "PLEASE_CONTRIBUTE"),
        ("DATA_DOWNLOAD_FAILED", "INPUT_FILES_DOWNLOAD_FAILED", "PLEASE_CONTRIBUTE"),
        ("DATA_DOWNLOAD_FAILED", "APP_IMAGE_DOWNLOAD_FAILED", "PLEASE_ABORT"),
    ],
)
def test_the_answer_is_that_of_9_4(status: str, cause: str | None, action: str) -> None:
    assert next_action(ReplicateStatus[status], cause, STANDARD, Profile.V9) is Action(action)


def test_nothing_is_answered_to_aborted() -> None:
    assert next_action(ReplicateStatus.ABORTED, "UNKNOWN", STANDARD, Profile.V9) is None


def test_every_state_that_works_is_told_to_continue() -> None:
    working = [one for one in ReplicateStatus if one.value.endswith(("ING", "ONGOING"))]
    working.remove(ReplicateStatus.RECOVERING)
    found = {next_action(one, None, STANDARD, Profile.V9) for one in working}
    assert found == {Action.CONTINUE}
    assert len(working) == 9


def test_an_eligible_task_is_finalized_by_its_worker() -> None:
    computed = ReplicateStatus.COMPUTED
    assert next_action(computed, None, TEE, Profile.V9) is Action.CONTRIBUTE_AND_FINALIZE


@pytest.mark.parametrize(
    ("deal", "profile", "eligible"),
    [
        (STANDARD, Profile.V9, False),
        (TEE, Profile.V8, True),
        (replace(TEE, tag="0x9"), Profile.V8, False),
        (replace(TEE, tag="0x9"), Profile.V9, True),
        (replace(TEE, trust=3), Profile.V9, False),
        (replace(TEE, callback=CALLBACK), Profile.V8, False),
        (replace(TEE, callback=CALLBACK), Profile.V9, True),
    ],
)
def test_who_is_eligible_to_finalize(deal: Deal, profile: Profile, eligible: bool) -> None:
    assert eligible_to_finalize(deal, profile) is eligible


def test_a_tag_names_a_framework_by_its_four_low_bits() -> None:
    high = "0x" + "f" * 63
    assert [one for one in range(16) if is_tee(f"{high}{one:x}", Profile.V9)] == [3, 5, 9]
    assert [one for one in range(16) if is_tee(f"{high}{one:x}", Profile.V8)] == [3, 5]


def printed_causes() -> dict[str, set[str]]:
    """Read the table of 7.4: names by mark, "" for both generations."""
    found: dict[str, set[str]] = {"": set(), "8": set(), "9": set()}
    session = "TEE_SESSION_GENERATION_"
    for line in section("7.4").splitlines():
        group, _, text = line.strip("| ").partition(" | ")
        printed = re.search(r"prefixed `([A-Z_]+)`", group)
        prefix = printed[1] if printed else ""
        if "signature tokens" in group:
            tails = re.findall(r"`(EMPTY_[A-Z_]+)`", text)
            for mark, stem in re.findall(r"\((8|9)\) `([A-Z_]+_)`", text):
                found[mark] |= {session + stem + tail for tail in tails}
        elif line.startswith("| "):
            for name, mark in re.findall(r"`(…?[A-Z_0-9]{5,})`(?: \((8|9)\))?", text):
                stem = "EXECUTION_NOT_AUTHORIZED" if name.startswith("…") else ""
                found[mark].add(prefix + stem + name.removeprefix("…"))
    return found


def test_causes_are_those_that_are_printed_for_the_generation() -> None:
    printed = printed_causes()
    assert len(printed[""]) > 80
    assert known_causes(Profile.V8) == printed[""] | printed["8"]
    assert known_causes(Profile.V9) == printed[""] | printed["9"]
