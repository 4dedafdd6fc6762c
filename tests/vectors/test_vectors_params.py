from __future__ import annotations

from typing import Any

import pytest

from iexworker.poco import params
from iexworker.poco.models import DealParams, Profile
from tests.vectors.helpers.loader import Case, cases

PROFILES = {"8.5": Profile.V8, "9.x": Profile.V9}


def as_upstream(read: DealParams, profile: Profile) -> dict[str, Any]:
    """Return the parameters under the names and in the shape of the profile's class."""
    common = {
        "iexec_args": read.args,
        "iexec_input_files": None if read.input_files is None else list(read.input_files),
        "iexec_result_encryption": read.result_encryption,
        "iexec_result_storage_provider": read.storage_provider,
        "iexec_result_storage_proxy": read.storage_proxy,
        "iexec_secrets": read.secrets,
    }
    if profile is Profile.V9:
        return {**common, "bulk_cid": read.bulk_cid}
    return {
        **common,
        "iexec_developer_logger": read.developer_logger,
        "iexec_tee_post_compute_image": read.tee_post_compute_image,
        "iexec_tee_post_compute_fingerprint": read.tee_post_compute_fingerprint,
    }


@pytest.mark.parametrize("generation", PROFILES)
@pytest.mark.parametrize("case", cases("chain-deal-params"))
def test_params_read_as_the_java_worker_of_the_profile_reads_them(
    case: Case, generation: str
) -> None:
    profile = PROFILES[generation]

    assert as_upstream(params.read(case.input, profile), profile) == case.expected[generation]
