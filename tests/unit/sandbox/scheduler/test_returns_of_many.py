"""docs/spec/04, 11.1, second table: a worker that returns where others were at work, or too late.

Each row of the table is a `Row` here, or several where it tells of several courses; `returning`
says how they read. Trap 1 is among them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.helpers.returning_workers import Absence, Case, ReturnRun, Row, cases

QUICK, LOST, RESTART = Absence.QUICK, Absence.LOST, Absence.RESTART
OVERDUE = Absence.OVERDUE

REVEAL, UPLOAD, COMPLETE = "PLEASE_REVEAL/alice+bob", "PLEASE_UPLOAD/alice", "PLEASE_COMPLETE/all"
UPLOAD_BOB = "PLEASE_UPLOAD/bob"
CONSENSUS = "PLEASE_REVEAL/bob PLEASE_ABORT/alice/CONSENSUS_REACHED"
TIMEOUT = "PLEASE_ABORT/alice/CONTRIBUTION_TIMEOUT PLEASE_ABORT/all"

WITHOUT_REPORT = "bob joins, to CONTRIBUTED, bob to CONTRIBUTING"
BOB_ASKED = "bob joins, to CONTRIBUTED, bob to REVEALED, to REVEALED"
ALICE_ASKED = "bob joins, to CONTRIBUTED, bob to CONTRIBUTED, to REVEALED, bob to REVEALED"

TOGETHER = [
    Row(
        "contributed-consensus-after-the-return",
        before="bob joins, to CONTRIBUTED, bob to COMPUTED",
        back=f"bob to CONTRIBUTED, pushed {REVEAL}, to REVEALED, bob to REVEALED, to COMPLETED",
        asked="PLEASE_WAIT",
        pushes=f"{REVEAL} {UPLOAD} {COMPLETE}",
        winners=2,
    ),
    Row(
        "contributed-consensus-while-away",
        before="bob joins, to CONTRIBUTED, bob to COMPUTED",
        meanwhile="bob to CONTRIBUTED",
        missed=REVEAL,
        back=f"REVEALING, REVEALED, pushed {UPLOAD}, bob to REVEALED, to COMPLETED",
        asked="PLEASE_REVEAL block",
        pushes=f"{REVEAL} {UPLOAD} {COMPLETE}",
        winners=2,
    ),
    Row(
        # The task is RESULT_UPLOADING by then, and no word of Alice's reveal is listed (03, 5.8).
        "contributed-consensus-while-away-other-reveals-first",
        before="bob joins, to CONTRIBUTED, bob to COMPUTED",
        meanwhile="bob to REVEALED",
        missed=f"{REVEAL} {UPLOAD_BOB}",
        back="REVEALING, REVEALED, bob to RESULT_UPLOADED,"
        f" wait 5, pushed {COMPLETE}, COMPLETING, COMPLETED",
        pushes=f"{REVEAL} {UPLOAD_BOB} {COMPLETE}",
        winners=2,
    ),
    Row(
        # Trap 1.
        "contributed-other-contribution-unreported",
        before=WITHOUT_REPORT,
        meanwhile="bob contributes",
        back="REVEALING, REVEALED, bob CONTRIBUTED, bob REVEALING, bob REVEALED",
        asked="PLEASE_WAIT",
        stuck="RUNNING",
        end="FAILED",
        pushes="PLEASE_ABORT/all",
        winners=2,
        absences=(QUICK, LOST),
    ),
    Row(
        "contributed-other-contribution-unreported-revealed-on-chain-alone",
        before=WITHOUT_REPORT,
        meanwhile="bob contributes",
        back=f"reveals, wait 25, pushed {REVEAL}, REVEALING, REVEALED, pushed {UPLOAD},"
        " bob to REVEALED, to COMPLETED",
        asked="PLEASE_WAIT",
        pushes=f"{REVEAL} {UPLOAD} {COMPLETE}",
        winners=2,
        absences=(QUICK, LOST),
    ),
    Row(
        "revealed-other-asked",
        before=BOB_ASKED,
        back="RESULT_UPLOADING 202, bob to RESULT_UPLOADED,"
        f" wait 5, pushed {COMPLETE}, COMPLETING, COMPLETED",
        pushes=f"{REVEAL} {UPLOAD_BOB} {COMPLETE}",
        winners=2,
        absences=(QUICK, RESTART),
    ),
    Row(
        "revealed-other-asked",
        before=BOB_ASKED,
        back=f"bob to RESULT_UPLOADED, wait 5, pushed {COMPLETE}, COMPLETING, COMPLETED",
        pushes=f"{REVEAL} {UPLOAD_BOB} {COMPLETE}",
        winners=2,
        absences=(LOST,),
    ),
    Row(
        "revealed-other-asked-end-while-away",
        before=BOB_ASKED,
        meanwhile="bob to COMPLETED",
        missed=COMPLETE,
        back="COMPLETING, COMPLETED",
        pushes=f"{REVEAL} {UPLOAD_BOB} {COMPLETE}",
        winners=2,
    ),
    Row(
        "revealed-other-asked-uploading-unasked",
        before=BOB_ASKED,
        back="RESULT_UPLOADING, uploads 200, RESULT_UPLOADED,"
        " bob RESULT_UPLOADING, bob uploads 401, bob RESULT_UPLOADED,"
        f" wait 5, pushed {COMPLETE}, COMPLETING, COMPLETED",
        pushes=f"{REVEAL} {UPLOAD_BOB} {COMPLETE}",
        winners=2,
        absences=(LOST,),
    ),
    *(
        Row(
            "asked-to-upload-back-in-time",
            before=ALICE_ASKED,
            back="RESULT_UPLOADING, uploads 200, to COMPLETED",
            asked="PLEASE_UPLOAD",
            asked_pushes=asked_pushes,
            pushes=" ".join(filter(None, (REVEAL, UPLOAD, asked_pushes, COMPLETE))),
            winners=2,
            profiles=(profile,),
            absences=absences,
            ways=ways,
        )
        # In 8.5 another worker is asked as soon as the first is lost, or recovers: that state
        # hides RESULT_UPLOAD_REQUESTED, yet not RESULT_UPLOADING (`TaskUpdateManager`).
        for profile, absences, ways, asked_pushes in (
            ("8", (QUICK, RESTART), ("plain",), ""),
            ("8", (QUICK, RESTART), ("int",), UPLOAD_BOB),
            ("9", (QUICK, RESTART, LOST), ("plain", "int"), ""),
        )
    ),
    *(
        Row(
            "uploading-other-revealed-back-in-time",
            before=f"{ALICE_ASKED}, RESULT_UPLOADING",
            back="uploads 200, to COMPLETED",
            asked="PLEASE_UPLOAD",
            pushes=f"{REVEAL} {UPLOAD} {COMPLETE}",
            winners=2,
            profiles=(profile,),
            absences=absences,
        )
        for profile, absences in (("8", (QUICK, RESTART)), ("9", (QUICK, RESTART, LOST)))
    ),
    *(
        Row(
            "asked-to-upload-replaced",
            before=ALICE_ASKED,
            meanwhile=f"pushed {UPLOAD_BOB}, bob to COMPLETED",
            missed=COMPLETE,
            back=f"uploads 401, RESULT_UPLOADING {code}, RESULT_UPLOADED {code},"
            " COMPLETING, COMPLETED",
            pushes=f"{REVEAL} {UPLOAD} {UPLOAD_BOB} {COMPLETE}",
            winners=2,
            profiles=(profile,),
            absences=(absence,),
        )
        for profile, absence, code in (("8", LOST, 200), ("9", OVERDUE, 202))
    ),
]

TOO_LATE = [
    *(
        Row(
            f"computing-given-to-another{then}",
            before=f"to COMPUTING, wait {wait_s}",
            meanwhile=f"bob joins, bob to {came}",
            missed=f"{CONSENSUS}{missed}",
            back="COMPUTED, CONTRIBUTING, CONTRIBUTED 202 18s, bob to COMPLETED",
            asked=asked,
            pushes=f"{CONSENSUS} {UPLOAD_BOB} {COMPLETE}",
            absences=absences,
        )
        for then, came, missed, asked in (
            ("", "CONTRIBUTED", "", "PLEASE_ABORT CONSENSUS_REACHED"),
            ("-which-uploads", "REVEALED", f" {UPLOAD_BOB}", ""),
            ("-which-completes", "COMPLETED", f" {UPLOAD_BOB} {COMPLETE}", ""),
        )
        for wait_s, absences in ((300, (QUICK, RESTART)), (240, (LOST,)))
    ),
    *(
        Row(
            "computing-given-to-another-that-is-slower",
            before=f"to COMPUTING, wait {wait_s}",
            meanwhile="bob joins, bob to COMPUTING",
            back="COMPUTED, CONTRIBUTING, CONTRIBUTED,"
            " pushed PLEASE_REVEAL/alice PLEASE_ABORT/bob/CONSENSUS_REACHED, to COMPLETED",
            pushes=f"PLEASE_REVEAL/alice PLEASE_ABORT/bob/CONSENSUS_REACHED {UPLOAD} {COMPLETE}",
            absences=absences,
            ways=("plain",),
        )
        for wait_s, absences in ((300, (QUICK, RESTART)), (240, (LOST,)))
    ),
    *(
        Row(
            "computing-past-the-contribution-deadline",
            before=f"to COMPUTING, until {silent_s}",
            meanwhile="until 2131",
            missed=TIMEOUT,
            back="COMPUTED, CONTRIBUTING, CONTRIBUTED 202 18s",
            end="FAILED",
            pushes=TIMEOUT,
            absences=absences,
        )
        for silent_s, absences in ((2128, (QUICK, RESTART)), (2035, (LOST,)))
    ),
    Row(
        # One that is lost is not failed by this deadline: its status is WORKER_LOST.
        "contributed-past-the-reveal-deadline",
        before="to CONTRIBUTED, until 718",
        back="REVEALING 202, REVEALED 202, RESULT_UPLOADING 202, RESULT_UPLOADED 202,"
        " COMPLETING 202, COMPLETED 202, ABORTED 202",
        stuck="CONSENSUS_REACHED",
        end="FAILED",
        pushes="PLEASE_REVEAL/alice PLEASE_ABORT/all",
        absences=(QUICK, RESTART),
    ),
    Row(
        "revealed-past-the-final-deadline",
        before="to REVEALED, until 3028",
        missed="PLEASE_ABORT/all",
        back="uploads 401, RESULT_UPLOADING, RESULT_UPLOADED 202, COMPLETING 202",
        end="FAILED",
        pushes=f"PLEASE_REVEAL/alice {UPLOAD} PLEASE_ABORT/all",
        absences=(QUICK, RESTART),
    ),
    Row(
        "revealed-past-the-final-deadline",
        before="to REVEALED",
        meanwhile="until 3031",
        missed="PLEASE_ABORT/all",
        back="uploads 401, RESULT_UPLOADING 202, RESULT_UPLOADED 202, COMPLETING",
        end="FAILED",
        pushes=f"PLEASE_REVEAL/alice {UPLOAD} PLEASE_ABORT/all",
        absences=(OVERDUE,),
    ),
]


@pytest.mark.parametrize("case", cases(TOGETHER), ids=str)
def test_a_worker_that_returns_to_others_is_answered_as_the_table_says(
    case: Case, tmp_path: Path
) -> None:
    ReturnRun(case, tmp_path).play()


@pytest.mark.parametrize("case", cases(TOO_LATE), ids=str)
def test_a_worker_that_returns_too_late_is_answered_as_the_table_says(
    case: Case, tmp_path: Path
) -> None:
    ReturnRun(case, tmp_path).play()


def test_no_two_cases_have_one_name() -> None:
    found = [str(case) for case in cases([*TOGETHER, *TOO_LATE])]
    assert len(set(found)) == len(found)
