from __future__ import annotations

import pytest

from iexworker.core.messages import PublicConfiguration
from iexworker.core.session import agree_version
from iexworker.poco.models import Profile


def configuration(required: str) -> PublicConfiguration:
    return PublicConfiguration.from_json({"requiredWorkerVersion": required})


@pytest.mark.parametrize(
    ("required", "reported", "profile", "shown"),
    [
        ("", None, Profile.V9, "9.2.0"),
        ("", None, Profile.V8, "8.5.0"),
        ("9.1.7", None, Profile.V9, "9.1.7"),
        ("8.6.0", None, Profile.V9, "8.6.0"),
        ("", "9.9.9", Profile.V9, "9.9.9"),
        ("9.9.9", "9.9.9", Profile.V9, "9.9.9"),
    ],
)
def test_the_version_shown_is_the_one_the_scheduler_wants(
    required: str, reported: str | None, profile: Profile, shown: str
) -> None:
    assert agree_version(configuration(required), profile, reported) == (shown, "")


def test_an_unsupported_major_is_refused_with_the_schedulers_words() -> None:
    shown, refusal = agree_version(configuration("10.0.0"), Profile.V9, None)
    assert shown == "9.2.0"
    assert "'10.0.0'" in refusal


def test_a_version_set_by_the_operator_has_to_be_the_required_one() -> None:
    _, refusal = agree_version(configuration("9.2.0"), Profile.V9, "9.1.0")
    assert "'9.2.0'" in refusal
    assert "'9.1.0'" in refusal
