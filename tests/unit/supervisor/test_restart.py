"""What the deaths of a role lead to."""

from __future__ import annotations

import pytest

from iexworker.supervisor.restart import STEADY_S, Again, GiveUp, RestartPolicy, backoff_s


def test_pauses_grow_from_none_to_thirty_seconds() -> None:
    assert [backoff_s(crash) for crash in range(1, 9)] == [0, 1, 2, 4, 8, 16, 30, 30]
    assert backoff_s(10_000) == 30


def test_a_crash_of_a_ready_role_is_answered_at_once_then_ever_later() -> None:
    policy = RestartPolicy()
    verdicts = []
    for now in range(4):
        policy.ready(now)
        verdicts.append(policy.died(-9, now))
    assert verdicts == [Again(0), Again(1), Again(2), Again(4)]


def test_a_long_steady_time_forgives_the_crashes_before() -> None:
    policy = RestartPolicy()
    for now in range(4):
        policy.ready(now)
        policy.died(-9, now)
    policy.ready(10.0)
    assert policy.died(-9, 10 + STEADY_S) == Again(0)


def test_five_deaths_in_a_row_before_ready_end_the_tree() -> None:
    policy = RestartPolicy()
    assert all(isinstance(policy.died(1, 0), Again) for _ in range(4))
    assert policy.died(1, 0) == GiveUp(70)


def test_being_ready_starts_the_count_of_boot_deaths_anew() -> None:
    policy = RestartPolicy()
    for _ in range(4):
        policy.died(1, 0)
    policy.ready(0)
    policy.died(1, 0)
    assert all(isinstance(policy.died(1, 0), Again) for _ in range(4))
    assert policy.died(1, 0) == GiveUp(70)


@pytest.mark.parametrize("code", [69, 75, 77, 78])
def test_a_boot_error_ends_the_tree_with_its_code(code: int) -> None:
    assert RestartPolicy().died(code, 0) == GiveUp(code)


def test_a_boot_error_of_a_later_life_is_a_crash() -> None:
    policy = RestartPolicy()
    policy.ready(0)
    assert policy.died(-9, 1) == Again(0)
    assert policy.died(77, 2) == Again(1)


def test_a_ready_role_that_is_refused_ends_the_tree() -> None:
    policy = RestartPolicy()
    policy.ready(0)
    assert policy.died(77, 1) == GiveUp(77)


def test_unreachable_when_ready_is_final_with_fail_fast_in_the_first_life_only() -> None:
    patient, hasty, later = (
        RestartPolicy(),
        RestartPolicy(fail_fast=True),
        RestartPolicy(fail_fast=True),
    )
    later.ready(0)
    later.died(-9, 0)
    for policy in (patient, hasty, later):
        policy.ready(0)
    assert patient.died(69, 1) == Again(0)
    assert hasty.died(69, 1) == GiveUp(69)
    assert later.died(69, 1) == Again(1)


def test_settings_that_prove_wrong_once_ready_are_final_in_the_first_life_only() -> None:
    first, later = RestartPolicy(), RestartPolicy()
    later.ready(0)
    later.died(-9, 0)
    for policy in (first, later):
        policy.ready(0)
    assert first.died(78, 1) == GiveUp(78)
    assert later.died(78, 1) == Again(1)
