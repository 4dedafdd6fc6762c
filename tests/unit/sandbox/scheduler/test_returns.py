"""docs/spec/04, 11.1, first table: a worker alone with its task that returns after an absence.

Each row of the table is a `Row` here, or several where it speaks of several states; `returning`
says how they read. Also the traps that need one worker only (2, 3 and 4).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.helpers.returning_workers import Absence, Case, ReturnRun, Row, cases

QUICK, LOST, RESTART = Absence.QUICK, Absence.LOST, Absence.RESTART
LATE, OVERDUE = Absence.LATE, Absence.OVERDUE

REVEAL, UPLOAD, COMPLETE = "PLEASE_REVEAL/alice", "PLEASE_UPLOAD/alice", "PLEASE_COMPLETE/all"
BEFORE_COMPUTED = (
    *("STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED", "DATA_DOWNLOADING", "DATA_DOWNLOADED"),
    "COMPUTING",
)


def named(status: str) -> str:
    return status.lower().replace("_", "-")


TABLE = [
    Row(
        "created",
        before="",
        back="STARTING, to COMPLETED",
        asked="PLEASE_CONTRIBUTE",
        asked_back="STARTING 202, STARTED, to COMPLETED",
    ),
    *(
        Row(
            named(last),
            before=f"to {last}",
            back="to COMPLETED",
            asked="PLEASE_CONTRIBUTE",
        )
        for last in BEFORE_COMPUTED
    ),
    *(
        Row(
            f"{named(last)}-giving-up",
            before=f"to {last}",
            back="COMPUTE_FAILED, ABORTED, bob joins, bob to COMPLETED",
            asked="PLEASE_CONTRIBUTE",
            pushes="PLEASE_REVEAL/bob PLEASE_ABORT/alice/CONSENSUS_REACHED"
            " PLEASE_UPLOAD/bob PLEASE_COMPLETE/all",
            absences=(LOST,),
        )
        for last in BEFORE_COMPUTED
    ),
    *(
        Row(
            f"{named(last)}-skipping",
            before=f"to {last}",
            back="CONTRIBUTING, to COMPLETED",
            asked="PLEASE_CONTRIBUTE",
            absences=(LOST,),
        )
        for last in BEFORE_COMPUTED
    ),
    Row(
        "computed",
        before="to COMPUTED",
        back="CONTRIBUTING, to COMPLETED",
        asked="PLEASE_CONTRIBUTE",
    ),
    Row(
        "contributing-nothing-sent",
        before="to CONTRIBUTING",
        back="CONTRIBUTED, to COMPLETED",
        asked="PLEASE_CONTRIBUTE",
    ),
    Row(
        "contribution-mined-not-reported",
        before="to CONTRIBUTING",
        mined="contributes",
        back=f"CONTRIBUTED, pushed {REVEAL}, to COMPLETED",
        asked="PLEASE_REVEAL",
        asked_pushes=REVEAL,
        asked_back="CONTRIBUTED 208, REVEALING, to COMPLETED",
        absences=(QUICK, LOST),
    ),
    Row(
        "contribution-mined-not-reported-and-found",
        before="to CONTRIBUTING",
        mined="contributes",
        found=True,
        missed=REVEAL,
        back="CONTRIBUTED 208, REVEALING, to COMPLETED",
        asked="PLEASE_REVEAL block",
    ),
    Row(
        "contributed",
        before="to CONTRIBUTED",
        back="REVEALING, to COMPLETED",
        asked="PLEASE_REVEAL block",
    ),
    Row(
        "revealing-nothing-sent",
        before="to REVEALING",
        back="REVEALED, to COMPLETED",
        asked="PLEASE_REVEAL block",
    ),
    Row(
        "reveal-mined-not-reported",
        before="to REVEALING",
        mined="reveals",
        back=f"REVEALED, pushed {UPLOAD}, to COMPLETED",
        absences=(QUICK, LOST),
        ways=("plain",),
    ),
    *(
        Row(
            # Trap 2; on the real scheduler a race that the worker lost in 5 of 6 runs.
            "reveal-mined-not-reported",
            before="to REVEALING",
            mined="reveals",
            asked="PLEASE_WAIT",
            back="REVEALED 208, RESULT_UPLOADING, RESULT_UPLOADED, COMPLETING, COMPLETED",
            stuck=stuck,
            end="FAILED",
            pushes=f"{REVEAL} PLEASE_ABORT/all",
            profiles=(profile,),
            absences=(QUICK, LOST),
            ways=("int",),
        )
        for profile, stuck in (("8", "AT_LEAST_ONE_REVEALED"), ("9", "CONSENSUS_REACHED"))
    ),
    Row(
        "reveal-mined-not-reported-and-found",
        before="to REVEALING",
        mined="reveals",
        found=True,
        missed=UPLOAD,
        back="REVEALED 208, RESULT_UPLOADING, to COMPLETED",
        asked="PLEASE_UPLOAD",
    ),
    Row(
        "upload-requested",
        before="to REVEALED",
        back="RESULT_UPLOADING, to COMPLETED",
        asked="PLEASE_UPLOAD",
    ),
    Row(
        "uploading-not-at-the-proxy",
        before="to RESULT_UPLOADING",
        back="uploads 200, RESULT_UPLOADED, to COMPLETED",
        asked="PLEASE_UPLOAD",
    ),
    Row(
        "uploaded-not-reported",
        before="to RESULT_UPLOADING, uploads 200",
        back="task RESULT_UPLOADING, RESULT_UPLOADED, to COMPLETED",
        asked="PLEASE_WAIT",
        absences=(QUICK, LOST, RESTART, LATE),
    ),
    Row(
        "upload-requested",
        before="to REVEALED",
        back="RESULT_UPLOADING 202, uploads 200, RESULT_UPLOADED 202, COMPLETING, COMPLETED",
        stuck="RESULT_UPLOADING",
        end="FAILED",
        pushes=f"{REVEAL} {UPLOAD} PLEASE_ABORT/all",
        absences=(OVERDUE,),
    ),
    Row(
        "uploading-not-at-the-proxy",
        before="to RESULT_UPLOADING",
        back="uploads 200, RESULT_UPLOADED 202, COMPLETING, COMPLETED",
        stuck="RESULT_UPLOADING",
        end="FAILED",
        pushes=f"{REVEAL} {UPLOAD} PLEASE_ABORT/all",
        absences=(OVERDUE,),
    ),
    *(
        Row(
            f"{named(last)}-then-finalizing",
            before=f"to RESULT_UPLOADED{more}",
            back=f"{told}, task FINALIZING, wait 20, pushed {COMPLETE}",
            asked="PLEASE_WAIT",
            finalize_delay_s=20,
            absences=(QUICK, RESTART),
        )
        for last, more, told in (
            ("RESULT_UPLOADED", "", "COMPLETING, COMPLETED"),
            ("COMPLETING", ", COMPLETING", "COMPLETED"),
        )
    ),
    *(
        Row(
            f"{named(last)}-then-completed",
            before=f"to RESULT_UPLOADED{more}",
            missed=COMPLETE,
            back=f"never WORKER_LOST, {told}",
            absences=(QUICK, RESTART, LATE),
        )
        for last, more, told in (
            ("RESULT_UPLOADED", "", "COMPLETING, COMPLETED"),
            ("COMPLETING", ", COMPLETING", "COMPLETED"),
        )
    ),
]


TRAPS = [
    Row(
        "reveal-mined-not-reported-told-before-asking",
        before="to REVEALING",
        mined="reveals",
        back=f"REVEALED, pushed {UPLOAD}, asks PLEASE_UPLOAD, RESULT_UPLOADING, to COMPLETED",
        absences=(QUICK, LOST),
        ways=("plain",),
    ),
    Row(
        "upload-requested-four-minutes-ago-of-one-that-pings",
        before="to REVEALED, wait 240",
        back="RESULT_UPLOADING, to COMPLETED",
        asked="PLEASE_UPLOAD",
        absences=(QUICK, RESTART),
    ),
    Row(
        "uploading-for-too-long-of-one-that-pings",
        before="to RESULT_UPLOADING, wait 150",
        back="uploads 200, RESULT_UPLOADED 202, COMPLETING, COMPLETED",
        stuck="RESULT_UPLOADING",
        end="FAILED",
        pushes=f"{REVEAL} {UPLOAD} PLEASE_ABORT/all",
        absences=(QUICK, RESTART),
    ),
    Row(
        "uploading-for-too-long-rescued",
        before="to RESULT_UPLOADING, wait 150",
        back="uploads 200, RESULT_UPLOADED, to COMPLETED",
        absences=(LOST,),
        profiles=("9",),
        ways=("plain",),
    ),
    Row(
        "uploading-for-too-long-of-one-that-was-lost-before",
        before="to RESULT_UPLOADING, away 150",
        back="uploads 200, RESULT_UPLOADED 202, COMPLETING, COMPLETED",
        stuck="RESULT_UPLOADING",
        end="FAILED",
        pushes=f"{REVEAL} {UPLOAD} PLEASE_ABORT/all",
        absences=(LATE,),
        ways=("plain",),
    ),
    Row(
        "second-absence",
        before="to STARTED, away 90, APP_DOWNLOADING",
        back="CONTRIBUTING 202, COMPUTED 202, APP_DOWNLOADED, to COMPLETED",
        absences=(QUICK, LATE),
        ways=("plain",),
    ),
]


@pytest.mark.parametrize("case", cases(TABLE), ids=str)
def test_a_worker_that_returns_is_answered_as_the_table_says(case: Case, tmp_path: Path) -> None:
    ReturnRun(case, tmp_path).play()


@pytest.mark.parametrize("case", cases(TRAPS), ids=str)
def test_a_trap_is_where_the_spec_says(case: Case, tmp_path: Path) -> None:
    ReturnRun(case, tmp_path).play()


def test_no_two_cases_have_one_name() -> None:
    found = [str(case) for case in cases([*TABLE, *TRAPS])]
    assert len(set(found)) == len(found)
