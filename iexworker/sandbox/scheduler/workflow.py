"""The rules of a replicate: what may follow what, and what is answered (docs/spec/03, 9.2 and 9.4).

Pure tables and functions; whether a claim is true is checked elsewhere (`replicates`).
"""

from __future__ import annotations

from iexworker.sandbox.scheduler.models import Action, Deal, Profile, ReplicateStatus

_S = ReplicateStatus

_TABLE = """
CREATED                         : STARTING : FLRA
STARTING                        : STARTED START_FAILED : FLRA
START_FAILED                    : : FLA
STARTED                         : APP_DOWNLOADING : FLRA
APP_DOWNLOADING                 : APP_DOWNLOADED APP_DOWNLOAD_FAILED : FLRA
APP_DOWNLOAD_FAILED             : CONTRIBUTING : FLRA
APP_DOWNLOADED                  : DATA_DOWNLOADING : FLRA
DATA_DOWNLOADING                : DATA_DOWNLOADED DATA_DOWNLOAD_FAILED : FLRA
DATA_DOWNLOAD_FAILED            : CONTRIBUTING : FLRA
DATA_DOWNLOADED                 : COMPUTING : FLRA
COMPUTING                       : COMPUTED COMPUTE_FAILED : FLRA
COMPUTE_FAILED                  : : FLA
COMPUTED                        : CONTRIBUTING CONTRIBUTE_AND_FINALIZE_ONGOING : FLRA
CONTRIBUTING                    : CONTRIBUTED CONTRIBUTE_FAILED : FLRA
CONTRIBUTE_FAILED               : : FLA
CONTRIBUTED                     : REVEALING : FLRA
REVEALING                       : REVEALED REVEAL_FAILED : FLRA
REVEALED                        : RESULT_UPLOAD_REQUESTED COMPLETING : LRA
REVEAL_FAILED                   : : FLA
RESULT_UPLOAD_REQUESTED         : RESULT_UPLOADING : LRA
RESULT_UPLOADING                : RESULT_UPLOADED RESULT_UPLOAD_FAILED : LRA
RESULT_UPLOAD_FAILED            : COMPLETING : LRA
RESULT_UPLOADED                 : COMPLETING : LRA
CONTRIBUTE_AND_FINALIZE_ONGOING : CONTRIBUTE_AND_FINALIZE_DONE CONTRIBUTE_AND_FINALIZE_FAILED : FLRA
CONTRIBUTE_AND_FINALIZE_FAILED  : : FLRA
CONTRIBUTE_AND_FINALIZE_DONE    : COMPLETING : LRA
COMPLETING                      : COMPLETED COMPLETE_FAILED : LRA
COMPLETE_FAILED                 : : LA
COMPLETED                       : :
FAILED                          : :
ABORTED                         : COMPLETED : FL
"""
_ASIDE = {"F": _S.FAILED, "L": _S.WORKER_LOST, "R": _S.RECOVERING, "A": _S.ABORTED}


def _parse(line: str) -> tuple[ReplicateStatus, frozenset[ReplicateStatus]]:
    source, targets, asides = (part.strip() for part in line.split(":"))
    named = {_S(name) for name in targets.split()}
    return _S(source), frozenset(named | {_ASIDE[letter] for letter in asides})


_EVERY = frozenset(_S)
_TRANSITIONS = dict(_parse(line) for line in _TABLE.strip().splitlines()) | {
    _S.RECOVERING: _EVERY - {_S.CREATED, _S.STARTING, _S.RECOVERING},
    _S.WORKER_LOST: _EVERY - {_S.WORKER_LOST},
}


def allowed(current: ReplicateStatus, new: ReplicateStatus) -> bool:
    """Whether `new` may follow `current` (9.2)."""
    return new in _TRANSITIONS[current]


_WORKING = frozenset(
    status for status in _S if status.value.endswith("ING") and status is not _S.RECOVERING
) | {_S.CONTRIBUTE_AND_FINALIZE_ONGOING}

_NEXT = dict.fromkeys(_WORKING, Action.CONTINUE) | {
    _S.STARTED: Action.DOWNLOAD_APP,
    _S.APP_DOWNLOADED: Action.DOWNLOAD_DATA,
    _S.DATA_DOWNLOADED: Action.COMPUTE,
    _S.CONTRIBUTED: Action.WAIT,
    _S.REVEALED: Action.WAIT,
    _S.RESULT_UPLOADED: Action.WAIT,
    _S.CONTRIBUTE_AND_FINALIZE_DONE: Action.WAIT,
    _S.COMPLETED: Action.WAIT,
    _S.START_FAILED: Action.ABORT,
    _S.COMPUTE_FAILED: Action.ABORT,
    _S.RESULT_UPLOAD_FAILED: Action.ABORT,
    _S.CONTRIBUTE_AND_FINALIZE_FAILED: Action.ABORT,
    _S.COMPLETE_FAILED: Action.ABORT,
}

_CONTRIBUTABLE = {
    _S.APP_DOWNLOAD_FAILED: frozenset(("APP_IMAGE_DOWNLOAD_FAILED",)),
    _S.DATA_DOWNLOAD_FAILED: frozenset(
        (
            "DATASET_FILE_DOWNLOAD_FAILED",
            "DATASET_FILE_BAD_CHECKSUM",
            "INPUT_FILES_DOWNLOAD_FAILED",
        )
    ),
}
"""Failures that are the requester's: the worker contributes the error as the result."""


def next_action(
    status: ReplicateStatus, cause: str | None, deal: Deal, profile: Profile
) -> Action | None:
    """Return what is answered to a recorded status, None for the empty answer (9.4)."""
    if status is _S.COMPUTED:
        finalizes = eligible_to_finalize(deal, profile)
        return Action.CONTRIBUTE_AND_FINALIZE if finalizes else Action.CONTRIBUTE
    if status in _CONTRIBUTABLE:
        return Action.CONTRIBUTE if cause in _CONTRIBUTABLE[status] else Action.ABORT
    return _NEXT.get(status)


_FRAMEWORKS = {Profile.V8: frozenset((3, 5)), Profile.V9: frozenset((3, 5, 9))}


def is_tee(tag: str, profile: Profile) -> bool:
    """Whether the tag names a framework that this generation runs in an enclave (05, 3.5)."""
    return int(tag, 16) & 0xF in _FRAMEWORKS[profile]


def eligible_to_finalize(deal: Deal, profile: Profile) -> bool:
    """Whether one transaction may contribute, reveal and finalize (9.4)."""
    if deal.trust != 1 or not is_tee(deal.tag, profile):
        return False
    return profile is Profile.V9 or not deal.has_callback
