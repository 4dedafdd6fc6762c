"""The one tree of errors: what was being done, to what, and what to do about it.

Exit codes follow sysexits(3) and are part of the operator's contract (docs/operators.md).
"""

from __future__ import annotations

from collections.abc import Sequence

EXIT_OK = 0
EXIT_USAGE = 2  # what was typed cannot be right, as argparse has it
EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE: scheduler, chain or Docker unreachable, with --fail-fast
EXIT_INTERNAL = 70  # EX_SOFTWARE: a fault of ours
EXIT_ALREADY_RUNNING = 75  # EX_TEMPFAIL: another worker holds the directory or the wallet
EXIT_REFUSED = 77  # EX_NOPERM: wallet unusable or login refused
EXIT_CONFIG = 78  # EX_CONFIG: the settings have problems


class WorkerError(Exception):
    """Any error of the worker; `exit_code` is what the process ends with when nobody handles it."""

    exit_code = EXIT_INTERNAL


class SettingsError(WorkerError):
    """The settings have problems; raised once, with all of them, a line each."""

    exit_code = EXIT_CONFIG

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class WalletError(WorkerError):
    """The wallet file is missing, malformed or does not open with the password."""

    exit_code = EXIT_REFUSED


class LoginRefused(WorkerError):
    """The scheduler knows us and says no (401 on challenge or login): we are not on its list."""

    exit_code = EXIT_REFUSED


class AlreadyRunning(WorkerError):
    """Another worker holds the base directory or the wallet; the message names its pid."""

    exit_code = EXIT_ALREADY_RUNNING


class Unavailable(WorkerError):
    """A peer cannot be reached or answers that it cannot work now; trying again may help."""

    exit_code = EXIT_UNAVAILABLE


class SchedulerError(Unavailable):
    """The scheduler did not give a usable answer; `status` is the HTTP status, None without one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unauthorized(SchedulerError):
    """The scheduler refused our token (401): log in, then try again."""


class ChainError(Unavailable):
    """The chain node is out of reach, or its answer cannot be used."""


class DockerError(Unavailable):
    """The Docker engine is out of reach, or refused what we asked."""


class JournalError(WorkerError):
    """The journal cannot be read or written."""


class JournalFull(JournalError):
    """The journal's disk has no room, or fails: that may pass, and what is on it is sound."""


class JournalDamaged(JournalError):
    """The journal's file is no sound database: it has to be set aside and made anew."""


class SandboxError(WorkerError):
    """The local network cannot do what was asked of it; the message says why and what to do."""

    exit_code = EXIT_UNAVAILABLE


class SandboxUsage(SandboxError):
    """What was typed cannot be right, whatever state the local network is in."""

    exit_code = EXIT_USAGE
