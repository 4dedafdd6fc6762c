from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from iexworker.compute.limits import gpu_request, host_options
from iexworker.poco.models import Profile
from iexworker.settings import model
from iexworker.settings.model import Settings


@pytest.fixture
def plain() -> Settings:
    return model.load({}, config_dirs=()).settings


def options(base: Settings, profile: Profile = Profile.V9, **changes: Any) -> dict[str, Any]:
    return host_options(dataclasses.replace(base, **changes), profile)


def test_by_default_only_weight_and_oom_score_are_set(plain: Settings) -> None:
    for profile in Profile:
        assert set(options(plain, profile)) == {"cpu_shares", "oom_score_adj"}


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"no_new_privileges": True}, "security_opt", ["no-new-privileges"]),
        ({"app_memory_bytes": 1 << 30}, "mem_limit", 1 << 30),
        ({"app_memory_bytes": 1 << 30}, "memswap_limit", 1 << 30),
        ({"app_pids": 64}, "pids_limit", 64),
        ({"app_cpu_quota": 1.5}, "nano_cpus", 1_500_000_000),
        ({"app_network": "none"}, "network_mode", "none"),
        ({"app_runtime": "runsc"}, "runtime", "runsc"),
    ],
)
def test_each_limit_is_a_setting(
    plain: Settings, changes: dict[str, Any], name: str, value: object
) -> None:
    assert options(plain, **changes)[name] == value


def test_gpus_are_asked_for_as_a_device_request(plain: Settings) -> None:
    (request,) = options(plain, gpus_to_apps="all")["device_requests"]
    assert request["Count"] == -1
    assert request["Capabilities"] == [["gpu"]]
    assert gpu_request("0, GPU-1")["DeviceIDs"] == ["0", "GPU-1"]
    assert gpu_request("0, GPU-1")["Count"] == 0


def test_profile_8_gives_sgx_devices_to_standard_apps(plain: Settings) -> None:
    assert options(plain, Profile.V8, sgx_driver_mode="NATIVE")["devices"] == [
        "/dev/sgx/enclave:/dev/sgx/enclave:rwm",
        "/dev/sgx/provision:/dev/sgx/provision:rwm",
    ]
    assert options(plain, Profile.V8, sgx_driver_mode="LEGACY")["devices"] == [
        "/dev/isgx:/dev/isgx:rwm"
    ]
    assert "devices" not in options(plain, Profile.V9, sgx_driver_mode="NATIVE")


def test_the_settings_of_this_test_are_the_defaults(plain: Settings) -> None:
    assert plain.gpus_to_apps == ""
    assert isinstance(plain.base_dir, Path)
