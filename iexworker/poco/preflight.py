"""What must hold before a contribution or a reveal is worth its gas, pure (05, 5.1, 5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from iexworker.poco import hashing
from iexworker.poco.models import (
    ChainAccount,
    ChainTask,
    Contribution,
    ContributionStatus,
    Profile,
    TaskStatus,
)


@dataclass(frozen=True, slots=True)
class PreflightFacts:
    """What is known before a step; None is what could not be read."""

    wallet: str
    authorized: bool
    """The scheduler's authorisation for the task is stored."""
    task: ChainTask | None
    account: ChainAccount | None
    worker_stake: int | None
    """nRLC that the deal locks for a contribution."""
    described: bool
    """The task has a description (profile 9 looks at the stake only then)."""
    finalizes_at_once: bool
    """The task is eligible to contributeAndFinalize, which locks no stake."""
    contribution: Contribution | None
    now_s: float


def contribution_causes(facts: PreflightFacts, profile: Profile) -> tuple[str, ...]:
    """Return why the task cannot be contributed to, the cause to report first; empty when it can.

    Profile 8 stops at its first cause, profile 9 collects them.
    """
    if profile is Profile.V8:
        return tuple(_causes_8(facts))[:1]
    return tuple(_causes_9(facts))


def _causes_8(facts: PreflightFacts) -> Iterator[str]:
    if facts.task is None:
        yield "CHAIN_UNREACHABLE"
        return
    if not _stake_covered(facts):
        yield "STAKE_TOO_LOW"
    yield from _task_causes(facts.task, facts.now_s)
    contribution = facts.contribution
    if contribution is None or contribution.status is not ContributionStatus.UNSET:
        yield "CONTRIBUTION_ALREADY_SET"
    if not facts.authorized:
        yield "WORKERPOOL_AUTHORIZATION_NOT_FOUND"


def _causes_9(facts: PreflightFacts) -> Iterator[str]:
    if not facts.authorized:
        yield "WORKERPOOL_AUTHORIZATION_NOT_FOUND"
    if facts.task is None:
        yield "CHAIN_UNREACHABLE"
        return
    if facts.described and not facts.finalizes_at_once and not _stake_covered(facts):
        yield "STAKE_TOO_LOW"
    yield from _task_causes(facts.task, facts.now_s)
    if facts.wallet in facts.task.contributors:
        yield "CONTRIBUTION_ALREADY_SET"


def _stake_covered(facts: PreflightFacts) -> bool:
    if facts.account is None or facts.worker_stake is None:
        return False
    return facts.account.stake >= facts.worker_stake


def _task_causes(task: ChainTask, now_s: float) -> Iterator[str]:
    if task.status is not TaskStatus.ACTIVE:
        yield "TASK_NOT_ACTIVE"
    if task.contribution_deadline_s <= now_s:
        yield "CONTRIBUTION_TIMEOUT"


def finalization_causes(
    task: ChainTask | None, trust: int | None, profile: Profile
) -> tuple[str, ...]:
    """Return why contributeAndFinalize is impossible, beyond the common causes; empty if it is not.

    `trust` is the deal's, None when the deal (profile 8) or the description (9) is missing.
    """
    if profile is Profile.V8 and task is None:
        return ("CHAIN_UNREACHABLE",)
    causes = ["TRUST_NOT_1"] if trust != 1 else []
    if task is None:
        causes.append("CHAIN_UNREACHABLE")
    elif task.contributors:
        causes.append("TASK_ALREADY_CONTRIBUTED")
    return tuple(causes[:1] if profile is Profile.V8 else causes)


def can_reveal(
    task: ChainTask | None,
    contribution: Contribution | None,
    digest: str,
    wallet: str,
    now_s: float,
) -> bool:
    """Tell whether a reveal of `digest` would be accepted at `now_s`, the head's time (5.2)."""
    if task is None or contribution is None or not digest:
        return False
    own_hash = hashing.result_hash(task.task_id, digest)
    return (
        task.status is TaskStatus.REVEALING
        and now_s < task.reveal_deadline_s
        and contribution.status is ContributionStatus.CONTRIBUTED
        and contribution.result_hash == task.consensus == own_hash
        and contribution.result_seal == hashing.result_seal(wallet, task.task_id, digest)
    )


def block_available(block_number: int, latest_block: int) -> bool:
    """Tell whether our node has reached a block, the consensus block for one (5.4, Decision).

    A node that jumps far past it has it too: upstream's window of ten blocks is not kept.
    """
    return block_number <= latest_block
